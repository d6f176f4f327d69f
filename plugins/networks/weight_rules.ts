/**
 * What the rules of published weights have in common.
 *
 * @module
 */
import type { WeightRule } from "../../lib/weights/mod.ts";

/** Normalisations call their factors `scale` here. */
export const normScales: WeightRule = {
  match: /((?:^|\.)(?:norm|\w+Norm))\.weight$/,
  to: "$1.scale",
};

/** PyTorch keeps the matrix of a linear layer as outputs×inputs, this project as inputs×outputs. */
export function transposed(...layers: readonly string[]): WeightRule {
  return {
    match: new RegExp(`(^|\\.)(${layers.join("|")})\\.weight$`),
    transpose: [1, 0],
  };
}
