/**
 * Vector-Jacobian rules of operators that sample images between their pixels.
 *
 * @module
 */
import type { Value } from "../graph.ts";
import * as ops from "../ops.ts";
import { addablePieces } from "../ops/addable_pieces.ts";
import { attribute, attributeString, knownSize, reshape, transpose, type VjpRule } from "./lean.ts";

/** The matrix (row by row) that interpolates `from` samples to `to`, edges repeated. */
function bilinearMatrix(from: number, to: number, alignCorners = false): Float64Array {
  const matrix = new Float64Array(to * from);
  for (let i = 0; i < to; i++) {
    const corner = to === 1 ? 0 : i * (from - 1) / (to - 1);
    const place = alignCorners ? corner : (i + 0.5) * from / to - 0.5;
    const position = Math.min(Math.max(place, 0), from - 1);
    const low = Math.floor(position);
    const high = Math.min(low + 1, from - 1);
    matrix[i * from + low]! += 1 - (position - low);
    matrix[i * from + high]! += position - low;
  }
  return matrix;
}

const resize: VjpRule = ({ node, grad }) => {
  const x = node.inputs[0]!;
  const aligned = attributeString(node, "coordinate_transformation_mode") === "align_corners";
  const [fromHeight, fromWidth] = [knownSize(node, x, 2), knownSize(node, x, 3)];
  const [toHeight, toWidth] = [knownSize(node, grad, 2), knownSize(node, grad, 3)];
  const { graph, dtype } = x;
  let sum = grad;
  if (fromWidth !== toWidth) {
    const matrix = bilinearMatrix(fromWidth, toWidth, aligned);
    sum = ops.matMul(sum, graph.constant([...matrix], [toWidth, fromWidth], dtype));
  }
  if (fromHeight !== toHeight) {
    const matrix = bilinearMatrix(fromHeight, toHeight, aligned);
    const flipped = Float64Array.from(
      matrix,
      (_, i) => matrix[(i % toHeight) * fromHeight + Math.floor(i / toHeight)]!,
    );
    sum = ops.matMul(graph.constant([...flipped], [fromHeight, toHeight], dtype), sum);
  }
  return [sum];
};

/**
 * Each sample is a weighted sum of the four pixels around it. Their rows of channels are gathered
 * and scattered as they lie in B·H·W×C; P = H'·W' samples, four corners beside each other.
 */
const gridSample: VjpRule = ({ node, grad, wants }) => {
  const [x, grid] = node.inputs as [Value, Value];
  const [batch, channels, height, width] = [0, 1, 2, 3].map((axis) => knownSize(node, x, axis)) as [
    number,
    number,
    number,
    number,
  ];
  const samples = knownSize(node, grid, 1) * knownSize(node, grid, 2);
  const aligned = attribute(node, "align_corners") === 1;
  const { graph, dtype } = x;
  const corners = (values: number[]) => graph.constant(values, [4, 1], dtype);

  // B×1×P: the place along one axis in pixels, and what its corners are and weigh.
  const flat = reshape(grid, [batch, samples, 2]);
  const along = (axis: 0 | 1, size: number, steps: number[]) => {
    const coordinate = transpose(ops.slice(flat, 2, axis, axis + 1), [0, 2, 1]);
    const scale = aligned ? (size - 1) / 2 : size / 2;
    const place = ops.add(ops.mul(coordinate, scale), (size - 1) / 2);
    const pixel = ops.add(ops.floor(place), corners(steps));
    const weight = ops.sub(1, ops.abs(ops.sub(place, pixel)));
    const inside = ops.and(ops.greaterOrEqual(pixel, 0), ops.lessOrEqual(pixel, size - 1));
    return { scale, weight, inside, index: ops.clip(pixel, 0, size - 1) };
  };
  const [dx, dy] = [[0, 1, 0, 1], [0, 0, 1, 1]];
  const [h, v] = [along(0, width, dx), along(1, height, dy)];
  const inside = ops.cast(ops.and(h.inside, v.inside), dtype);
  const offsets = Array.from({ length: batch }, (_, b) => b * height * width);
  const rows = ops.add(
    ops.cast(ops.add(ops.mul(v.index, width), h.index), "int64"),
    graph.constant(offsets, [batch, 1, 1], "int64"),
  );
  // B×1×P×C beside B×4×P×1.
  const cotangent = ops.unsqueeze(
    transpose(reshape(grad, [batch, channels, samples]), [0, 2, 1]),
    [1],
  );
  const table = [batch * height * width, channels];

  const byImage = () => {
    // Corner by corner, in pieces that one operator may add; each is made just before it is added.
    const pieces = addablePieces(batch * samples, channels);
    const all = [0, 1, 2, 3].flatMap(() => pieces);
    const cornersFirst = (x: Value) => ops.split(reshape(transpose(x, [1, 0, 2]), [-1, 1]), all, 0);
    const weights = cornersFirst(ops.mul(ops.mul(h.weight, v.weight), inside));
    const places = cornersFirst(rows);
    const parts = ops.split(reshape(cotangent, [batch * samples, channels]), pieces, 0);
    const zeros = ops.expand(graph.constant(0, [], dtype), table);
    const sum = places.reduce(
      (sum, place, i) =>
        ops.scatterND(sum, place, ops.mul(parts[i % pieces.length]!, weights[i]!), "add"),
      zeros,
    );
    return ops.transpose(ops.reshape(sum, [batch, height, width, channels]), [0, 3, 1, 2]);
  };
  const byGrid = () => {
    const pixels = ops.gather(ops.reshape(ops.transpose(x, [0, 2, 3, 1]), table), rows);
    const dots = ops.mul(ops.reduceSum(ops.mul(cotangent, pixels), [3]), inside);
    const slope = (other: Value, steps: number[], scale: number) => {
      const signs = corners(steps.map((step) => scale * (2 * step - 1)));
      return ops.reduceSum(ops.mul(ops.mul(dots, other), signs), [1]);
    };
    const pair = [slope(v.weight, dx, h.scale), slope(h.weight, dy, v.scale)];
    const joined = ops.concat(pair.map((part) => ops.unsqueeze(part, [2])), 2);
    return reshape(joined, grid.staticShape());
  };
  return [wants(0) ? byImage() : null, wants(1) ? byGrid() : null];
};

/** The rules by ONNX's names. */
export const samplingRules: Readonly<Record<string, VjpRule>> = {
  Resize: resize,
  GridSample: gridSample,
};
