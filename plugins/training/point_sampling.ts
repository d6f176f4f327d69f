/**
 * Mask losses at sampled points in place of every cell (Kirillov et al., "PointRend", 2020, as
 * Mask2Former, section 3.3, uses it).
 *
 * @module
 */
import { ops, type Value } from "../../lib/graph/mod.ts";
import type { Rng } from "../../lib/rng.ts";
import { float32, type HostTensor } from "../../lib/tensor.ts";
import type { PointsConfig } from "./train_config.ts";

/** How many candidates, uncertain ones and random ones there are to a mask. */
export function pointCounts({ count, oversample, importance }: PointsConfig): {
  candidates: number;
  uncertain: number;
  random: number;
} {
  const uncertain = Math.floor(importance * count);
  return {
    candidates: uncertain === 0 ? 0 : Math.max(uncertain, Math.floor(oversample * count)),
    uncertain,
    random: count - uncertain,
  };
}

/** Uniform points in [−1, 1]², as `gridSample` takes them. */
export function uniformPoints(rng: Rng, maps: number, points: number): HostTensor<"float32"> {
  const data = Float32Array.from({ length: maps * points * 2 }, () => rng.uniform(-1, 1));
  return float32([maps, points, 1, 2], data);
}

/**
 * Values of maps at points, bilinearly; what lies beside a map is 0. For maps that take no gradient.
 *
 * @param maps M×K×h×w.
 * @param points M×S×1×2, in [−1, 1], x first.
 * @returns M×K×S.
 */
export function sampleAt(maps: Value, points: Value): Value {
  return ops.squeeze(ops.gridSample(maps, points), [3]);
}

/**
 * The same for maps of one channel that take a gradient, element by element.
 *
 * @param maps M×h×w.
 * @param points M×S×1×2, in [−1, 1], x first; they take none.
 * @returns M×S.
 */
export function sampleDifferentiably(maps: Value, points: Value): Value {
  const [count, height, width] = maps.staticShape() as [number, number, number];
  const samples = points.shape[1] as number;
  const flat = ops.reshape(maps, [count, height * width]);
  const axis = (at: number, size: number) => {
    const place = ops.reshape(ops.slice(points, 3, at, at + 1), [count, samples]);
    const position = ops.sub(ops.mul(ops.add(place, 1), size / 2), 0.5);
    const first = ops.floor(position);
    const share = ops.sub(position, first);
    return [0, 1].map((step) => {
      const index = ops.add(first, step);
      const nearest = ops.clip(index, 0, size - 1);
      const inside = ops.cast(ops.equal(index, nearest), "float32");
      return { nearest, weight: ops.mul(step === 0 ? ops.sub(1, share) : share, inside) };
    });
  };
  const [columns, rows] = [axis(0, width), axis(1, height)];
  const corners = rows.flatMap((row) =>
    columns.map((column) => {
      const place = ops.cast(ops.add(ops.mul(row.nearest, width), column.nearest), "int64");
      const weight = ops.mul(row.weight, column.weight);
      return ops.mul(ops.gatherElements(flat, place, 1), ops.stopGradient(weight));
    })
  );
  return corners.reduce((sum, corner) => ops.add(sum, corner));
}

/**
 * Chooses the points of a loss: of the candidates those whose logit is nearest to 0, and some that
 * are drawn without looking. Gradients don't pass.
 *
 * @param logits M×1×h×w mask logits.
 * @param candidates M×S×1×2 uniform points; null where none is chosen of them.
 * @param random M×R×1×2 more of them; null where importance is 1.
 * @param uncertain How many candidates are chosen.
 * @returns M×(uncertain + R)×1×2.
 */
export function choosePoints(
  logits: Value,
  candidates: Value | null,
  random: Value | null,
  uncertain: number,
): Value {
  if (candidates === null) return random!;
  const [maps, count] = candidates.shape as [number, number];
  const values = ops.reshape(sampleAt(ops.stopGradient(logits), candidates), [maps, count]);
  const { indices } = ops.topK(ops.neg(ops.abs(values)), uncertain, 1);
  const both = ops.expand(ops.unsqueeze(indices, [2]), [maps, uncertain, 2]);
  const chosen = ops.gatherElements(ops.reshape(candidates, [maps, count, 2]), both, 1);
  const points = ops.reshape(chosen, [maps, uncertain, 1, 2]);
  return random === null ? points : ops.concat([points, random], 1);
}
