/**
 * Minimum-cost assignment, as the set loss needs it to match queries to ground truth.
 *
 * @module
 */
import { InputError, ShapeError } from "../errors.ts";

/**
 * Solves the rectangular assignment problem exactly: `min(rows, cols)` pairs, no row and no column
 * twice, of least total cost. Rows are added one at a time along a shortest augmenting path over
 * reduced costs (Jonker and Volgenant, 1987; Crouse, 2016, for rectangular matrices), O(n²m) with
 * n the smaller side. Computed in float64 whatever the cost's type.
 *
 * @param cost rows × cols finite costs, row-major; negative ones are fine.
 * @param rows Number of rows, for example queries.
 * @param cols Number of columns, for example ground-truth segments.
 * @returns Each row's column, or −1 where the row stays alone; of several optimal assignments, one.
 * @throws {ShapeError} If `cost` does not hold rows × cols elements.
 * @throws {InputError} If a cost is NaN or infinite.
 *
 * @example
 * ```ts
 * import { assign } from "@ovstage/ovstage";
 * console.log(assign(Float64Array.of(4, 1, 3, 2, 0, 5), 2, 3)); // Int32Array [ 1, 0 ]
 * ```
 */
export function assign(cost: Float64Array | Float32Array, rows: number, cols: number): Int32Array {
  if (!isCount(rows) || !isCount(cols) || cost.length !== rows * cols) {
    throw new ShapeError(
      `assign: cost holds ${cost.length} elements; ${rows} rows of ${cols} columns take ` +
        `${rows * cols}, and both must be integers of at least 0`,
    );
  }
  let largest = 0;
  for (let i = 0; i < cost.length; i++) {
    if (!Number.isFinite(cost[i]!)) {
      throw new InputError(
        `assign: cost of row ${Math.floor(i / cols)}, column ${i % cols} is ${cost[i]}; ` +
          "every cost must be finite",
      );
    }
    largest = Math.max(largest, Math.abs(cost[i]!));
  }
  // A power of two, so nothing is rounded: sums along a path must not overflow.
  const scale = largest > 1e290 ? 2 ** -60 : 1;
  if (rows <= cols) return assignWide(Float64Array.from(cost, (c) => c * scale), rows, cols);

  const transposed = new Float64Array(cost.length);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) transposed[c * rows + r] = cost[r * cols + c]! * scale;
  }
  const rowOf = assignWide(transposed, cols, rows);
  const colOf = new Int32Array(rows).fill(-1);
  rowOf.forEach((row, col) => (colOf[row] = col));
  return colOf;
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 0;
}

/** The case rows ≤ cols, where every row gets a column. */
function assignWide(cost: Float64Array, rows: number, cols: number): Int32Array {
  // Dual feasibility, cost[r, c] − u[r] − v[c] ≥ 0 with equality on matched pairs, holds throughout.
  const u = new Float64Array(rows);
  const v = new Float64Array(cols);
  const colOf = new Int32Array(rows).fill(-1);
  const rowOf = new Int32Array(cols).fill(-1);
  const distance = new Float64Array(cols);
  const previous = new Int32Array(cols);
  const open = new Int32Array(cols);
  const done = new Int32Array(cols);

  for (let start = 0; start < rows; start++) {
    distance.fill(Infinity);
    for (let c = 0; c < cols; c++) open[c] = c;
    let openCount = cols;
    let doneCount = 0;
    let row = start;
    let reached = 0;
    let sink = -1;
    while (sink < 0) {
      let nearest = Infinity;
      let at = -1;
      for (let k = 0; k < openCount; k++) {
        const c = open[k]!;
        const through = reached + (cost[row * cols + c]! - u[row]! - v[c]!);
        if (through < distance[c]!) {
          distance[c] = through;
          previous[c] = row;
        }
        // At equal distance a free column ends the search earlier.
        if (distance[c]! < nearest || (distance[c] === nearest && rowOf[c]! < 0)) {
          nearest = distance[c]!;
          at = k;
        }
      }
      reached = nearest;
      const c = open[at]!;
      open[at] = open[--openCount]!;
      if (rowOf[c]! < 0) {
        sink = c;
      } else {
        done[doneCount++] = c;
        row = rowOf[c]!;
      }
    }
    u[start]! += reached;
    for (let k = 0; k < doneCount; k++) {
      const c = done[k]!;
      u[rowOf[c]!]! += reached - distance[c]!;
      v[c]! -= reached - distance[c]!;
    }
    for (let c = sink;;) {
      const r = previous[c]!;
      rowOf[c] = r;
      const next = colOf[r]!;
      colOf[r] = c;
      if (r === start) break;
      c = next;
    }
  }
  return colOf;
}
