/**
 * The little linear algebra in float64 that the reference of GFA needs.
 *
 * @module
 */

/** A row-major matrix of float64. */
export class Matrix {
  /** Number of rows. */
  readonly rows: number;
  /** Number of columns. */
  readonly columns: number;
  /** The entries, row by row. */
  readonly data: Float64Array;

  /** Zeros where `data` is left out. */
  constructor(rows: number, columns: number, data = new Float64Array(rows * columns)) {
    this.rows = rows;
    this.columns = columns;
    this.data = data;
  }

  /** Fills a matrix entry by entry. */
  static build(rows: number, columns: number, f: (i: number, j: number) => number): Matrix {
    const out = new Matrix(rows, columns);
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) out.data[i * columns + j] = f(i, j);
    }
    return out;
  }

  /** Entry (i, j). */
  at(i: number, j: number): number {
    return this.data[i * this.columns + j]!;
  }

  /** The transpose. */
  get transpose(): Matrix {
    return Matrix.build(this.columns, this.rows, (i, j) => this.at(j, i));
  }

  /** The matrix product `this · right`. */
  times(right: Matrix): Matrix {
    const out = new Matrix(this.rows, right.columns);
    for (let i = 0; i < this.rows; i++) {
      for (let k = 0; k < this.columns; k++) {
        const factor = this.at(i, k);
        for (let j = 0; j < right.columns; j++) {
          out.data[i * right.columns + j]! += factor * right.at(k, j);
        }
      }
    }
    return out;
  }

  /** `this + factor · other`. */
  plus(other: Matrix, factor = 1): Matrix {
    return Matrix.build(this.rows, this.columns, (i, j) => this.at(i, j) + factor * other.at(i, j));
  }

  /** `factor · this`. */
  scaled(factor: number): Matrix {
    return Matrix.build(this.rows, this.columns, (i, j) => factor * this.at(i, j));
  }

  /** X with `this · X = right`: Gaussian elimination with partial pivoting. */
  solve(right: Matrix): Matrix {
    const n = this.rows;
    const a = Array.from({ length: n }, (_, i) => [
      ...this.data.subarray(i * n, (i + 1) * n),
      ...right.data.subarray(i * right.columns, (i + 1) * right.columns),
    ]);
    for (let k = 0; k < n; k++) {
      let pivot = k;
      for (let i = k + 1; i < n; i++) {
        if (Math.abs(a[i]![k]!) > Math.abs(a[pivot]![k]!)) pivot = i;
      }
      [a[k], a[pivot]] = [a[pivot]!, a[k]!];
      for (let i = k + 1; i < n; i++) {
        const factor = a[i]![k]! / a[k]![k]!;
        if (factor === 0) continue;
        for (let j = k; j < n + right.columns; j++) a[i]![j]! -= factor * a[k]![j]!;
      }
    }
    const x = new Matrix(n, right.columns);
    for (let c = 0; c < right.columns; c++) {
      for (let i = n - 1; i >= 0; i--) {
        let sum = a[i]![n + c]!;
        for (let j = i + 1; j < n; j++) sum -= a[i]![j]! * x.at(j, c);
        x.data[i * right.columns + c] = sum / a[i]![i]!;
      }
    }
    return x;
  }
}
