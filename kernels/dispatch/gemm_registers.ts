/**
 * A matrix product for adapters whose loads are dear beside their arithmetic, written for each
 * layout of its operands.
 *
 * On a software adapter every load of an invocation costs as much as a hundred multiplications
 * (measured on lavapipe: 2.5 ns for a vec4, 0.02 ns for a product), and workgroup memory is no
 * cheaper than a storage buffer. So each invocation keeps 16 × 16 results in registers and loads
 * four elements at a time, along whichever axis lies in a row.
 *
 * @module
 */
import paramsWgsl from "./gemm_params.wgsl" with { type: "text" };

/** How an operand is loaded. */
export type OperandLayout =
  /** Four neighbours along the inner axis at once. */
  | "inner"
  /** Four neighbours along the outer axis (rows of A, columns of B) at once. */
  | "outer"
  /** One by one, at any strides. */
  | "scalar";

/** Rows and columns of results that an invocation keeps. */
export const registerTile = 16;
/** Invocations of a workgroup, along n and along m: one vector of a CPU. */
const across = 4, down = 2;
/** Rows of results of a workgroup. */
export const workgroupRows: number = registerTile * down;
/** Columns of results of a workgroup. */
export const workgroupColumns: number = registerTile * across;

const size = registerTile;
const components = ["x", "y", "z", "w"] as const;
const range = (n: number) => [...Array(n).keys()];
const lines = (n: number, f: (i: number) => string) => range(n).map(f).join("\n");

/** Declares the 16 × 4 values `name{i}_{kk}` of an operand at inner positions k … k + 3. */
function loads(
  name: "a" | "b",
  layout: OperandLayout,
  guarded: boolean,
): string {
  const guard = (kk: number, value: string, zero: string) =>
    guarded ? `select(${zero}, ${value}, k + ${kk}u < k_end)` : value;
  const inner = (kk: number) => guarded ? `min(k + ${kk}u, params.k - 1u)` : `(k + ${kk}u)`;
  if (layout === "inner") {
    return lines(
      size,
      (i) =>
        `let ${name}v${i} = vec4<f32>(${name}[(${name}_at${i} + k) / 4u]);\n` +
        lines(4, (kk) => `let ${name}${i}_${kk} = ${name}v${i}.${components[kk]};`),
    );
  }
  if (layout === "outer") {
    return lines(4, (kk) =>
      lines(size / 4, (j) => {
        const at = `${name}_at${4 * j} + ${inner(kk)} * params.${name}_stride_k`;
        const value = guard(kk, `vec4<f32>(${name}[(${at}) / 4u])`, "vec4<f32>()");
        return `let ${name}v${j}_${kk} = ${value};\n` +
          lines(4, (e) => `let ${name}${4 * j + e}_${kk} = ${name}v${j}_${kk}.${components[e]};`);
      }));
  }
  return lines(4, (kk) =>
    lines(size, (i) => {
      const at = `${name}_at${i} + ${inner(kk)} * params.${name}_stride_k`;
      return `let ${name}${i}_${kk} = ${guard(kk, `f32(${name}[${at}])`, "0.0")};`;
    }));
}

/** Where each of the 16 rows (columns) of an operand begins; those beyond the matrix repeat. */
function starts(name: "a" | "b", layout: OperandLayout): string {
  const [first, count, stride] = name === "a"
    ? ["row0", "params.m", "params.a_stride_m"]
    : ["column0", "params.n", "params.b_stride_n"];
  const step = layout === "outer" ? 4 : 1;
  return lines(size / step, (j) => {
    const i = step * j;
    return `let ${name}_at${i} = ${name}_start + min(${first} + ${i}u, ${count} - ${step}u) * ${stride};`;
  });
}

/**
 * The kernel's code; `AType` and `BType` are the operands' element types, `addend(at)` gives the
 * element of E where C's is at. `k_per_split` must be a multiple of 64.
 *
 * @param a How A is loaded: `inner` and `outer` need strides, offsets and the size of that axis
 *   that are multiples of 4.
 * @param b How B is loaded.
 * @param vectorStores Whether C's strides, offset and n are multiples of 4.
 * @param evenInner Whether the size of the inner axis is a multiple of 4.
 */
export function gemmRegisters(
  a: OperandLayout,
  b: OperandLayout,
  vectorStores: boolean,
  evenInner: boolean,
): string {
  const guarded = !evenInner;
  const element = (layout: OperandLayout, type: string) =>
    layout === "scalar" ? type : `vec4<${type}>`;
  const accumulate = lines(size, (i) =>
    lines(4, (kk) =>
      lines(
        size / 4,
        (j) =>
          `part${i}_${j} = fma(vec4<f32>(a${i}_${kk}), ` +
          `vec4<f32>(${range(4).map((e) => `b${4 * j + e}_${kk}`).join(", ")}), part${i}_${j});`,
      )));
  const each = (f: (i: number, j: number) => string) =>
    lines(size, (i) => lines(size / 4, (j) => f(i, j)));
  const store = vectorStores
    ? (i: number, j: number) =>
      `if (row0 + ${i}u < params.m && column0 + ${4 * j}u < params.n) {
        let at = (c_start + ${i}u * params.c_stride_m + ${4 * j}u) / 4u;
        var value = params.alpha * sum${i}_${j};
        if (params.beta != 0.0) { value += params.beta * addend(at); }
        c[at] = value;
      }`
    : (i: number, j: number) => `store(row0 + ${i}u, column0 + ${4 * j}u, c_start, sum${i}_${j});`;
  return `
${paramsWgsl}@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<${element(a, "AType")}>;
@group(0) @binding(2) var<storage, read> b: array<${element(b, "BType")}>;
@group(0) @binding(3) var<storage, read_write> c: array<${vectorStores ? "vec4<f32>" : "f32"}>;
${
    vectorStores ? "" : `
fn store(row: u32, column: u32, start: u32, values: vec4<f32>) {
  if (row >= params.m) {
    return;
  }
  for (var e = 0u; e < 4u; e++) {
    if (column + e < params.n) {
      let at = params.c_offset + start + row * params.c_stride_m + column + e;
      var value = params.alpha * values[e];
      if (params.beta != 0.0) {
        value += params.beta * addend(at);
      }
      c[at] = value;
    }
  }
}`
  }
@compute @workgroup_size(${across * down})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let tiles_n = (params.n + ${workgroupColumns - 1}u) / ${workgroupColumns}u;
  let tiles = ((params.m + ${workgroupRows - 1}u) / ${workgroupRows}u) * tiles_n;
  let id = group.x + group.y * groups.x;
  let split = (id / tiles) % params.splits;
  let batch = id / (tiles * params.splits);
  let row0 = ((id % tiles) / tiles_n) * ${workgroupRows}u + (local / ${across}u) * ${size}u;
  let column0 = ((id % tiles) % tiles_n) * ${workgroupColumns}u + (local % ${across}u) * ${size}u;
  if (batch >= params.batches || row0 >= params.m || column0 >= params.n) {
    return;
  }
  let k_begin = min(split * params.k_per_split, params.k);
  let k_end = min(k_begin + params.k_per_split, params.k);
  let a_start = params.a_offset + batch * params.a_stride_batch;
  let b_start = params.b_offset + batch * params.b_stride_batch;
${starts("a", a)}
${starts("b", b)}
${each((i, j) => `var sum${i}_${j} = vec4<f32>();`)}
  // Sixty-four products are summed apart before they join the total, so that the rounding error
  // grows with 64 + K/64 instead of K.
  for (var k0 = k_begin; k0 < k_end; k0 += 64u) {
${each((i, j) => `var part${i}_${j} = vec4<f32>();`)}
    let k1 = min(k0 + 64u, k_end);
    for (var k = k0; k < k1; k += 4u) {
${loads("a", a, guarded)}
${loads("b", b, guarded)}
${accumulate}
    }
${each((i, j) => `sum${i}_${j} += part${i}_${j};`)}
  }
  let c_start = ${
    vectorStores ? "params.c_offset + row0 * params.c_stride_m + column0 + " : ""
  }batch * params.c_stride_batch + split * params.c_stride_split;
${each(store)}
}
`;
}
