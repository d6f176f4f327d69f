/**
 * Where the walk leads, on WebGPU: F_Q by each method, and the adjoint of each.
 *
 * @module
 */
import { f32, u32 } from "../dispatch/command_list.ts";
import { type MatrixLayout, transposed } from "../dispatch/gemm.ts";
import type { Program, Slot } from "../dispatch/program.ts";
import {
  type GfaMethod,
  seriesBound,
  seriesTerms,
  stepsBound,
  type WalkNorms,
} from "./contract.ts";
import type { Job } from "./gpu_jobs.ts";
import { blockRows, kernels } from "./gpu_kernels.ts";
import {
  affinityLayout,
  type PlacedRows,
  recordBlend,
  scratchRows,
  type Walk,
} from "./gpu_walk.ts";

/** Rows in scratch memory. */
export type ScratchRows = PlacedRows & { readonly place: Slot };

/** What the adjoint gives. */
export interface LimitAdjoint {
  /** The gradient by ωPF_C as it enters directly, images×padded×D. */
  readonly byMean: ScratchRows;
  /** The gradient by the unit rows of F_Q as they enter directly, images×padded×D. */
  readonly byQuery: ScratchRows;
  /** The gradient by G = PZ, images×padded×padded. */
  readonly byG: Slot;
}

/** F_Q at the end of the walk. */
export interface Limit {
  /** images×padded×D. */
  readonly query: ScratchRows;
  /** How it was computed. */
  readonly method: GfaMethod;
  /** See {@linkcode FusedEmbeddings.errorBound}. */
  readonly errorBound: number;
  /** Records the gradients from that by F_Q; only where asked for beforehand. */
  recordAdjoint(byFusedQuery: ScratchRows): LimitAdjoint;
}

/** A limit whose norms are to be checked before it is recorded to its end. */
export interface Approach {
  /** Two numbers or more: ‖PZ‖∞, then ‖Z‖∞ of every part; null where both are known to be 1. */
  readonly norms: { place: Slot; read(values: Float32Array): WalkNorms } | null;
  /** Records the rest. */
  finish(norms: WalkNorms): Limit;
}

function squareLayout(job: Job, stride: number, offset = 0): MatrixLayout {
  return { offset, rowStride: stride, batchStride: job.padded * stride };
}

/** Records `to ← α·G + β·to` with G = PZ, summed over the parts. */
function recordG(program: Program, walk: Walk, to: Slot, stride: number, alpha: number): void {
  const { job } = walk;
  walk.parts.forEach(({ rows, pt, z }, i) => {
    program.gemm(
      {
        batches: job.images,
        m: job.padded,
        n: job.padded,
        k: rows,
        a: transposed(affinityLayout(job, rows)),
        b: affinityLayout(job, rows),
        c: squareLayout(job, stride),
      },
      pt,
      z,
      to,
      { alpha, beta: i === 0 ? 0 : 1 },
    );
  });
}

/** Records `to ← α·P F_C + β·to`, summed over the parts. */
function recordMean(
  program: Program,
  walk: Walk,
  to: ScratchRows,
  alpha: number,
  beta: number,
): void {
  const { job } = walk;
  walk.parts.forEach(({ rows, pt, clip }, i) => {
    program.gemm(
      {
        batches: job.images,
        m: job.padded,
        n: job.channels,
        k: rows,
        a: transposed(affinityLayout(job, rows)),
        b: clip.layout,
        c: to.layout,
      },
      pt,
      clip.place,
      to.place,
      { alpha, beta: i === 0 ? beta : 1 },
    );
  });
}

/** Records ‖x‖∞ of matrices in `slot` and the largest row sum of Z. */
function recordNorms(
  program: Program,
  walk: Walk,
  slot: Slot,
  stride: number,
  scale: number,
): NonNullable<Approach["norms"]> {
  const { images, padded } = walk.job;
  const rowNorms = program.scratch("row norms", images * padded);
  const place = program.scratch("norms", 1 + walk.parts.length);
  program.kernel(
    kernels.rowNorms,
    images * padded,
    [images * padded, padded, stride].map(u32),
    [slot, rowNorms],
  );
  program.kernel(kernels.largest, 1, [images * padded, 0].map(u32), [rowNorms, place]);
  walk.parts.forEach(({ rows, rowSums }, i) => {
    program.kernel(kernels.largest, 1, [images * rows, i + 1].map(u32), [rowSums, place]);
  });
  return {
    place,
    read: (values) => ({ system: values[0]! * scale, affinity: Math.max(...values.subarray(1)) }),
  };
}

/**
 * Records Gauss-Jordan elimination of [H | b] in place, so that H⁻¹b ends up right of H. Blocked,
 * and without pivoting: H is diagonally dominant by rows or, transposed, by columns.
 */
function recordElimination(program: Program, job: Job, system: Slot): void {
  const { images, padded, width } = job;
  const inverse = program.scratch("inverse of a block", images * blockRows ** 2);
  const left = program.scratch("columns of a block", images * padded * blockRows);
  const factors = program.scratch("factors of a block", images * padded * blockRows);
  const right = program.scratch("rows of a block", images * blockRows * width);
  const panelLayout = { rowStride: blockRows, batchStride: padded * blockRows };
  for (let begin = 0; begin < padded; begin += blockRows) {
    const first = Math.min(begin + blockRows, padded);
    const rest = width - first;
    const size = first - begin;
    const params = [padded, width, images, begin].map(u32);
    program.kernel(kernels.invertBlock, images, params, [system, inverse]);
    program.kernel(kernels.panel, images * (padded + size), params, [system, left, right]);
    program.gemm(
      {
        batches: images,
        m: padded,
        n: size,
        k: size,
        a: panelLayout,
        b: { rowStride: blockRows, batchStride: blockRows ** 2 },
        c: panelLayout,
      },
      left,
      inverse,
      factors,
    );
    program.gemm(
      {
        batches: images,
        m: padded,
        n: rest,
        k: size,
        a: panelLayout,
        b: { offset: first, rowStride: width, batchStride: blockRows * width },
        c: { offset: first, rowStride: width, batchStride: padded * width },
      },
      factors,
      right,
      system,
      { alpha: -1, beta: 1 },
    );
  }
}

/** The right-hand side's place in an augmented system. */
function rightOf(job: Job, system: Slot): ScratchRows {
  const { padded, width } = job;
  return {
    place: system,
    layout: { offset: padded, rowStride: width, batchStride: padded * width },
  };
}

function filled(job: Job): { from: number; to: number } {
  return { from: job.padded, to: job.padded };
}

/** Records `left · rightᵀ` of rows, times α: images×padded×padded. */
function recordOuter(
  program: Program,
  job: Job,
  left: ScratchRows,
  right: ScratchRows,
  to: Slot,
  alpha: number,
  beta = 0,
): void {
  program.gemm(
    {
      batches: job.images,
      m: job.padded,
      n: job.padded,
      k: job.channels,
      a: left.layout,
      b: transposed(right.layout),
      c: squareLayout(job, job.padded),
    },
    left.place,
    right.place,
    to,
    { alpha, beta },
  );
}

/** The adjoint of the limit, from v = H⁻ᵀ(gradient by F_Q∞). */
function limitAdjoint(
  program: Program,
  walk: Walk,
  query: ScratchRows,
  v: ScratchRows,
): LimitAdjoint {
  const { job, options: { omega } } = walk;
  const byMean = scratchRows(program, job, "gradient by the mean", job.padded);
  const byQuery = scratchRows(program, job, "gradient by queries", job.padded);
  const byG = program.scratch("gradient by PZ", job.images * job.padded ** 2);
  recordBlend(program, job, v, byMean, filled(job), { alpha: 1 - omega });
  recordBlend(program, job, v, byQuery, filled(job), { alpha: 1 - omega });
  recordOuter(program, job, v, query, byG, omega ** 2);
  return { byMean, byQuery, byG };
}

/**
 * Records `(I − ω²PZ) F_Q∞ = (1−ω)(F_Q + ωPF_C)` and its solution by elimination.
 *
 * @param adjoint Whether `recordAdjoint` will be called.
 */
export function approachClosed(program: Program, walk: Walk, adjoint: boolean): Approach {
  const { job, options: { omega, affinity } } = walk;
  const { images, padded, width } = job;
  const system = program.scratch("the system of the queries", images * padded * width);
  const right = rightOf(job, system);
  const queryRows = {
    place: walk.query,
    layout: { offset: 0, rowStride: job.channels, batchStride: padded * job.channels },
  };
  recordBlend(program, job, queryRows, right, filled(job));
  recordMean(program, walk, right, (1 - omega) * omega, 1 - omega);
  recordG(program, walk, system, width, -(omega ** 2));
  const raw = affinity === "raw";
  const norms = raw ? recordNorms(program, walk, system, width, omega ** -2) : null;
  return {
    norms,
    finish() {
      program.kernel(
        kernels.assemble,
        images * padded,
        [...[padded, width, images, raw ? 1 : 0].map(u32), f32((1 - omega) * (1 + omega))],
        [system],
      );
      const other = adjoint
        ? program.scratch("the transposed system", images * padded * width)
        : null;
      if (other !== null) {
        program.kernel(
          kernels.transpose,
          Math.ceil(images * padded ** 2 / 64),
          [padded, width, images].map(u32),
          [system, other],
        );
      }
      recordElimination(program, job, system);
      return {
        query: right,
        method: "closed",
        errorBound: 0,
        recordAdjoint(byFusedQuery) {
          const v = rightOf(job, other!);
          recordBlend(program, job, byFusedQuery, v, filled(job));
          recordElimination(program, job, other!);
          return limitAdjoint(program, walk, right, v);
        },
      };
    },
  };
}

/** Records `from` times G^(2ʲ), times ω^(2·2ʲ), plus `from`. */
function recordDoubling(
  program: Program,
  walk: Walk,
  power: Slot,
  j: number,
  from: ScratchRows,
  transpose: boolean,
): ScratchRows {
  const { job, options: { omega } } = walk;
  const to = scratchRows(program, job, "partial series", job.padded);
  const square = squareLayout(job, job.padded);
  recordBlend(program, job, from, to, filled(job));
  program.gemm(
    {
      batches: job.images,
      m: job.padded,
      n: job.channels,
      k: job.padded,
      a: transpose ? transposed(square) : square,
      b: from.layout,
      c: to.layout,
    },
    power,
    from.place,
    to.place,
    { alpha: omega ** (2 * 2 ** j), beta: 1 },
  );
  return to;
}

/**
 * Records the Neumann series of the same system, `Y ← Y + ω^(2·2ʲ) G^(2ʲ) Y`, until what it leaves
 * out is within the tolerance.
 */
export function approachSeries(program: Program, walk: Walk): Approach {
  const { job, options: { omega, affinity, tolerance } } = walk;
  const { images, padded } = job;
  const g = program.scratch("PZ", images * padded ** 2);
  const start = scratchRows(program, job, "right-hand side", padded);
  const queryRows = { place: walk.query, layout: start.layout };
  recordBlend(program, job, queryRows, start, filled(job));
  recordMean(program, walk, start, (1 - omega) * omega, 1 - omega);
  recordG(program, walk, g, padded, 1);
  const raw = affinity === "raw";
  return {
    norms: raw ? recordNorms(program, walk, g, padded, 1) : null,
    finish(norms) {
      const doublings = Math.ceil(Math.log2(seriesTerms(omega, tolerance, norms)));
      const powers: Slot[] = [];
      let query = start;
      for (let j = 0; j < doublings; j++) {
        const power = j === 0 ? g : program.scratch("power of PZ", images * padded ** 2);
        if (j > 0) {
          const square = squareLayout(job, padded);
          const spec = { m: padded, n: padded, k: padded, a: square, b: square, c: square };
          program.gemm({ batches: images, ...spec }, powers[j - 1]!, powers[j - 1]!, power);
        }
        if (!raw) {
          const rows = images * padded;
          program.kernel(kernels.rescale, rows, [rows, padded].map(u32), [power]);
        }
        powers.push(power);
        query = recordDoubling(program, walk, power, j, query, false);
      }
      return {
        query,
        method: "series",
        errorBound: seriesBound(omega, 2 ** doublings, norms),
        recordAdjoint(byFusedQuery) {
          let v = byFusedQuery;
          powers.forEach((power, j) => v = recordDoubling(program, walk, power, j, v, true));
          return limitAdjoint(program, walk, query, v);
        },
      };
    },
  };
}

/**
 * Records a finite walk in the space of the queries: with B = (1−ω)(F_Q + ωPF_C),
 *
 *     F_Q(1) = ωPF_C + (1−ω)F_Q,  F_Q(t+1) = ω²PZ F_Q(t) + B.
 */
export function approachSteps(program: Program, walk: Walk): Approach {
  const { job, options: { omega, affinity } } = walk;
  const { images, padded, channels } = job;
  const steps = walk.options.steps!;
  const square = squareLayout(job, padded);
  const g = program.scratch("PZ", images * padded ** 2);
  const mean = scratchRows(program, job, "mean of F_C", padded);
  const queryRows = { place: walk.query, layout: mean.layout };
  recordMean(program, walk, mean, omega, 0);
  recordG(program, walk, g, padded, 1);
  return {
    norms: affinity === "raw" ? recordNorms(program, walk, g, padded, 1) : null,
    finish(norms) {
      const fresh = () => scratchRows(program, job, "queries of a step", padded);
      const history = [fresh()];
      recordBlend(program, job, queryRows, history[0]!, filled(job), { alpha: 1 - omega });
      recordBlend(program, job, mean, history[0]!, filled(job), { beta: 1 });
      const step = (from: ScratchRows, to: ScratchRows, a: MatrixLayout) =>
        program.gemm(
          {
            batches: images,
            m: padded,
            n: channels,
            k: padded,
            a,
            b: from.layout,
            c: to.layout,
          },
          g,
          from.place,
          to.place,
          { alpha: omega ** 2, beta: 0 },
        );
      for (let t = 1; t < steps; t++) {
        const next = fresh();
        step(history[t - 1]!, next, square);
        recordBlend(program, job, queryRows, next, filled(job), { alpha: 1 - omega, beta: 1 });
        recordBlend(program, job, mean, next, filled(job), { alpha: 1 - omega, beta: 1 });
        history.push(next);
      }
      return {
        query: history.at(-1)!,
        method: "steps",
        errorBound: stepsBound(omega, steps, norms),
        recordAdjoint(byFusedQuery) {
          const byG = program.scratch("gradient by PZ", images * padded ** 2);
          const byMean = scratchRows(program, job, "gradient by the mean", padded);
          const byQuery = scratchRows(program, job, "gradient by queries", padded);
          if (steps === 1) {
            const nothing = { alpha: 0 };
            recordOuter(program, job, byFusedQuery, byFusedQuery, byG, 0);
            recordBlend(program, job, byFusedQuery, byMean, filled(job), nothing);
            recordBlend(program, job, byFusedQuery, byQuery, filled(job), nothing);
          }
          let now = byFusedQuery;
          for (let t = steps - 1; t >= 1; t--) {
            const beta = t === steps - 1 ? 0 : 1;
            recordOuter(program, job, now, history[t - 1]!, byG, omega ** 2, beta);
            // B's part: (1−ω) of it reaches both.
            recordBlend(program, job, now, byMean, filled(job), { alpha: 1 - omega, beta });
            recordBlend(program, job, now, byQuery, filled(job), { alpha: 1 - omega, beta });
            const before = fresh();
            step(now, before, transposed(square));
            now = before;
          }
          recordBlend(program, job, now, byMean, filled(job), { beta: 1 });
          recordBlend(program, job, now, byQuery, filled(job), { alpha: 1 - omega, beta: 1 });
          return { byMean, byQuery, byG };
        },
      };
    },
  };
}
