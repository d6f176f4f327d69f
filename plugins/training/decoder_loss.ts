/**
 * The decoder's loss as graphs: Mask2Former's set loss (Cheng et al., 2022), Proxy Calibration
 * (OVSNet, section 3.3), and the class loss of fused embeddings.
 *
 * @module
 */
import { ops, type ParameterScope, type Value } from "../../lib/graph/mod.ts";
import { attentionFuser } from "../networks/attention_fuser.ts";
import type { ImageEncoderOutputs } from "../networks/image_encoder.ts";
import {
  maskDecoder,
  type MaskDecoderConfig,
  type MaskPrediction,
} from "../networks/mask_decoder.ts";
import { choosePoints, pointCounts, sampleAt, sampleDifferentiably } from "./point_sampling.ts";
import { cellSize } from "./segment_batches.ts";
import type { OvsnetConfig } from "./train_config.ts";

/** Channels of what the image tower gives. */
export interface TowerSizes {
  /** D. */
  readonly jointSize: number;
  /** Channels of the pyramid's level at stride 4. */
  readonly channels4: number;
  /** Channels of the pyramid's level at stride 8. */
  readonly channels8: number;
}

/** Sizes of a step's graphs. */
export interface LossSizes extends TowerSizes {
  /** Images that are computed at once. */
  readonly images: number;
  /** C. */
  readonly numClasses: number;
  /** Whether some cells count only in part. */
  readonly hasIgnored: boolean;
}

/** Cells along an image's side: of the masks, and of the features. */
export const maskSide = ({ data }: OvsnetConfig): number => data.size / cellSize;
/** See {@linkcode maskSide}. */
export const featureSide = ({ data }: OvsnetConfig): number => data.size / 8;

/** The decoder's sizes. */
export function decoderConfig(config: OvsnetConfig, jointSize: number): MaskDecoderConfig {
  return { ...config.network, grid: featureSide(config), jointSize };
}

/** A learned fuser's config, or null. */
export function learnedFuser({ fuser }: OvsnetConfig) {
  return fuser === undefined || fuser.kind === "gfa" ? null : fuser;
}

/** The decoder with what its class logits take, before any loss. */
export interface DecoderOutputs {
  /** After each layer; the last one counts. */
  readonly predictions: readonly MaskPrediction[];
  /** Class logits of embeddings B×N×D: B×N×(C+1), void last. */
  logitsOf(embeddings: Value): Value;
  /** Asks a learned fuser for fused embeddings. */
  fuse(pooled: Value, empty: Value, query: Value): Value;
}

/**
 * Builds the decoder over the towers' outputs, the void embedding and the temperature.
 *
 * @param text C×D unit rows.
 */
export function decoderOutputs(
  scope: ParameterScope,
  towers: ImageEncoderOutputs,
  text: Value,
  config: OvsnetConfig,
): DecoderOutputs {
  const jointSize = text.shape[1] as number;
  const predictions = maskDecoder(scope, towers, decoderConfig(config, jointSize));
  return {
    predictions,
    logitsOf: classifier(scope, text),
    fuse: (pooled, empty, query) =>
      attentionFuser(scope.scope("fuser"), { pooled, empty, query }, learnedFuser(config)!),
  };
}

/**
 * The void embedding and the temperature.
 *
 * @param text C×D unit rows.
 * @returns From embeddings B×N×D to class logits B×N×(C+1), void last.
 */
export function classifier(scope: ParameterScope, text: Value): (embeddings: Value) => Value {
  const jointSize = text.shape[1] as number;
  const voidEmbedding = ops.l2Normalize(
    scope.parameter("voidEmbedding", [1, jointSize], { normal: 1 }),
  );
  const logScale = scope.parameter("logScale", [1], { constant: Math.log(20) });
  const scale = ops.exp(ops.min(logScale, Math.log(100)));
  const names = ops.transpose(ops.concat([text, voidEmbedding], 0), [1, 0]);
  return (embeddings) => ops.mul(ops.matMul(ops.l2Normalize(embeddings), names), scale);
}

/**
 * Cross-entropy of class logits, "no object" weighted down.
 *
 * @param logits B×N×(C+1).
 * @param matching Which query has which segment: one-hot, B×G×N.
 * @param truth Which segments there are, B×G, and their classes, B×G×C. Where a segment has none,
 * its query counts nowhere: it is an object, but none of these.
 * @param weights What the sum is divided by; this batch's sum of weights where null.
 */
export function classLoss(
  logits: Value,
  matching: Value,
  { segments, classes }: { readonly segments: Value; readonly classes: Value },
  weights: Value | null,
  noObject: number,
): Value {
  const byQuery = ops.transpose(matching, [0, 2, 1]);
  const matched = ops.matMul(byQuery, classes);
  const isNamed = ops.reduceSum(matched, [2], true);
  const isNothing = ops.sub(1, ops.matMul(byQuery, ops.unsqueeze(segments, [2])));
  const truth = ops.concat([matched, isNothing], 2);
  const weight = ops.add(isNamed, ops.mul(isNothing, noObject));
  const agreement = ops.mul(ops.mul(truth, ops.logSoftmax(logits, -1)), weight);
  return ops.neg(ops.div(ops.reduceSum(agreement), weights ?? ops.reduceSum(weight)));
}

/**
 * Hard mask pooling, without gradients to the masks: the mean of the features where the logit,
 * resized to their size, is above 0.
 *
 * @returns F_C, B×N×D, and B×N flags of masks without a cell.
 */
export function hardPooling(
  maskLogits: Value,
  features: Value,
): { pooled: Value; empty: Value } {
  const [height, width] = [ops.dimOf(features, 2), ops.dimOf(features, 3)];
  const batch = ops.dimOf(features, 0);
  const [masks, channels] = [maskLogits.shape[1] as number, features.shape[1] as number];
  const small = ops.resizeBilinear(ops.stopGradient(maskLogits), height, width);
  const inside = ops.cast(
    ops.greater(ops.reshape(small, [batch, masks, -1]), 0),
    "float32",
  );
  const pixels = ops.transpose(ops.reshape(features, [batch, channels, -1]), [0, 2, 1]);
  const area = ops.reduceSum(inside, [2], true);
  return {
    pooled: ops.div(ops.matMul(inside, pixels), ops.add(area, 1e-8)),
    empty: ops.cast(ops.less(ops.reduceSum(inside, [2]), 0.5), "float32"),
  };
}

/** A step's graph up to the predictions. */
export class DecoderLoss {
  readonly #config: OvsnetConfig;
  readonly #sizes: LossSizes;
  /** The decoder. */
  readonly outputs: DecoderOutputs;
  /** Class logits of each prediction's queries. */
  readonly classLogits: readonly Value[];
  /** B×D×h×w. */
  readonly features: Value;
  /** C×D. */
  readonly text: Value;
  /** B×G×P. */
  readonly masks: Value;
  /** B×G. */
  readonly segments: Value;
  /** B×G×C. */
  readonly classes: Value;
  /** B×1×P, or null. */
  readonly counts: Value | null;

  /** Declares the inputs and builds the decoder. */
  constructor(scope: ParameterScope, config: OvsnetConfig, sizes: LossSizes) {
    const { graph } = scope;
    const { images, numClasses, jointSize, channels4, channels8 } = sizes;
    const grid = featureSide(config);
    const cells = maskSide(config) ** 2;
    this.#config = config;
    this.#sizes = sizes;
    const towers: ImageEncoderOutputs = {
      features: graph.input("features", [images, jointSize, grid, grid]),
      pyramid4: graph.input("pyramid4", [images, channels4, 2 * grid, 2 * grid]),
      pyramid8: graph.input("pyramid8", [images, channels8, grid, grid]),
    };
    this.features = towers.features;
    this.text = graph.input("text", [numClasses, jointSize]);
    this.masks = graph.input("masks", [images, config.data.maxSegments, cells]);
    this.segments = graph.input("segments", [images, config.data.maxSegments]);
    this.classes = graph.input("classes", [images, config.data.maxSegments, numClasses]);
    this.counts = sizes.hasIgnored ? graph.input("counts", [images, 1, cells]) : null;
    this.outputs = decoderOutputs(scope, towers, this.text, config);
    this.classLogits = this.outputs.predictions.map(({ queryEmbeddings }) =>
      this.outputs.logitsOf(queryEmbeddings)
    );
  }

  /** The last prediction. */
  get last(): MaskPrediction {
    return this.outputs.predictions.at(-1)!;
  }

  #rows(prediction: MaskPrediction): Value {
    const { images } = this.#sizes;
    const { numQueries } = this.#config.network;
    return ops.reshape(prediction.maskLogits, [images, numQueries, maskSide(this.#config) ** 2]);
  }

  #maps(rows: Value): Value {
    const side = maskSide(this.#config);
    return ops.reshape(rows, [this.#sizes.images, rows.shape[1] as number, side, side]);
  }

  /** The matching cost of each query and segment, B×N×G: 2·class + 5·BCE + 5·dice. */
  matchingCost(i: number): Value {
    const { loss } = this.#config;
    const { images, numClasses } = this.#sizes;
    let [logits, masks, counts] = [
      this.#rows(this.outputs.predictions[i]!),
      this.masks,
      this.counts,
    ];
    if (loss.points !== undefined) {
      // One set of points for all pairs of an image.
      const { graph } = logits;
      const points = graph.inputs.find(({ name }) => name === "costPoints") ??
        graph.input("costPoints", [images, loss.points.count, 1, 2]);
      logits = sampleAt(this.outputs.predictions[i]!.maskLogits, points);
      masks = sampleAt(this.#maps(masks), points);
      counts = counts && sampleAt(this.#maps(counts), points);
    }
    const cells = logits.shape[2] as number;
    const counted = (perCell: Value) => counts === null ? perCell : ops.mul(perCell, counts);
    const probabilities = ops.slice(ops.softmax(this.classLogits[i]!, -1), 2, 0, numClasses);
    const classCost = ops.neg(ops.matMul(probabilities, ops.transpose(this.classes, [0, 2, 1])));
    const truth = ops.transpose(masks, [0, 2, 1]);
    const crossEntropy = ops.sub(
      ops.reduceMean(counted(ops.softplus(logits)), [2], true),
      ops.mul(ops.matMul(logits, truth), 1 / cells),
    );
    const inside = counted(ops.sigmoid(logits));
    const overlap = ops.add(ops.mul(ops.matMul(inside, truth), 2), 1);
    const areas = ops.add(
      ops.add(ops.reduceSum(inside, [2], true), ops.reduceSum(truth, [1], true)),
      1,
    );
    const dice = ops.sub(1, ops.div(overlap, areas));
    const maskCost = loss.mask === loss.dice
      ? ops.mul(ops.add(crossEntropy, dice), loss.mask)
      : ops.add(ops.mul(crossEntropy, loss.mask), ops.mul(dice, loss.dice));
    return ops.add(ops.mul(classCost, loss.class), maskCost);
  }

  /** Mask logits, truth and counts of the matched pairs: B×G×P, at cells or at points. */
  #matched(i: number, matching: Value): { logits: Value; masks: Value; counts: Value | null } {
    const { points } = this.#config.loss;
    const logits = ops.matMul(matching, this.#rows(this.outputs.predictions[i]!));
    if (points === undefined) return { logits, masks: this.masks, counts: this.counts };
    const { graph } = logits;
    const { images } = this.#sizes;
    const segments = this.#config.data.maxSegments;
    const pairs = images * segments;
    const side = maskSide(this.#config);
    const { candidates, uncertain, random } = pointCounts(points);
    const shared = (name: string, count: number) =>
      count === 0 ? null : graph.inputs.find((input) => input.name === name) ??
        graph.input(name, [pairs, count, 1, 2]);
    const single = (rows: Value) => ops.reshape(rows, [pairs, 1, side, side]);
    const chosen = choosePoints(
      single(logits),
      shared("candidates", candidates),
      shared("randomPoints", random),
      uncertain,
    );
    const shape = [images, segments, points.count];
    const at = (rows: Value) => ops.reshape(sampleAt(single(rows), chosen), shape);
    const maps = ops.reshape(logits, [pairs, side, side]);
    return {
      logits: ops.reshape(sampleDifferentiably(maps, chosen), shape),
      masks: at(this.masks),
      counts: this.counts && at(ops.expand(this.counts, [images, segments, side * side])),
    };
  }

  /** See {@linkcode classLoss}. */
  classLoss(logits: Value, matching: Value, weights: Value | null): Value {
    return classLoss(logits, matching, this, weights, this.#config.loss.noObject);
  }

  /**
   * The terms of the loss of one prediction.
   *
   * @param matching Which query has which segment: one-hot, B×G×N.
   * @param count Number of segments that the mask losses are the mean over.
   * @param weights Sum of the class loss's weights; of this batch where null.
   */
  predictionLoss(i: number, matching: Value, count: Value, weights: Value | null) {
    const { logits, masks, counts } = this.#matched(i, matching);
    const counted = (perCell: Value) => counts === null ? perCell : ops.mul(perCell, counts);
    const overSegments = (perSegment: Value) =>
      ops.div(ops.reduceSum(ops.mul(perSegment, this.segments)), count);
    const crossEntropy = overSegments(
      ops.reduceMean(
        ops.sub(counted(ops.softplus(logits)), ops.mul(logits, masks)),
        [2],
      ),
    );
    const inside = counted(ops.sigmoid(logits));
    const overlap = ops.add(ops.mul(ops.reduceSum(ops.mul(inside, masks), [2]), 2), 1);
    const areas = ops.add(ops.reduceSum(ops.add(inside, masks), [2]), 1);
    const dice = overSegments(ops.sub(1, ops.div(overlap, areas)));
    return {
      maskLoss: crossEntropy,
      diceLoss: dice,
      classLoss: this.classLoss(this.classLogits[i]!, matching, weights),
    };
  }

  /** Mask logits of the matched queries, B×G×side×side. */
  matchedMasks(matching: Value): Value {
    return this.#maps(ops.matMul(matching, this.#rows(this.last)));
  }

  /** Proxy Calibration of the queries: L_PQ. */
  proxyQuery(proxies: ProxyGraph, matching: Value): Value {
    return proxies.distance(ops.matMul(matching, this.last.queryEmbeddings));
  }

  /** Proxy Calibration of the pooled features, pooled softly in the graph: L_PC. */
  proxyClip(proxies: ProxyGraph, matching: Value): Value {
    const { images, jointSize } = this.#sizes;
    const grid = featureSide(this.#config);
    const { maxSegments } = this.#config.data;
    // The scale of the sum cancels in the cosine.
    const small = ops.resizeBilinear(this.matchedMasks(matching), grid, grid);
    const weights = ops.reshape(ops.sigmoid(small), [images, maxSegments, grid * grid]);
    const pixels = ops.transpose(
      ops.reshape(this.features, [images, jointSize, grid * grid]),
      [0, 2, 1],
    );
    return proxies.distance(ops.matMul(weights, pixels));
  }
}

/** Mixed pairs of matched queries: one partner and one α in all spaces. */
export class ProxyGraph {
  readonly #partner: Value;
  readonly #alpha: Value;
  readonly #valid: Value;
  readonly #count: Value;
  readonly #target: Value;
  readonly #slots: number;
  readonly #jointSize: number;

  /**
   * @param classes B×G×C.
   * @param text C×D.
   * @param count Number of segments with a class, which the losses are the mean over.
   */
  constructor(classes: Value, text: Value, count: Value) {
    const { graph } = classes;
    this.#slots = (classes.shape[0] as number) * (classes.shape[1] as number);
    this.#jointSize = text.shape[1] as number;
    this.#partner = graph.input("partner", [this.#slots], "int64");
    this.#alpha = graph.input("alpha", [this.#slots, 1]);
    this.#valid = ops.reshape(ops.reduceSum(classes, [2]), [this.#slots]);
    this.#count = count;
    this.#target = this.#mix(ops.matMul(classes, text));
  }

  #mix(value: Value): Value {
    const unit = ops.l2Normalize(ops.reshape(value, [this.#slots, this.#jointSize]));
    const others = ops.gather(unit, this.#partner);
    const mixed = ops.add(
      ops.mul(unit, this.#alpha),
      ops.mul(others, ops.sub(1, this.#alpha)),
    );
    return ops.l2Normalize(mixed);
  }

  /** The mean cosine distance of mixed embeddings, B×G×D, to the mixed text. */
  distance(embeddings: Value): Value {
    const cosine = ops.reduceSum(ops.mul(this.#mix(embeddings), this.#target), [1]);
    return ops.div(
      ops.reduceSum(ops.mul(ops.sub(1, cosine), this.#valid)),
      this.#count,
    );
  }
}
