/**
 * The kernels of mask pooling in their variants.
 *
 * @module
 */
import type { KernelSource } from "../dispatch/program.ts";
import type { ElementType } from "../dispatch/shader.ts";
import cellsWgsl from "./cells.wgsl" with { type: "text" };
import correctionWgsl from "./correction.wgsl" with { type: "text" };
import meanWgsl from "./mean.wgsl" with { type: "text" };
import resizeWgsl from "./resize.wgsl" with { type: "text" };
import adjointWgsl from "./resize_adjoint.wgsl" with { type: "text" };
import slopeWgsl from "./slope.wgsl" with { type: "text" };
import weightsWgsl from "./weights.wgsl" with { type: "text" };

// A cell is what an invocation treats as one value: four neighbours, or one element.
const scalarCells = `
alias Cell = f32;
fn total(cell: Cell) -> f32 { return cell; }
`;

const vectorCells = `
alias Cell = vec4<f32>;
fn total(cell: Cell) -> f32 { return (cell.x + cell.y) + (cell.z + cell.w); }
`;

const scalarColumns = `
alias Columns = u32;
fn columns_of(cell: u32) -> Columns { return cell; }
fn gather(start: u32, at: Columns) -> Cell { return f32(logits[start + at]); }
`;

const vectorColumns = `
alias Columns = vec4<u32>;
fn columns_of(cell: u32) -> Columns { return 4u * cell + vec4<u32>(0u, 1u, 2u, 3u); }
fn gather(start: u32, at: Columns) -> Cell {
  return vec4<f32>(
    f32(logits[start + at.x]),
    f32(logits[start + at.y]),
    f32(logits[start + at.z]),
    f32(logits[start + at.w]),
  );
}
`;

// Logits of the features' own size are read in the order in which they lie.
const sameSize = `
alias Column = u32;
fn locate(column: u32) -> Column { return column; }
fn logit(plane: u32, row: u32, column: Column) -> Cell {
  return Cell(logits[params.offset + plane * params.cells + row * params.columns + column]);
}
`;

const cells = (vector: boolean) => vector ? vectorCells : scalarCells;
const nameOf = (vector: boolean) => vector ? "vector" : "scalar";

/** A kernel that reads the logits as the feature map's grid has them. */
function logitsKernel(
  name: string,
  code: string,
  vector: boolean,
  resized: boolean,
  type: ElementType,
): KernelSource {
  const element = vector && !resized ? "vec4<Logit>" : "Logit";
  return {
    label: `mask_pooling/${name}/${nameOf(vector)},${resized ? "resized" : "same"}`,
    code: [
      cells(vector),
      `@group(0) @binding(1) var<storage, read> logits: array<${element}>;`,
      ...(resized ? [vector ? vectorColumns : scalarColumns, resizeWgsl] : [sameSize]),
      cellsWgsl,
      code,
    ].join("\n"),
    options: { types: { Logit: type } },
  };
}

/**
 * `weights.wgsl`.
 *
 * @param vector Whether a cell is four pixels.
 * @param resized Whether the logits have another size than the features.
 * @param type The logits' element type.
 */
export function weightsKernel(vector: boolean, resized: boolean, type: ElementType): KernelSource {
  return logitsKernel("weights", weightsWgsl, vector, resized, type);
}

/** `slope.wgsl`; see {@linkcode weightsKernel}. */
export function slopeKernel(vector: boolean, resized: boolean, type: ElementType): KernelSource {
  return logitsKernel("slope", slopeWgsl, vector, resized, type);
}

/**
 * `mean.wgsl`.
 *
 * @param vector Whether a cell is four channels.
 * @param type The element type of the values that are divided.
 */
export function meanKernel(vector: boolean, type: ElementType): KernelSource {
  const values = `alias ValueCell = ${vector ? "vec4<Value>" : "Value"};`;
  return {
    label: `mask_pooling/mean/${nameOf(vector)}`,
    code: [cells(vector), values, meanWgsl].join("\n"),
    options: { types: { Value: type }, reduce: true },
  };
}

/** `correction.wgsl`. */
export function correctionKernel(vector: boolean): KernelSource {
  return {
    label: `mask_pooling/correction/${nameOf(vector)}`,
    code: [cells(vector), correctionWgsl].join("\n"),
    options: { reduce: true },
  };
}

/** `resize_adjoint.wgsl`. */
export const adjointKernel: KernelSource = {
  label: "mask_pooling/resize_adjoint",
  code: adjointWgsl,
};
