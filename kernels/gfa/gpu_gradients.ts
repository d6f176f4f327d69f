/**
 * The vector-Jacobian product of GFA on WebGPU.
 *
 * @module
 */
import { u32 } from "../dispatch/command_list.ts";
import { transposed } from "../dispatch/gemm.ts";
import type { Program } from "../dispatch/program.ts";
import { kernels } from "./gpu_kernels.ts";
import type { Limit } from "./gpu_limit.ts";
import {
  affinityLayout,
  type DeviceRows,
  type PlacedRows,
  recordBlend,
  recordColumnDots,
  rowsOf,
  scratchRows,
  type Walk,
} from "./gpu_walk.ts";

/** Tensors by both sides. */
export interface BothSides {
  /** [B×]N_C×D */
  readonly clip: DeviceRows;
  /** [B×]N_Q×D */
  readonly query: DeviceRows;
}

/**
 * Records the gradients by F_C and F_Q from those by both outputs. With y = F_Q at the end, ĝ the
 * whole gradient by y, m that by ωPF_C and E that by G = PZ:
 *
 *     ĝ = g_Q + ωZᵀg_C
 *     by Pᵀ = ωF_C mᵀ + Z Eᵀ,  by Z = ωg_C yᵀ + Pᵀ E
 *     by F_C = (1−ω)g_C + ωPᵀm + λ(by S)F_Q,  by F_Q = … + λ(by S)ᵀF_C
 *
 * where S = F_C F_Qᵀ, and all rows are unit rows until the last step.
 *
 * @param program Where to.
 * @param walk The walk.
 * @param limit Its end, made ready for the adjoint.
 * @param cotangent Gradients by the outputs.
 * @param results Where the gradients go.
 */
export function recordGradients(
  program: Program,
  walk: Walk,
  limit: Limit,
  cotangent: BothSides,
  results: BothSides,
): void {
  const { job, options: { omega, lambda, affinity } } = walk;
  const { images, queries, channels, padded } = job;
  const all = { first: 0, rows: queries };
  const queryRows: PlacedRows = {
    place: walk.query,
    layout: { offset: 0, rowStride: channels, batchStride: padded * channels },
  };

  const byFusedQuery = scratchRows(program, job, "gradient by F_Q", padded);
  recordBlend(program, job, rowsOf(job, cotangent.query, all), byFusedQuery, {
    from: queries,
    to: padded,
  });
  for (const part of walk.parts) {
    const byFusedClip = rowsOf(job, cotangent.clip, part);
    program.gemm(
      {
        batches: images,
        m: padded,
        n: channels,
        k: part.rows,
        a: transposed(affinityLayout(job, part.rows)),
        b: byFusedClip.layout,
        c: byFusedQuery.layout,
      },
      part.z,
      byFusedClip.place,
      byFusedQuery.place,
      { alpha: omega, beta: 1 },
    );
  }
  const { byMean, byQuery, byG } = limit.recordAdjoint(byFusedQuery);
  const square = { rowStride: padded, batchStride: padded ** 2 };

  const weights = walk.parts.map((part) => {
    const { rows, clip, z, pt } = part;
    const layout = affinityLayout(job, rows);
    const byFusedClip = rowsOf(job, cotangent.clip, part);
    const byPt = program.scratch("gradient by P", images * rows * padded);
    const byZ = program.scratch("gradient by Z", images * rows * padded);
    const rowsByQueries = { batches: images, m: rows, n: padded, c: layout };
    program.gemm(
      { ...rowsByQueries, k: channels, a: clip.layout, b: transposed(byMean.layout) },
      clip.place,
      byMean.place,
      byPt,
      { alpha: omega },
    );
    program.gemm(
      { ...rowsByQueries, k: padded, a: layout, b: transposed(square) },
      z,
      byG,
      byPt,
      { beta: 1 },
    );
    program.gemm(
      {
        ...rowsByQueries,
        k: channels,
        a: byFusedClip.layout,
        b: transposed(limit.query.layout),
      },
      byFusedClip.place,
      limit.query.place,
      byZ,
      { alpha: omega },
    );
    program.gemm({ ...rowsByQueries, k: padded, a: layout, b: square }, pt, byG, byZ, { beta: 1 });
    return { byPt, byZ };
  });

  const dots = recordColumnDots(
    program,
    walk,
    walk.parts.map(({ pt }, i) => ({ a: pt, b: weights[i]!.byPt })),
  );
  walk.parts.forEach((part, i) => {
    const { rows, clip, norms, z, pt } = part;
    const { byPt, byZ: bySimilarity } = weights[i]!;
    const layout = affinityLayout(job, rows);
    program.kernel(
      kernels.throughAffinity,
      images * rows,
      [rows, queries, padded, images, affinity === "raw" ? 1 : 0].map(u32),
      [z, pt, byPt, bySimilarity, dots, walk.columnSums],
    );
    const result = rowsOf(job, results.clip, part);
    const byFusedClip = rowsOf(job, cotangent.clip, part);
    recordBlend(program, job, byFusedClip, result, { from: rows, to: rows }, { alpha: 1 - omega });
    const rowsByChannels = { batches: images, m: rows, n: channels, k: padded, c: result.layout };
    program.gemm(
      { ...rowsByChannels, a: layout, b: byMean.layout },
      pt,
      byMean.place,
      result.place,
      { alpha: omega, beta: 1 },
    );
    program.gemm(
      { ...rowsByChannels, a: layout, b: queryRows.layout },
      bySimilarity,
      queryRows.place,
      result.place,
      { alpha: lambda, beta: 1 },
    );
    program.kernel(
      kernels.throughNormalization,
      images * rows,
      [rows, channels, images, rows, result.layout.offset, result.layout.batchStride].map(u32),
      [clip.place, norms, result.place],
    );
    program.gemm(
      {
        batches: images,
        m: padded,
        n: channels,
        k: rows,
        a: transposed(layout),
        b: clip.layout,
        c: byQuery.layout,
      },
      bySimilarity,
      clip.place,
      byQuery.place,
      { alpha: lambda, beta: 1 },
    );
  });
  program.kernel(
    kernels.throughNormalization,
    images * padded,
    [padded, channels, images, padded, 0, padded * channels].map(u32),
    [walk.query, walk.queryNorms, byQuery.place],
  );
  recordBlend(program, job, byQuery, rowsOf(job, results.query, all), {
    from: queries,
    to: queries,
  });
}
