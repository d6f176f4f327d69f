/**
 * The random walk's weights on WebGPU: unit rows, Z and P.
 *
 * @module
 */
import { f32, u32 } from "../dispatch/command_list.ts";
import { type MatrixLayout, transposed } from "../dispatch/gemm.ts";
import type { Place, Program, Slot } from "../dispatch/program.ts";
import { type ElementRange, elementRange } from "../dispatch/ranges.ts";
import type { ElementType } from "../dispatch/shader.ts";
import { emptyArea } from "../mask_pooling/contract.ts";
import type { ResolvedGfaOptions } from "./contract.ts";
import type { Job, Part } from "./gpu_jobs.ts";
import { blendKernel, columnChunk, columnTile, kernels, normalizeKernel } from "./gpu_kernels.ts";

/** A tensor [B×]N×D of all images, on the device. */
export interface DeviceRows {
  /** Its elements. */
  readonly buffer: GPUBuffer;
  /** Their type. */
  readonly type: ElementType;
  /** N */
  readonly rows: number;
}

/** Rows of a part, and how they lie there. */
export interface PlacedRows {
  /** Where they are bound. */
  readonly place: Place;
  /** Their layout as matrices rows×D. */
  readonly layout: MatrixLayout & { offset: number; batchStride: number };
}

/** What belongs to the rows of one part. */
export interface WalkPart extends Part {
  /** Unit rows of F_C, images×rows×D. */
  readonly clip: PlacedRows;
  /** Their norms before, images×rows. */
  readonly norms: Slot;
  /** Z, images×rows×padded. */
  readonly z: Slot;
  /** Pᵀ, images×rows×padded. */
  readonly pt: Slot;
  /** Of a softmax 1/Σ exp, else Σ|Z|; images×rows. */
  readonly rowSums: Slot;
}

/** The walk of a job. */
export interface Walk {
  /** What is walked on. */
  readonly job: Job;
  /** ω, λ and the rest. */
  readonly options: ResolvedGfaOptions;
  /** Its rows of F_C. */
  readonly parts: readonly WalkPart[];
  /** Unit rows of F_Q, images×padded×D; zeros beyond N_Q. */
  readonly query: Slot;
  /** Their norms before, images×padded. */
  readonly queryNorms: Slot;
  /** Sums of Z's columns, images×padded, in units of exp(largest logit) with softmax. */
  readonly columnSums: Slot;
}

/** The rows of a part of a tensor of all images. */
export function rowsOf(job: Job, tensor: DeviceRows, part: Part): PlacedRows {
  const { channels, image, images } = job;
  const perImage = tensor.rows * channels;
  const range: ElementRange = elementRange(
    tensor.buffer,
    image * perImage + part.first * channels,
    (images - 1) * perImage + part.rows * channels,
    tensor.type,
  );
  return {
    place: range.place,
    layout: {
      offset: range.offset,
      rowStride: channels,
      batchStride: perImage,
      type: tensor.type,
    },
  };
}

/** Scratch rows of a part, images×rows×D. */
export function scratchRows(
  program: Program,
  job: Job,
  label: string,
  rows: number,
): PlacedRows & { place: Slot } {
  const { channels, images } = job;
  return {
    place: program.scratch(label, images * rows * channels),
    layout: { offset: 0, rowStride: channels, batchStride: rows * channels },
  };
}

/** Records `to ← α·from + β·to`; rows that `from` lacks only keep β's part. */
export function recordBlend(
  program: Program,
  job: Job,
  from: PlacedRows,
  to: PlacedRows,
  rows: { from: number; to: number },
  factors: { alpha?: number; beta?: number } = {},
): void {
  const { alpha = 1, beta = 0 } = factors;
  const { channels, images } = job;
  program.kernel(
    blendKernel(from.layout.type ?? "f32"),
    images * rows.to,
    [
      ...[rows.from, rows.to, channels, images],
      ...[from.layout.offset, from.layout.rowStride, from.layout.batchStride],
      ...[to.layout.offset, to.layout.rowStride, to.layout.batchStride],
    ].map(u32).concat(f32(alpha), f32(beta)),
    [from.place, to.place],
  );
}

/** Records `to ← rows / |rows|`, and the norms. */
function recordNormalize(
  program: Program,
  job: Job,
  from: PlacedRows,
  to: PlacedRows,
  norms: Slot,
  rows: { from: number; to: number },
): void {
  program.kernel(
    normalizeKernel(from.layout.type ?? "f32"),
    job.images * rows.to,
    [
      ...[rows.from, rows.to, job.channels, job.images],
      ...[from.layout.offset, from.layout.batchStride],
      ...[to.layout.offset, to.layout.rowStride, to.layout.batchStride],
    ].map(u32),
    [from.place, to.place, norms],
  );
}

/**
 * Records the unit rows of both inputs and
 *
 *     Z = softmax_rows(λ F_C F_Qᵀ), or λ F_C F_Qᵀ
 *     P = Norm(Z)ᵀ
 *
 * @param program Where to.
 * @param job The images.
 * @param options ω, λ and the affinity.
 * @param clip F_C.
 * @param query F_Q.
 * @param place Where the unit rows of a part of F_C go.
 * @param areas N_C areas of one image's masks: rows of F_C whose area counts as empty take no part.
 */
export function recordWalk(
  program: Program,
  job: Job,
  options: ResolvedGfaOptions,
  clip: DeviceRows,
  query: DeviceRows,
  place: (part: Part) => PlacedRows,
  areas: GPUBuffer | null = null,
): Walk {
  const { images, queries, channels, padded } = job;
  const raw = options.affinity === "raw" ? 1 : 0;
  const queryRows = scratchRows(program, job, "query features", padded);
  const queryNorms = program.scratch("query norms", images * padded);
  recordNormalize(
    program,
    job,
    rowsOf(job, query, { first: 0, rows: queries }),
    queryRows,
    queryNorms,
    { from: queries, to: padded },
  );

  const parts = job.parts.map((part): WalkPart => {
    const { rows } = part;
    const made = {
      ...part,
      clip: place(part),
      norms: program.scratch("clip norms", images * rows),
      z: program.scratch("affinity", images * rows * padded),
      pt: program.scratch("logits", images * rows * padded),
      rowSums: program.scratch("row sums", images * rows),
    };
    const both = { from: rows, to: rows };
    recordNormalize(program, job, rowsOf(job, clip, part), made.clip, made.norms, both);
    program.gemm(
      {
        batches: images,
        m: rows,
        n: padded,
        k: channels,
        a: made.clip.layout,
        b: transposed(queryRows.layout),
        c: { rowStride: padded, batchStride: rows * padded },
      },
      made.clip.place,
      queryRows.place,
      made.pt,
      { alpha: options.lambda },
    );
    program.kernel(
      kernels.affinity,
      images * rows,
      // Norms are there to be bound where there are no areas: none is below 0.
      [images * rows, queries, padded, raw].map(u32).concat(f32(areas ? emptyArea : -1)),
      [
        made.pt,
        made.z,
        made.rowSums,
        areas ? elementRange(areas, part.first, rows).place : made.norms,
      ],
    );
    return made;
  });

  const chunks = parts.map(({ rows }) => Math.ceil(rows / columnChunk));
  const all = chunks.reduce((a, b) => a + b);
  const largest = program.scratch("column maxima", images * all * padded);
  const sums = program.scratch("column sums", images * all * padded);
  const columnMaxima = program.scratch("largest logits of columns", images * padded);
  const columnSums = program.scratch("sums of columns", images * padded);
  const tiles = Math.ceil(queries / columnTile);
  let first = 0;
  parts.forEach(({ rows, pt, rowSums }, i) => {
    program.kernel(
      kernels.columnPartials,
      images * chunks[i]! * tiles,
      [rows, queries, padded, images, chunks[i]!, first, all, raw].map(u32),
      [pt, rowSums, largest, sums],
    );
    first += chunks[i]!;
  });
  program.kernel(
    kernels.columnMerge,
    Math.ceil(images * padded / 64),
    [queries, padded, images, all].map(u32),
    [largest, sums, columnMaxima, columnSums],
  );
  for (const { rows, pt, rowSums } of parts) {
    program.kernel(
      kernels.columns,
      images * rows,
      [rows, queries, padded, images, raw].map(u32),
      [pt, rowSums, columnMaxima, columnSums],
    );
  }
  return { job, options, parts, query: queryRows.place, queryNorms, columnSums };
}

/** Records the sum over n of a·b for every column, of matrices like Z. */
export function recordColumnDots(
  program: Program,
  walk: Walk,
  pairs: readonly { a: Slot; b: Slot }[],
): Slot {
  const { images, queries, padded } = walk.job;
  const chunks = walk.parts.map(({ rows }) => Math.ceil(rows / columnChunk));
  const all = chunks.reduce((a, b) => a + b);
  const largest = program.scratch("column maxima", images * all * padded);
  const sums = program.scratch("column sums", images * all * padded);
  const zeros = program.scratch("zeros", images * padded);
  const dots = program.scratch("column products", images * padded);
  let first = 0;
  walk.parts.forEach(({ rows }, i) => {
    program.kernel(
      kernels.columnDots,
      images * chunks[i]! * Math.ceil(queries / columnTile),
      [rows, queries, padded, images, chunks[i]!, first, all, 0].map(u32),
      [pairs[i]!.a, pairs[i]!.b, largest, sums],
    );
    first += chunks[i]!;
  });
  program.kernel(
    kernels.columnMerge,
    Math.ceil(images * padded / 64),
    [queries, padded, images, all].map(u32),
    [largest, sums, zeros, dots],
  );
  return dots;
}

/** The layout of Z, Pᵀ and matrices like them. */
export function affinityLayout(job: Job, rows: number): MatrixLayout {
  return { rowStride: job.padded, batchStride: rows * job.padded };
}
