/**
 * Positions on a grid as vectors: learned tables at any size, and sines.
 *
 * @module
 */
import { ShapeError } from "../../lib/errors.ts";
import type { Graph, Value } from "../../lib/graph/mod.ts";
import { ops } from "../../lib/graph/mod.ts";
import { counting, type Size } from "./sizes.ts";

/** How a table of positions is stretched. `bicubic` needs sizes that are known as numbers. */
export type Interpolation = "bicubic" | "bilinear";

/**
 * A learned table at another size, as PyTorch's `interpolate` stretches images, without antialiasing.
 *
 * @param table (rows·columns)×C.
 * @param from Rows and columns of the table.
 * @param to Rows h and columns w of the result.
 * @param method `bicubic` where left out, as CLIP's users do it.
 * @returns (h·w)×C.
 * @throws {ShapeError} If `bicubic` is asked for sizes that aren't known as numbers.
 */
export function interpolatePositions(
  table: Value,
  from: readonly [number, number],
  to: readonly [Size, Size],
  method: Interpolation = "bicubic",
): Value {
  const { graph } = table;
  const width = table.shape[1] as number;
  const [[rows, columns], [height, breadth]] = [from, to];
  if (height === rows && breadth === columns) return table;
  if (method === "bilinear") {
    const map = ops.transpose(ops.reshape(table, [1, rows, columns, width]), [0, 3, 1, 2]);
    const resized = ops.transpose(ops.resizeBilinear(map, height, breadth), [0, 2, 3, 1]);
    return ops.reshape(resized, [-1, width]);
  }
  if (typeof height !== "number" || typeof breadth !== "number") {
    throw new ShapeError(
      `positions: bicubic interpolation needs a known size; give the image numbers for its height ` +
        `and width, or take "bilinear"${graph.here()}`,
    );
  }
  const stretch = (size: number, wanted: number) =>
    graph.constant(bicubicMatrix(size, wanted), [wanted, size]);
  const tall = ops.matMul(stretch(rows, height), ops.reshape(table, [rows, columns * width]));
  const wide = ops.matMul(
    stretch(columns, breadth),
    ops.reshape(tall, [height, columns, width]),
  );
  return ops.reshape(wide, [height * breadth, width]);
}

/** Row by row, what each of `to` samples takes of `from`: Keys' kernel with a = −0.75, edges repeated. */
function bicubicMatrix(from: number, to: number): number[] {
  const a = -0.75;
  const kernel = (distance: number) => {
    const x = Math.abs(distance);
    if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? a * (((x - 5) * x + 8) * x - 4) : 0;
  };
  const matrix = new Array<number>(to * from).fill(0);
  for (let i = 0; i < to; i++) {
    const place = (i + 0.5) * from / to - 0.5;
    const first = Math.floor(place) - 1;
    for (let j = first; j < first + 4; j++) {
      matrix[i * from + Math.min(Math.max(j, 0), from - 1)]! += kernel(place - j);
    }
  }
  return matrix;
}

/**
 * Sines and cosines of a pixel's row and column (DETR, Carion et al., 2020; Mask2Former): coordinates
 * 1…size are scaled to 0…2π; channels 2i and 2i + 1 of each half are the sine and the cosine of them
 * over 10000^(4i/C). The first half is of the row, the second one of the column.
 *
 * @param channels C, a multiple of 4.
 * @returns (height·width)×C.
 */
export function sinePositions(
  graph: Graph,
  height: Size,
  width: Size,
  channels: number,
): Value {
  const half = channels / 2;
  if (!Number.isInteger(channels / 4)) {
    throw new ShapeError(`sine positions: ${channels} channels; must be a multiple of 4`);
  }
  const frequencies = Array.from({ length: half / 2 }, (_, i) => 10000 ** (-2 * i / half));
  const epsilon = 1e-6;
  const along = (size: Size): Value => {
    if (typeof size === "number") {
      const table = Array.from({ length: size }, (_, i) => {
        const angle = (i + 1) / (size + epsilon) * 2 * Math.PI;
        return frequencies.flatMap((f) => [Math.sin(angle * f), Math.cos(angle * f)]);
      });
      return graph.constant(table.flat(), [size, half]);
    }
    const places = counting(graph, size);
    const unit = ops.div(2 * Math.PI, ops.add(ops.reduceMax(places), epsilon));
    const angles = ops.unsqueeze(ops.mul(places, unit), [1]);
    const x = ops.mul(angles, graph.constant(frequencies));
    const pairs = [ops.sin(x), ops.cos(x)].map((y) => ops.unsqueeze(y, [2]));
    return ops.reshape(ops.concat(pairs, 2), [size, half]);
  };
  const rows = ops.expand(ops.unsqueeze(along(height), [1]), [height, width, half]);
  const columns = ops.expand(ops.unsqueeze(along(width), [0]), [height, width, half]);
  return ops.reshape(ops.concat([rows, columns], 2), [-1, channels]);
}
