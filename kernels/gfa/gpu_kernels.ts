/**
 * The WGSL kernels of GFA by name.
 *
 * @module
 */
import type { KernelSource } from "../dispatch/program.ts";
import type { ElementType } from "../dispatch/shader.ts";
import affinityWgsl from "./affinity.wgsl" with { type: "text" };
import assembleWgsl from "./assemble.wgsl" with { type: "text" };
import blendWgsl from "./blend.wgsl" with { type: "text" };
import columnDotsWgsl from "./column_dots.wgsl" with { type: "text" };
import columnLanesWgsl from "./column_lanes.wgsl" with { type: "text" };
import columnMergeWgsl from "./column_merge.wgsl" with { type: "text" };
import columnPartialsWgsl from "./column_partials.wgsl" with { type: "text" };
import columnsWgsl from "./columns.wgsl" with { type: "text" };
import invertBlockWgsl from "./invert_block.wgsl" with { type: "text" };
import largestWgsl from "./largest.wgsl" with { type: "text" };
import normalizeWgsl from "./normalize.wgsl" with { type: "text" };
import panelWgsl from "./panel.wgsl" with { type: "text" };
import rescaleWgsl from "./rescale.wgsl" with { type: "text" };
import rowNormsWgsl from "./row_norms.wgsl" with { type: "text" };
import throughAffinityWgsl from "./through_affinity.wgsl" with { type: "text" };
import throughNormalizationWgsl from "./through_normalization.wgsl" with { type: "text" };

/** Rows that one workgroup of `column_lanes.wgsl` handles. */
export const columnChunk = 256;
/** Columns that one workgroup of it handles. */
export const columnTile = 16;
/** Rows of a diagonal block of the inversion. */
export const blockRows = 32;

const plain = (label: string, code: string): KernelSource => ({ label: `gfa/${label}`, code });
const reducing = (label: string, code: string): KernelSource => ({
  label: `gfa/${label}`,
  code,
  options: { reduce: true },
});

/** Row by row: unit rows and their norms, from float32 or float16. */
export function normalizeKernel(type: ElementType): KernelSource {
  return { ...reducing("normalize", normalizeWgsl), options: { reduce: true, types: { X: type } } };
}

/** `out = α·x + β·out`, from float32 or float16. */
export function blendKernel(type: ElementType): KernelSource {
  return { ...plain("blend", blendWgsl), options: { types: { X: type } } };
}

/** The others. */
export const kernels = {
  affinity: reducing("affinity", affinityWgsl),
  assemble: reducing("assemble", assembleWgsl),
  columnDots: plain("column_dots", columnLanesWgsl + columnDotsWgsl),
  columnMerge: plain("column_merge", columnMergeWgsl),
  columnPartials: plain("column_partials", columnLanesWgsl + columnPartialsWgsl),
  columns: plain("columns", columnsWgsl),
  invertBlock: plain("invert_block", invertBlockWgsl),
  largest: reducing("largest", largestWgsl),
  panel: plain("panel", panelWgsl),
  rescale: reducing("rescale", rescaleWgsl),
  rowNorms: reducing("row_norms", rowNormsWgsl),
  throughAffinity: reducing("through_affinity", throughAffinityWgsl),
  throughNormalization: reducing("through_normalization", throughNormalizationWgsl),
} as const;
