/**
 * Cosines between all rows of two matrices, a block at a time.
 *
 * @module
 */
import { InputError, ShapeError } from "../errors.ts";
import { Graph, ops } from "../graph/mod.ts";
import type { Engine, Session } from "../runtime.ts";
import { float32, formatShape, type HostTensor } from "../tensor.ts";

/** How cosines between many rows are computed. */
export interface CosineOptions {
  /**
   * Computes the blocks' products, which is worth it from about 1,000 rows on; plain loops where
   * left out. The results are the same to the last bit.
   */
  readonly engine?: Engine;
  /** Rows of a block on either side, 512 where left out: memory grows with its square. */
  readonly blockRows?: number;
  /** Ends the work early. */
  readonly signal?: AbortSignal;
  /** Reports how far it has come, in blocks. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Checked rows: finite, none all zeros. */
export class CosineRows {
  /** N × D, row-major. */
  readonly data: Float32Array;
  /** N */
  readonly count: number;
  /** D */
  readonly size: number;
  /** The squared length of each row. */
  readonly #squares: Float64Array;

  /**
   * Normalises the rows, into memory of its own.
   *
   * @param rows float32 N×D, rows of any length.
   * @param name Names a row in messages: `class "dog"`; its number where left out.
   * @throws {ShapeError} If it isn't a matrix with at least one column.
   * @throws {InputError} If a row has no direction: all zeros, or a number that isn't finite.
   */
  constructor(
    rows: HostTensor<"float32">,
    name: (row: number) => string = (row) => `row ${row + 1}`,
  ) {
    const [count, size, ...rest] = rows.shape;
    if (count === undefined || size === undefined || rest.length > 0 || size < 1) {
      throw new ShapeError(`embeddings are ${formatShape(rows.shape)}; they must be N×D`);
    }
    this.data = rows.data;
    this.count = count;
    this.size = size;
    this.#squares = new Float64Array(count);
    for (let row = 0; row < count; row++) {
      const square = this.#dot(row, this, row);
      if (!(square > 0 && square < Infinity)) {
        const what = square === 0 ? "all zeros" : "not finite";
        throw new InputError(`the embedding of ${name(row)} is ${what}; it has no direction`);
      }
      this.#squares[row] = square;
    }
  }

  #dot(row: number, other: CosineRows, otherRow: number): number {
    const { data: a, size } = this;
    const b = other.data;
    let [i, j] = [row * size, otherRow * size];
    let sum = 0;
    for (const end = i + size; i < end;) sum += a[i++]! * b[j++]!;
    return sum;
  }

  /**
   * The cosine of two rows, in float64: exactly 1 for equal rows, and the same whichever of the two
   * comes first.
   */
  cosine(row: number, other: CosineRows, otherRow: number): number {
    const squares = this.#squares[row]! * other.#squares[otherRow]!;
    const cosine = this.#dot(row, other, otherRow) / Math.sqrt(squares);
    return Math.min(1, Math.max(-1, cosine));
  }

  /** Some rows, scaled to unit length and rounded to float32. */
  unit(from: number, to: number): HostTensor<"float32"> {
    const { data, size } = this;
    const unit = new Float32Array((to - from) * size);
    for (let row = from, at = 0; row < to; row++) {
      const norm = Math.sqrt(this.#squares[row]!);
      for (let d = 0; d < size; d++) unit[at++] = data[row * size + d]! / norm;
    }
    return float32([to - from, size], unit);
  }
}

/** A block of cosines. */
export interface CosineBlock {
  /** First row of `a`. */
  readonly row: number;
  /** Number of rows of `a`. */
  readonly rows: number;
  /** First row of `b`. */
  readonly column: number;
  /** Number of rows of `b`. */
  readonly columns: number;
  /** rows × columns cosines, row-major, each off by at most half of `tolerance`. */
  readonly cosines: ArrayLike<number>;
  /** How far the difference of two of them may be off. */
  readonly tolerance: number;
}

function productGraph(size: number): Uint8Array {
  const graph = new Graph("cosine_block");
  const a = graph.input("a", ["M", size]);
  const b = graph.input("b", ["N", size]);
  graph.output("cosines", ops.gemm(a, b, { transposeB: true }));
  return graph.toOnnx();
}

/**
 * Goes over the cosines between all rows of `a` and all rows of `b`. At no time is more of them in
 * memory than one block.
 *
 * The engine's products are float32: what they tell apart by more than the block's `tolerance` is
 * settled; of what lies closer, {@linkcode CosineRows.cosine} knows the order.
 *
 * @param a M×D.
 * @param b N×D.
 * @param visit Is given one block after another; its numbers are only lent.
 * @param options How to compute, and `upper`: `a` and `b` are the same rows, and blocks that lie
 * wholly below the diagonal are left out.
 * @throws {ShapeError} If D differs.
 */
export async function cosineBlocks(
  a: CosineRows,
  b: CosineRows,
  visit: (block: CosineBlock) => void,
  options: CosineOptions & { readonly upper?: boolean } = {},
): Promise<void> {
  const { engine, blockRows = 512, signal, onProgress, upper = false } = options;
  if (a.size !== b.size) {
    throw new ShapeError(`rows of ${a.size} and of ${b.size} numbers have no cosine`);
  }
  const places: [row: number, column: number][] = [];
  for (let row = 0; row < a.count; row += blockRows) {
    for (let column = upper ? row : 0; column < b.count; column += blockRows) {
      places.push([row, column]);
    }
  }
  const session = places.length > 0 ? await engine?.load(productGraph(a.size)) : undefined;
  // Rounding: two rows to float32, a sum of D products, and a little for what is denormal.
  const tolerance = session === undefined ? 0 : 2 * (a.size + 8) * 2 ** -24;
  try {
    let unit: HostTensor<"float32"> | undefined;
    let unitRow = -1;
    for (const [done, [row, column]] of places.entries()) {
      signal?.throwIfAborted();
      const rows = Math.min(blockRows, a.count - row);
      const columns = Math.min(blockRows, b.count - column);
      let cosines: ArrayLike<number>;
      if (session === undefined) cosines = plainBlock(a, row, rows, b, column, columns);
      else {
        if (unitRow !== row) [unit, unitRow] = [a.unit(row, row + rows), row];
        cosines = await product(session, unit!, b.unit(column, column + columns));
      }
      visit({ row, rows, column, columns, cosines, tolerance });
      onProgress?.(done + 1, places.length);
    }
  } finally {
    await session?.dispose();
  }
}

async function product(
  session: Session,
  a: HostTensor<"float32">,
  b: HostTensor<"float32">,
): Promise<ArrayLike<number>> {
  const { cosines } = await session.run({ a, b });
  try {
    return await cosines!.read() as Float32Array;
  } finally {
    cosines!.dispose();
  }
}

function plainBlock(
  a: CosineRows,
  row: number,
  rows: number,
  b: CosineRows,
  column: number,
  columns: number,
): Float64Array {
  const cosines = new Float64Array(rows * columns);
  for (let i = 0, at = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) cosines[at++] = a.cosine(row + i, b, column + j);
  }
  return cosines;
}
