/**
 * One step of the decoder's training: from a batch and the parameters to the loss and its gradient.
 *
 * @module
 */
import { gradients, Graph, ops, ParameterLayout, type Value } from "../../lib/graph/mod.ts";
import { assign } from "../../lib/matching/hungarian.ts";
import type { Rng } from "../../lib/rng.ts";
import type { Device, Session } from "../../lib/runtime.ts";
import { float32, HostTensor, type Tensor } from "../../lib/tensor.ts";
import { ortNodeEngine } from "../runtimes/ort_node.ts";
import {
  DecoderLoss,
  hardPooling,
  learnedFuser,
  type LossSizes,
  maskSide,
  ProxyGraph,
  type TowerSizes,
} from "./decoder_loss.ts";
import { embedNames } from "./embed_names.ts";
import { KernelLosses } from "./kernel_losses.ts";
import { pointCounts, uniformPoints } from "./point_sampling.ts";
import { drawProxies, type Proxies } from "./proxies.ts";
import { type SegmentBatch, sliceBatch } from "./segment_batches.ts";
import type { Towers } from "./towers.ts";
import type { OvsnetConfig } from "./train_config.ts";
import type { StepResult } from "./trainer.ts";

const numbers = async (tensor: Tensor | undefined) => await tensor!.read() as Float32Array;

/** The parameters that a config asks for. */
export function decoderLayout(config: OvsnetConfig, sizes: LossSizes): ParameterLayout {
  return ParameterLayout.of(new Graph("layout"), (scope) => {
    const { outputs, last } = new DecoderLoss(scope, config, sizes);
    if (learnedFuser(config) === null) return;
    const { images, jointSize } = sizes;
    const { numQueries } = config.network;
    const pooled = scope.graph.input("pooled", [images, numQueries, jointSize]);
    outputs.fuse(pooled, scope.graph.input("empty", [images, numQueries]), last.queryEmbeddings);
  });
}

/** The channels of an image tower's outputs, found by running it once. */
export async function towerSizes(session: Session, size: number): Promise<TowerSizes> {
  const outputs = await session.run({ image: float32([1, 3, size, size]) });
  const channels = (name: string) => outputs[name]!.shape[1]!;
  return {
    jointSize: channels("features"),
    channels4: channels("pyramid4"),
    channels8: channels("pyramid8"),
  };
}

/** Which query has which segment. */
interface Matching {
  /** For each of the B·G slots its query, −1 where there is none. */
  readonly queryOfSlot: Int32Array;
  /** B×G×N one-hot. */
  readonly tensor: HostTensor<"float32">;
}

/** The sessions of a training step, and what they share. */
export class DecoderStep {
  /** The parameters. */
  readonly layout: ParameterLayout;
  readonly #config: OvsnetConfig;
  readonly #sizes: LossSizes;
  readonly #text: HostTensor<"float32">;
  readonly #encoder: Session;
  readonly #costs: Session;
  readonly #step: Session;
  readonly #terms: readonly string[];
  readonly #kernels: KernelLosses | null;

  private constructor(parts: {
    layout: ParameterLayout;
    config: OvsnetConfig;
    sizes: LossSizes;
    text: HostTensor<"float32">;
    encoder: Session;
    costs: Session;
    step: Session;
    terms: readonly string[];
    kernels: KernelLosses | null;
  }) {
    this.layout = parts.layout;
    this.#config = parts.config;
    this.#sizes = parts.sizes;
    this.#text = parts.text;
    this.#encoder = parts.encoder;
    this.#costs = parts.costs;
    this.#step = parts.step;
    this.#terms = parts.terms;
    this.#kernels = parts.kernels;
  }

  /**
   * Builds and loads the graphs of a step.
   *
   * @param data The classes' names, and whether some pixels count nowhere.
   * @param device Where the kernels run; a CPU device leaves mask pooling to the step's graph.
   */
  static async open(
    config: OvsnetConfig,
    towers: Towers,
    data: { readonly names: readonly string[]; readonly hasIgnored: boolean },
    device: Device,
  ): Promise<DecoderStep> {
    const engine = await ortNodeEngine({ threads: config.threads });
    const text = await embedNames(towers, data.names, engine);
    const encoder = await engine.load(towers.imageEncoder);
    const sizes: LossSizes = {
      ...await towerSizes(encoder, config.data.size),
      images: config.batch / config.microBatches,
      numClasses: data.names.length,
      hasIgnored: data.hasIgnored,
    };
    const layout = decoderLayout(config, sizes);
    const pools = device.gpu !== null;
    const usesKernels = pools && (config.loss.proxyClip > 0 || config.fuser !== undefined) ||
      config.fuser?.kind === "gfa";
    const kernels = usesKernels
      ? await KernelLosses.open(device, config, sizes, layout, pools)
      : null;
    const step = stepGraph(config, sizes, layout, pools);
    return new DecoderStep({
      layout,
      config,
      sizes,
      text,
      encoder,
      costs: await engine.load(costGraph(config, sizes, layout, kernels !== null)),
      step: await engine.load(step.model),
      terms: step.terms,
      kernels,
    });
  }

  /** Slots of a batch that hold a segment, and those whose segment has a class. */
  #used({ segments, classes }: SegmentBatch): { all: number[]; named: number[] } {
    const { numClasses } = this.#sizes;
    const all = [...segments.keys()].filter((slot) => segments[slot] === 1);
    const named = all.filter((slot) =>
      classes.subarray(slot * numClasses, (slot + 1) * numClasses).includes(1)
    );
    return { all, named };
  }

  /** The cheapest assignment of segments to queries; costs are B×N×G. */
  #match(cost: Float32Array, used: readonly number[]): Matching {
    const { images } = this.#sizes;
    const { data: { maxSegments }, network: { numQueries } } = this.#config;
    const queryOfSlot = new Int32Array(images * maxSegments).fill(-1);
    const tensor = float32([images, maxSegments, numQueries]);
    for (let b = 0; b < images; b++) {
      const mine = used.filter((slot) => Math.floor(slot / maxSegments) === b);
      const part = new Float32Array(mine.length * numQueries);
      mine.forEach((slot, row) => {
        for (let n = 0; n < numQueries; n++) {
          part[row * numQueries + n] = cost[
            (b * numQueries + n) * maxSegments + slot % maxSegments
          ]!;
        }
      });
      assign(part, mine.length, numQueries).forEach((n, row) => {
        queryOfSlot[mine[row]!] = n;
        tensor.data[mine[row]! * numQueries + n] = 1;
      });
    }
    return { queryOfSlot, tensor };
  }

  /**
   * The gradient of a whole batch's loss, in as many pieces as the config says. The pieces share
   * one count of segments, so that only the partners of Proxy Calibration depend on their number.
   *
   * @param params Flat parameters.
   * @param batch As many images as the config's batch.
   * @param rng Draws partners, α and points.
   */
  async gradient(params: Float32Array, batch: SegmentBatch, rng: Rng): Promise<StepResult> {
    const { microBatches, batch: images, network, loss } = this.#config;
    const each = this.#sizes.images;
    // Each piece's share of what the losses are the mean over: their mean is the whole batch's.
    const { all, named } = this.#used(batch);
    const nothing = images * network.numQueries - all.length;
    const shares: Shares = {
      count: Math.max(1, all.length) / microBatches,
      named: Math.max(1, named.length) / microBatches,
      weights: (named.length + loss.noObject * nothing) / microBatches,
    };
    if (microBatches === 1) return await this.#piece(params, batch, rng, shares);
    const grads = new Float32Array(this.layout.size);
    const metrics: Record<string, number> = {};
    for (let m = 0; m < microBatches; m++) {
      const piece = await this.#piece(
        params,
        sliceBatch(batch, images, m * each, each),
        rng,
        shares,
      );
      for (let i = 0; i < grads.length; i++) grads[i]! += piece.grads[i]! / microBatches;
      for (const [name, value] of Object.entries(piece.metrics)) {
        metrics[name] = (metrics[name] ?? 0) + value / microBatches;
      }
    }
    return { grads, metrics };
  }

  async #piece(
    params: Float32Array,
    batch: SegmentBatch,
    rng: Rng,
    shares: Shares,
  ): Promise<StepResult> {
    const { images, numClasses, hasIgnored } = this.#sizes;
    const { data: { size, maxSegments }, loss, microBatches } = this.#config;
    const cells = maskSide(this.#config) ** 2;
    const slots = images * maxSegments;
    const used = this.#used(batch);
    const encoded = await this.#encoder.run({
      image: float32([images, 3, size, size], batch.images),
    });
    const proxies = loss.proxyQuery > 0 || loss.proxyClip > 0
      ? drawProxies(rng, used.named, slots, loss.gamma)
      : null;
    const inputs: Record<string, Tensor> = {
      ...encoded,
      parameters: float32([this.layout.size], params),
      text: this.#text,
      masks: float32([images, maxSegments, cells], batch.masks),
      segments: float32([images, maxSegments], batch.segments),
      classes: float32([images, maxSegments, numClasses], batch.classes),
      ...(hasIgnored ? { counts: float32([images, 1, cells], batch.counts!) } : {}),
    };
    const points = loss.points && {
      costPoints: uniformPoints(rng, images, loss.points.count),
      ...lossPoints(rng, slots, pointCounts(loss.points)),
    };
    const { maskLogits, queryEmbeddings, ...costs } = await this.#costs.run({
      ...inputs,
      ...(points ? { costPoints: points.costPoints } : {}),
    });
    const layers = Object.keys(costs).length;
    const matchings: Matching[] = [];
    for (let i = 0; i < layers; i++) {
      const cost = await numbers(costs[`cost${i}`]);
      // Nothing can be matched by such costs: the run shall end as by a loss that is no number.
      if (!cost.every(Number.isFinite)) {
        return { grads: new Float32Array(this.layout.size), metrics: { loss: NaN } };
      }
      matchings.push(this.#match(cost, used.all));
    }
    const last = matchings.at(-1)!;
    const kernels = await this.#kernels?.run({
      parameters: inputs["parameters"]!,
      text: this.#text,
      segments: inputs["segments"]!,
      classes: inputs["classes"]!,
      features: encoded["features"]!,
      maskLogits: maskLogits!,
      queryEmbeddings: queryEmbeddings!,
      queryOfSlot: last.queryOfSlot,
      matching: last.tensor,
      proxies,
      named: shares.named,
      weights: shares.weights,
    });
    const { costPoints: _, ...lossInputs } = points ?? { costPoints: null };
    const outputs = await this.#step.run({
      ...inputs,
      ...lossInputs,
      ...Object.fromEntries(matchings.map(({ tensor }, i) => [`matching${i}`, tensor])),
      ...(proxies === null ? {} : proxyInputs(proxies, this.#step)),
      ...(microBatches > 1 ? shareInputs(shares, this.#step) : {}),
      ...kernels?.inputs,
    });
    const metrics: Record<string, number> = {};
    for (const name of this.#terms) metrics[name] = (await numbers(outputs[name]))[0]!;
    for (const [name, value] of Object.entries(kernels?.terms ?? {})) {
      metrics[name] = value;
      metrics["loss"]! += loss.proxyClip * value;
    }
    return { grads: await numbers(outputs["gradient"]), metrics };
  }

  /** Frees the sessions; the device stays. */
  async dispose(): Promise<void> {
    for (const session of [this.#encoder, this.#costs, this.#step]) await session.dispose();
    await this.#kernels?.dispose();
  }
}

/** What the losses of a piece are the mean over, as shares of the whole batch's. */
interface Shares {
  /** Segments. */
  readonly count: number;
  /** Segments with a class. */
  readonly named: number;
  /** The class loss's weights. */
  readonly weights: number;
}

/** The step's graph has no `named` where Proxy Calibration is off, or all of it is the kernels'. */
function shareInputs(shares: Shares, step: Session): Record<string, Tensor> {
  const used = Object.entries(shares).filter(([name]) => step.inputNames.includes(name));
  return Object.fromEntries(
    used.map(([name, share]) => [name, float32([], Float32Array.of(share))]),
  );
}

function lossPoints(
  rng: Rng,
  slots: number,
  { candidates, uncertain, random }: ReturnType<typeof pointCounts>,
): Record<string, Tensor> {
  return {
    ...(uncertain > 0 ? { candidates: uniformPoints(rng, slots, candidates) } : {}),
    ...(random > 0 ? { randomPoints: uniformPoints(rng, slots, random) } : {}),
  };
}

/** The step's graph has no such inputs where the kernels have all of Proxy Calibration. */
function proxyInputs({ partner, alpha }: Proxies, step: Session): Record<string, Tensor> {
  if (!step.inputNames.includes("partner")) return {};
  return {
    partner: new HostTensor("int64", [partner.length], partner),
    alpha: float32([alpha.length, 1], alpha),
  };
}

/** The matching costs of each prediction, and the last prediction where kernels need it. */
function costGraph(
  config: OvsnetConfig,
  sizes: LossSizes,
  layout: ParameterLayout,
  withPrediction: boolean,
): Uint8Array {
  const graph = new Graph("matching_cost");
  const { scope } = layout.scopeOver(graph.input("parameters", [layout.size]));
  const decoder = new DecoderLoss(scope, config, sizes);
  decoder.outputs.predictions.forEach((_, i) => graph.output(`cost${i}`, decoder.matchingCost(i)));
  if (withPrediction) {
    graph.output("maskLogits", decoder.last.maskLogits);
    graph.output("queryEmbeddings", decoder.last.queryEmbeddings);
  }
  return graph.toOnnx();
}

/** The loss, its terms and its gradient. */
function stepGraph(
  config: OvsnetConfig,
  sizes: LossSizes,
  layout: ParameterLayout,
  pools: boolean,
): { model: Uint8Array; terms: string[] } {
  const graph = new Graph("ovsnet_step");
  const flat = layout.scopeOver(graph.input("parameters", [layout.size]));
  const decoder = new DecoderLoss(flat.scope, config, sizes);
  const { images, jointSize } = sizes;
  const { data: { maxSegments }, network: { numQueries }, loss: weight, fuser } = config;
  const isSplit = config.microBatches > 1;
  // A batch may hold nothing but pixels that count nowhere, or nothing that has a class.
  const atLeastOne = (flags: Value) => ops.max(ops.reduceSum(flags), 1);
  const count = isSplit ? graph.input("count", []) : atLeastOne(decoder.segments);
  const weights = isSplit ? graph.input("weights", []) : null;
  const matchings = decoder.outputs.predictions.map((_, i) =>
    graph.input(`matching${i}`, [images, maxSegments, numQueries])
  );
  const last = matchings.at(-1)!;
  const predictions = matchings.map((matching, i) =>
    decoder.predictionLoss(i, matching, count, weights)
  );
  const terms: Record<string, Value> = { ...predictions.at(-1)! };
  const extra: Value[] = [];
  const addTerm = (name: string, value: Value, factor: number) => {
    terms[name] = value;
    extra.push(factor === 1 ? value : ops.mul(value, factor));
  };
  const clipHere = weight.proxyClip > 0 && !pools;
  if (weight.proxyQuery > 0 || clipHere) {
    const named = isSplit ? graph.input("named", []) : atLeastOne(decoder.classes);
    const proxies = new ProxyGraph(decoder.classes, decoder.text, named);
    if (weight.proxyQuery > 0) {
      addTerm("proxyQuery", decoder.proxyQuery(proxies, last), weight.proxyQuery);
    }
    if (clipHere) addTerm("proxyClip", decoder.proxyClip(proxies, last), weight.proxyClip);
  }
  // Terms whose gradient a kernel has computed: linear, and no part of the loss that is reported.
  const linear: Value[] = [];
  if (weight.proxyClip > 0 && pools) {
    const masks = decoder.matchedMasks(last);
    linear.push(
      ops.reduceSum(ops.mul(masks, graph.input("maskCotangent", masks.shape))),
    );
  }
  if (fuser !== undefined) {
    const { queryEmbeddings, maskLogits } = decoder.last;
    const shape = [images, numQueries, jointSize];
    let fused: Value;
    if (fuser.kind === "gfa") {
      fused = graph.input("fusedRows", shape);
      const cotangent = graph.input("queryCotangent", shape);
      linear.push(ops.reduceSum(ops.mul(queryEmbeddings, cotangent)));
    } else {
      const { pooled, empty } = pools
        ? {
          pooled: graph.input("pooled", shape),
          empty: graph.input("empty", [images, numQueries]),
        }
        : hardPooling(maskLogits, decoder.features);
      fused = decoder.outputs.fuse(pooled, empty, queryEmbeddings);
    }
    const logits = decoder.outputs.logitsOf(fused);
    addTerm("fusedLoss", decoder.classLoss(logits, last, weights), weight.fused);
  }

  const weighted = predictions.map(({ maskLoss, diceLoss, classLoss }) => {
    const masks = weight.mask === weight.dice
      ? ops.mul(ops.add(maskLoss, diceLoss), weight.mask)
      : ops.add(ops.mul(maskLoss, weight.mask), ops.mul(diceLoss, weight.dice));
    return ops.add(masks, ops.mul(classLoss, weight.class));
  });
  const sum = (values: readonly Value[]) => values.reduce((a, b) => ops.add(a, b));
  const loss = extra.length === 0 ? sum(weighted) : ops.add(sum(weighted), sum(extra));
  const outputs = { loss, ...terms };
  for (const [name, value] of Object.entries(outputs)) graph.output(name, value);
  const whole = linear.length === 0 ? loss : ops.add(loss, sum(linear));
  graph.output("gradient", flat.flatten(gradients(whole, flat.pieces)));
  return { model: graph.toOnnx(), terms: Object.keys(outputs) };
}
