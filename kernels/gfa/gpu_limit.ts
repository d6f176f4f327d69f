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

/** The layout of G, H and matrices like them. */
function squareLayout({ padded }: Job): MatrixLayout {
  return { rowStride: padded, batchStride: padded ** 2 };
}

/** Records `to ← α·G` with G = PZ, summed over the parts. */
function recordG(program: Program, walk: Walk, to: Slot, alpha: number): void {
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
        c: squareLayout(job),
      },
      pt,
      z,
      to,
      { alpha, beta: i === 0 ? 0 : 1 },
    );
  });
}

/** Records `to ← α·P F_C + β·plus`, summed over the parts; `plus` lies as `to` does. */
function recordMean(
  program: Program,
  walk: Walk,
  to: ScratchRows,
  { alpha, beta, plus }: { alpha: number; beta: number; plus: ScratchRows },
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
        ...(i === 0 ? { e: plus.layout } : {}),
      },
      pt,
      clip.place,
      to.place,
      i === 0 ? { alpha, beta, e: plus.place } : { alpha, beta: 1 },
    );
  });
}

/** Records ‖x‖∞ of matrices in `slot` and the largest row sum of Z. */
function recordNorms(
  program: Program,
  walk: Walk,
  slot: Slot,
  scale: number,
): NonNullable<Approach["norms"]> {
  const { images, padded } = walk.job;
  const rowNorms = program.scratch("row norms", images * padded);
  const place = program.scratch("norms", 1 + walk.parts.length);
  program.kernel(
    kernels.rowNorms,
    images * padded,
    [images * padded, padded].map(u32),
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
 * Records Gauss-Jordan inversion of matrices H in place: H⁻¹ − I is left in them. Blocked, and without
 * pivoting: H is diagonally dominant.
 */
function recordInversion(program: Program, job: Job, matrix: Slot): void {
  const { images, padded } = job;
  const inverse = program.scratch("inverse of a block", images * blockRows ** 2);
  const left = program.scratch("columns of a block", images * padded * blockRows);
  const factors = program.scratch("factors of a block", images * padded * blockRows);
  const right = program.scratch("rows of a block", images * blockRows * padded);
  const tall = { rowStride: blockRows, batchStride: padded * blockRows };
  const wide = { rowStride: padded, batchStride: padded * blockRows };
  for (let begin = 0; begin < padded; begin += blockRows) {
    const size = Math.min(blockRows, padded - begin);
    const params = [padded, images, begin].map(u32);
    program.kernel(kernels.invertBlock, images, params, [matrix, inverse]);
    program.kernel(kernels.panel, images * padded, params, [matrix, left, right]);
    program.gemm(
      {
        batches: images,
        m: padded,
        n: size,
        k: size,
        a: tall,
        b: { rowStride: blockRows, batchStride: blockRows ** 2 },
        c: tall,
      },
      left,
      inverse,
      factors,
    );
    program.gemm(
      {
        batches: images,
        m: padded,
        n: padded,
        k: size,
        a: tall,
        b: wide,
        c: squareLayout(job),
      },
      factors,
      right,
      matrix,
      { alpha: -1, beta: 1 },
    );
  }
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
      c: squareLayout(job),
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

/** Records `from + α·M·from` of rows, or with Mᵀ. */
function recordGrown(
  program: Program,
  job: Job,
  label: string,
  matrix: Slot,
  alpha: number,
  from: ScratchRows,
  transpose: boolean,
): ScratchRows {
  const to = scratchRows(program, job, label, job.padded);
  const square = squareLayout(job);
  program.gemm(
    {
      batches: job.images,
      m: job.padded,
      n: job.channels,
      k: job.padded,
      a: transpose ? transposed(square) : square,
      b: from.layout,
      c: to.layout,
      e: from.layout,
    },
    matrix,
    from.place,
    to.place,
    { alpha, beta: 1, e: from.place },
  );
  return to;
}

/** Records `(1−ω)(F_Q + ωPF_C)`. */
function recordRightHandSide(program: Program, walk: Walk): ScratchRows {
  const { job, options: { omega } } = walk;
  const to = scratchRows(program, job, "right-hand side", job.padded);
  const query = { place: walk.query, layout: to.layout };
  recordMean(program, walk, to, { alpha: (1 - omega) * omega, beta: 1 - omega, plus: query });
  return to;
}

/** Records `(I − ω²PZ) F_Q∞ = (1−ω)(F_Q + ωPF_C)` and its solution through the matrix's inverse. */
export function approachClosed(program: Program, walk: Walk): Approach {
  const { job, options: { omega, affinity } } = walk;
  const { images, padded } = job;
  const matrix = program.scratch("the system of the queries", images * padded ** 2);
  const start = recordRightHandSide(program, walk);
  recordG(program, walk, matrix, -(omega ** 2));
  const raw = affinity === "raw";
  return {
    norms: raw ? recordNorms(program, walk, matrix, omega ** -2) : null,
    finish() {
      program.kernel(
        kernels.assemble,
        images * padded,
        [...[padded, images, raw ? 1 : 0].map(u32), f32((1 - omega) * (1 + omega))],
        [matrix],
      );
      recordInversion(program, job, matrix);
      const query = recordGrown(program, job, "fused queries", matrix, 1, start, false);
      return {
        query,
        method: "closed",
        errorBound: 0,
        recordAdjoint(byFusedQuery) {
          const v = recordGrown(program, job, "adjoint", matrix, 1, byFusedQuery, true);
          return limitAdjoint(program, walk, query, v);
        },
      };
    },
  };
}

/**
 * Records the Neumann series of the same system, `Y ← Y + ω^(2·2ʲ) G^(2ʲ) Y`, until what it leaves
 * out is within the tolerance.
 */
export function approachSeries(program: Program, walk: Walk): Approach {
  const { job, options: { omega, affinity, tolerance } } = walk;
  const { images, padded } = job;
  const g = program.scratch("PZ", images * padded ** 2);
  const start = recordRightHandSide(program, walk);
  recordG(program, walk, g, 1);
  const raw = affinity === "raw";
  const recordPartialSum = (power: Slot, j: number, from: ScratchRows, transpose: boolean) =>
    recordGrown(program, job, "partial series", power, omega ** (2 * 2 ** j), from, transpose);
  return {
    norms: raw ? recordNorms(program, walk, g, 1) : null,
    finish(norms) {
      const doublings = Math.ceil(Math.log2(seriesTerms(omega, tolerance, norms)));
      const powers: Slot[] = [];
      let query = start;
      for (let j = 0; j < doublings; j++) {
        const power = j === 0 ? g : program.scratch("power of PZ", images * padded ** 2);
        if (j > 0) {
          const square = squareLayout(job);
          const spec = { m: padded, n: padded, k: padded, a: square, b: square, c: square };
          program.gemm({ batches: images, ...spec }, powers[j - 1]!, powers[j - 1]!, power);
        }
        if (!raw) {
          const rows = images * padded;
          program.kernel(kernels.rescale, rows, [rows, padded].map(u32), [power]);
        }
        powers.push(power);
        query = recordPartialSum(power, j, query, false);
      }
      return {
        query,
        method: "series",
        errorBound: seriesBound(omega, 2 ** doublings, norms),
        recordAdjoint(byFusedQuery) {
          let v = byFusedQuery;
          powers.forEach((power, j) => v = recordPartialSum(power, j, v, true));
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
  const square = squareLayout(job);
  const g = program.scratch("PZ", images * padded ** 2);
  const fresh = () => scratchRows(program, job, "queries of a step", padded);
  const first = fresh();
  const queryRows = { place: walk.query, layout: first.layout };
  recordMean(program, walk, first, { alpha: omega, beta: 1 - omega, plus: queryRows });
  recordG(program, walk, g, 1);
  return {
    norms: affinity === "raw" ? recordNorms(program, walk, g, 1) : null,
    finish(norms) {
      const history = [first];
      const step = (from: ScratchRows, to: ScratchRows, a: MatrixLayout, plus?: ScratchRows) =>
        program.gemm(
          {
            batches: images,
            m: padded,
            n: channels,
            k: padded,
            a,
            b: from.layout,
            c: to.layout,
            ...(plus ? { e: plus.layout } : {}),
          },
          g,
          from.place,
          to.place,
          { alpha: omega ** 2, ...(plus ? { beta: 1, e: plus.place } : {}) },
        );
      const constant = scratchRows(program, job, "right-hand side", padded);
      if (steps > 1) {
        recordBlend(program, job, first, constant, filled(job), { alpha: 1 - omega });
        const share = { alpha: (1 - omega) * omega, beta: 1 };
        recordBlend(program, job, queryRows, constant, filled(job), share);
      }
      for (let t = 1; t < steps; t++) {
        const next = fresh();
        step(history[t - 1]!, next, square, constant);
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
