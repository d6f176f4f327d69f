/**
 * Training of the mask decoder over the frozen CLIP: Mask2Former's losses after Hungarian matching,
 * and Proxy Calibration (OVSNet, section 3).
 *
 * @module
 */
import {
  gradients,
  Graph,
  ops,
  ParameterLayout,
  type ParameterScope,
  type Value,
} from "../../lib/graph/mod.ts";
import { assign } from "../../lib/matching/hungarian.ts";
import { cosineSchedule, type Schedule } from "../../lib/optim/schedules.ts";
import { Rng } from "../../lib/rng.ts";
import type { Session } from "../../lib/runtime.ts";
import { float32, HostTensor, type Tensor } from "../../lib/tensor.ts";
import { BpeTokenizer } from "../../lib/text/bpe.ts";
import { loadSplits, seenNames } from "../datasets/emoji_scenes/splits.ts";
import { SpriteStore } from "../datasets/emoji_scenes/sprites.ts";
import { trainingStyles } from "../datasets/emoji_scenes/universe.ts";
import type { ImageEncoderOutputs } from "../networks/image_encoder.ts";
import {
  maskDecoder,
  type MaskDecoderConfig,
  type MaskPrediction,
} from "../networks/mask_decoder.ts";
import { ortNodeEngine } from "../runtimes/ort_node.ts";
import { type ClipConfig, clipConfig, type ClipModels, exportClip } from "./clip.ts";
import { mosaicGrid } from "./clip_batches.ts";
import { maskSize, maxSegments, type SceneBatch, sceneBatch, sceneSize } from "./scene_batches.ts";
import { readParameters, train } from "./trainer.ts";

/** Everything that defines a run. */
export interface OvsnetConfig {
  /** Seed of the parameters and of every batch. */
  seed: number;
  /** Number of steps. */
  steps: number;
  /** Scenes in a batch. */
  scenes: number;
  /** The highest learning rate. */
  learningRate: number;
  /** A second cosine cycle after the first (Loshchilov and Hutter, 2017). */
  restart: { steps: number; learningRate: number };
  /** γ of Proxy Calibration's Beta(γ, γ). */
  gamma: number;
  /** The run that made the encoders. */
  clip: ClipConfig;
  /** Sizes of the mask decoder. */
  decoder: MaskDecoderConfig;
}

/** The run that made the shipped decoder. */
export const ovsnetConfig: OvsnetConfig = {
  seed: 2,
  steps: 6000,
  scenes: 8,
  learningRate: 8e-4,
  restart: { steps: 1700, learningRate: 3e-4 },
  gamma: 2,
  clip: clipConfig,
  decoder: {
    numQueries: 32,
    width: 128,
    heads: 4,
    pixelDepth: 2,
    depth: 4,
    maskWidth: 48,
    grid: mosaicGrid,
    jointSize: 128,
  },
};

const cells = maskSize * maskSize;
const noObjectWeight = 0.1;

/** The graph's inputs and what is computed of them before any loss. */
interface Forward {
  predictions: MaskPrediction[];
  /** Logits of each prediction over the classes and void, B×N×(C+1). */
  classLogits: Value[];
  features: Value;
  text: Value;
  masks: Value;
  classes: Value;
}

function forward(scope: ParameterScope, config: OvsnetConfig, numClasses: number): Forward {
  const { graph } = scope;
  const { scenes, decoder } = config;
  const { width, jointSize, stemWidth } = config.clip.image;
  const grid = sceneSize / 8;
  const inputs: ImageEncoderOutputs = {
    features: graph.input("features", [scenes, jointSize, grid, grid]),
    pyramid4: graph.input("pyramid4", [scenes, stemWidth, 2 * grid, 2 * grid]),
    pyramid8: graph.input("pyramid8", [scenes, 2 * width, grid, grid]),
  };
  const text = graph.input("text", [numClasses, jointSize]);
  const masks = graph.input("masks", [scenes, maxSegments, cells]);
  const classes = graph.input("classes", [scenes, maxSegments, numClasses]);
  const predictions = maskDecoder(scope, inputs, decoder);
  const voidEmbedding = ops.l2Normalize(
    scope.parameter("voidEmbedding", [1, jointSize], { normal: 1 }),
  );
  const logScale = scope.parameter("logScale", [1], { constant: Math.log(20) });
  const scale = ops.exp(ops.min(logScale, Math.log(100)));
  const names = ops.transpose(ops.concat([text, voidEmbedding], 0), [1, 0]);
  const classLogits = predictions.map(({ queryEmbeddings }) =>
    ops.mul(ops.matMul(ops.l2Normalize(queryEmbeddings), names), scale)
  );
  return { predictions, classLogits, features: inputs.features, text, masks, classes };
}

const maskRows = (prediction: MaskPrediction, config: OvsnetConfig) =>
  ops.reshape(prediction.maskLogits, [config.scenes, config.decoder.numQueries, cells]);

/** The matching cost of each query and segment, B×N×G: 2·class + 5·BCE + 5·dice. */
function matchingCost(f: Forward, i: number, config: OvsnetConfig): Value {
  const numClasses = f.text.shape[0] as number;
  const probabilities = ops.slice(ops.softmax(f.classLogits[i]!, -1), 2, 0, numClasses);
  const classCost = ops.neg(ops.matMul(probabilities, ops.transpose(f.classes, [0, 2, 1])));
  const logits = maskRows(f.predictions[i]!, config);
  const truth = ops.transpose(f.masks, [0, 2, 1]);
  const crossEntropy = ops.sub(
    ops.reduceMean(ops.softplus(logits), [2], true),
    ops.mul(ops.matMul(logits, truth), 1 / cells),
  );
  const inside = ops.sigmoid(logits);
  const overlap = ops.add(ops.mul(ops.matMul(inside, truth), 2), 1);
  const areas = ops.add(
    ops.add(ops.reduceSum(inside, [2], true), ops.reduceSum(truth, [1], true)),
    1,
  );
  const dice = ops.sub(1, ops.div(overlap, areas));
  return ops.add(ops.mul(classCost, 2), ops.mul(ops.add(crossEntropy, dice), 5));
}

/** The terms of the loss of one prediction, given which query (one-hot, B×G×N) has which segment. */
function predictionLoss(
  f: Forward,
  i: number,
  matching: Value,
  count: Value,
  config: OvsnetConfig,
) {
  const logits = ops.matMul(matching, maskRows(f.predictions[i]!, config));
  const valid = ops.reduceSum(f.classes, [2]);
  const overSegments = (perSegment: Value) =>
    ops.div(ops.reduceSum(ops.mul(perSegment, valid)), count);
  const crossEntropy = overSegments(
    ops.reduceMean(ops.sub(ops.softplus(logits), ops.mul(logits, f.masks)), [2]),
  );
  const inside = ops.sigmoid(logits);
  const overlap = ops.add(ops.mul(ops.reduceSum(ops.mul(inside, f.masks), [2]), 2), 1);
  const areas = ops.add(ops.reduceSum(ops.add(inside, f.masks), [2]), 1);
  const dice = overSegments(ops.sub(1, ops.div(overlap, areas)));

  const matched = ops.matMul(ops.transpose(matching, [0, 2, 1]), f.classes);
  const isObject = ops.reduceSum(matched, [2], true);
  const truth = ops.concat([matched, ops.sub(1, isObject)], 2);
  const weight = ops.add(ops.mul(isObject, 1 - noObjectWeight), noObjectWeight);
  const agreement = ops.mul(ops.mul(truth, ops.logSoftmax(f.classLogits[i]!, -1)), weight);
  const classes = ops.neg(ops.div(ops.reduceSum(agreement), ops.reduceSum(weight)));
  return { maskLoss: crossEntropy, diceLoss: dice, classLoss: classes };
}

/** Proxy Calibration: L_PQ and L_PC over mixed pairs of matched queries. */
function proxyLosses(f: Forward, matching: Value, count: Value, config: OvsnetConfig) {
  const { graph } = matching;
  const slots = config.scenes * maxSegments;
  const { jointSize } = config.decoder;
  const partner = graph.input("partner", [slots], "int64");
  const alpha = graph.input("alpha", [slots, 1]);
  const last = f.predictions.at(-1)!;
  const rows = (value: Value) => ops.reshape(value, [slots, jointSize]);

  const queries = rows(ops.matMul(matching, last.queryEmbeddings));
  const texts = rows(ops.matMul(f.classes, f.text));
  // Soft mask pooling at the features' stride; the scale of the sum cancels in the cosine.
  const logits = ops.matMul(matching, maskRows(last, config));
  const grid = sceneSize / 8;
  const small = ops.resizeBilinear(
    ops.reshape(logits, [config.scenes, maxSegments, maskSize, maskSize]),
    grid,
    grid,
  );
  const weights = ops.reshape(ops.sigmoid(small), [config.scenes, maxSegments, grid * grid]);
  const pixels = ops.transpose(
    ops.reshape(f.features, [config.scenes, jointSize, grid * grid]),
    [0, 2, 1],
  );
  const pooled = rows(ops.matMul(weights, pixels));

  const mix = (value: Value) => {
    const unit = ops.l2Normalize(value);
    const others = ops.gather(unit, partner);
    const mixed = ops.add(ops.mul(unit, alpha), ops.mul(others, ops.sub(1, alpha)));
    return ops.l2Normalize(mixed);
  };
  const valid = ops.reshape(ops.reduceSum(f.classes, [2]), [slots]);
  const target = mix(texts);
  const distance = (value: Value) => {
    const cosine = ops.reduceSum(ops.mul(mix(value), target), [1]);
    return ops.div(ops.reduceSum(ops.mul(ops.sub(1, cosine), valid)), count);
  };
  return { proxyQuery: distance(queries), proxyClip: distance(pooled) };
}

function totalLoss(f: Forward, config: OvsnetConfig) {
  const { graph } = f.text;
  const { scenes, decoder } = config;
  const count = ops.reduceSum(f.classes);
  const matchings = f.predictions.map((_, i) =>
    graph.input(`matching${i}`, [scenes, maxSegments, decoder.numQueries])
  );
  const terms = matchings.map((matching, i) => predictionLoss(f, i, matching, count, config));
  const proxies = proxyLosses(f, matchings.at(-1)!, count, config);
  const weighted = terms.map(({ maskLoss, diceLoss, classLoss }) =>
    ops.add(ops.mul(ops.add(maskLoss, diceLoss), 5), ops.mul(classLoss, 2))
  );
  const loss = ops.add(
    weighted.reduce((a, b) => ops.add(a, b)),
    ops.add(proxies.proxyQuery, proxies.proxyClip),
  );
  return { loss, ...terms.at(-1)!, ...proxies };
}

function restartingSchedule({ steps, learningRate, restart }: OvsnetConfig): Schedule {
  const first = cosineSchedule({
    peak: learningRate,
    totalSteps: steps,
    warmupSteps: Math.min(200, Math.floor(steps / 10)),
    final: learningRate / 100,
  });
  if (restart.steps === 0) return first;
  const second = cosineSchedule({
    peak: restart.learningRate,
    totalSteps: restart.steps,
    final: learningRate / 100,
  });
  return (step) => step < steps ? first(step) : second(step - steps);
}

function layoutOf(config: OvsnetConfig, numClasses: number): ParameterLayout {
  const graph = new Graph("layout");
  return ParameterLayout.of(graph, (scope) => void forward(scope, config, numClasses));
}

/** The embeddings of names by a run's text tower, C×D. */
export async function embedNames(
  models: ClipModels,
  names: readonly string[],
): Promise<HostTensor<"float32">> {
  const engine = await ortNodeEngine({ threads: 2 });
  const session = await engine.load(models.textEncoder);
  const tokenizer = BpeTokenizer.fromJSON(JSON.parse(models.tokenizer));
  const batch = tokenizer.encodeBatch(names, models.maxLength);
  const { embeddings } = await session.run({ tokens: batch.tokens, mask: batch.mask });
  await session.dispose();
  return embeddings as HostTensor<"float32">;
}

/** One-hot B×G×N matrices from the costs, B×N×G; segments without a class stay unmatched. */
function hungarian(cost: Float32Array, batch: SceneBatch, config: OvsnetConfig): Float32Array {
  const { scenes, decoder: { numQueries } } = config;
  const numClasses = batch.classes.length / (scenes * maxSegments);
  const matching = new Float32Array(scenes * maxSegments * numQueries);
  for (let b = 0; b < scenes; b++) {
    const used = [...Array(maxSegments).keys()].filter((g) => {
      const from = (b * maxSegments + g) * numClasses;
      return batch.classes.subarray(from, from + numClasses).includes(1);
    });
    const part = new Float32Array(used.length * numQueries);
    used.forEach((g, row) => {
      for (let n = 0; n < numQueries; n++) {
        part[row * numQueries + n] = cost[(b * numQueries + n) * maxSegments + g]!;
      }
    });
    assign(part, used.length, numQueries).forEach((n, row) => {
      matching[(b * maxSegments + used[row]!) * numQueries + n] = 1;
    });
  }
  return matching;
}

/** Partners and mixing weights for Proxy Calibration: α ~ Beta(γ, γ) for an integer γ. */
function drawProxies(rng: Rng, batch: SceneBatch, config: OvsnetConfig) {
  const slots = config.scenes * maxSegments;
  const numClasses = batch.classes.length / slots;
  const used = [...Array(slots).keys()].filter((s) =>
    batch.classes.subarray(s * numClasses, (s + 1) * numClasses).includes(1)
  );
  const partner = new BigInt64Array(slots);
  const alpha = new Float32Array(slots);
  // A gamma variate of integer shape is a sum of exponential ones.
  const gamma = () => {
    let sum = 0;
    for (let i = 0; i < config.gamma; i++) sum -= Math.log(1 - rng.uniform());
    return sum;
  };
  for (let s = 0; s < slots; s++) {
    partner[s] = BigInt(rng.pick(used));
    const [x, y] = [gamma(), gamma()];
    alpha[s] = x / (x + y);
  }
  return {
    partner: new HostTensor("int64", [slots], partner),
    alpha: float32([slots, 1], alpha),
  };
}

/** Trains the decoder over the towers in `clipDir`, or goes on where a run in `dir` stood. */
export async function trainOvsnet(
  dir: string,
  clipDir: string,
  config: OvsnetConfig = ovsnetConfig,
  limits: { stopAfter?: number } = {},
): Promise<void> {
  const models = exportClip(clipDir, config.clip);
  const names = seenNames();
  const text = await embedNames(models, names);
  const layout = layoutOf(config, names.length);

  const costGraph = new Graph("matching_cost");
  const forCost = forward(
    layout.scopeOver(costGraph.input("parameters", [layout.size])).scope,
    config,
    names.length,
  );
  forCost.predictions.forEach((_, i) =>
    costGraph.output(`cost${i}`, matchingCost(forCost, i, config))
  );
  const stepGraph = new Graph("ovsnet_step");
  const flat = layout.scopeOver(stepGraph.input("parameters", [layout.size]));
  const terms = totalLoss(forward(flat.scope, config, names.length), config);
  for (const [name, value] of Object.entries(terms)) stepGraph.output(name, value);
  stepGraph.output("gradient", flat.flatten(gradients(terms.loss, flat.pieces)));

  const engine = await ortNodeEngine({ threads: 2 });
  const [encoder, costs, step] = await Promise.all(
    [models.imageEncoder, costGraph.toOnnx(), stepGraph.toOnnx()].map((m) => engine.load(m)),
  ) as [Session, Session, Session];
  const sprites = await SpriteStore.open({ styles: trainingStyles });
  const { seen } = loadSplits();
  const params = layout.initialize(new Rng(config.seed));
  const seeds = new Rng(config.seed).fork(1);
  const read = async (tensor: Tensor | undefined) => await tensor!.read() as Float32Array;
  console.log(`ovsnet: ${layout.size} parameters, ${config.scenes} scenes a step`);

  await train({
    ...limits,
    dir,
    name: "ovsnet",
    params,
    decayMask: layout.decayMask(),
    steps: config.steps + config.restart.steps,
    schedule: restartingSchedule(config),
    weightDecay: 0.05,
    clipNorm: 1,
    checkpointEvery: 100,
    step: async (number) => {
      const rng = seeds.fork(number);
      const batch = sceneBatch(rng, config.scenes, seen, names.length, sprites);
      const image = float32([config.scenes, 3, sceneSize, sceneSize], batch.images);
      const encoded = await encoder.run({ image });
      const inputs = {
        ...encoded,
        parameters: float32([layout.size], params),
        text,
        masks: float32([config.scenes, maxSegments, cells], batch.masks),
        classes: float32([config.scenes, maxSegments, names.length], batch.classes),
      };
      const cost = await costs.run(inputs);
      const shape = [config.scenes, maxSegments, config.decoder.numQueries];
      const matchings: Record<string, Tensor> = {};
      for (const i of forCost.predictions.keys()) {
        const matching = hungarian(await read(cost[`cost${i}`]), batch, config);
        matchings[`matching${i}`] = float32(shape, matching);
      }
      const outputs = await step.run({
        ...inputs,
        ...matchings,
        ...drawProxies(rng, batch, config),
      });
      const metrics: Record<string, number> = {};
      for (const name of Object.keys(terms)) metrics[name] = (await read(outputs[name]))[0]!;
      return { grads: await read(outputs["gradient"]), metrics };
    },
  });
  for (const session of [encoder, costs, step]) await session.dispose();
}

/** What the decoder ships as. */
export interface OvsnetModels {
  /** `features`, `pyramid4` and `pyramid8` to `mask_logits` and `query_embeddings`. */
  maskDecoder: Uint8Array;
  /** The unit embedding of "no object". */
  voidEmbedding: number[];
  /** The learned inverse temperature of the class logits. */
  logitScale: number;
}

/** Exports a run's decoder, with batch and image size left open. */
export function exportOvsnet(dir: string, config: OvsnetConfig = ovsnetConfig): OvsnetModels {
  const layout = layoutOf(config, seenNames().length);
  const params = readParameters(dir, layout.size);
  const { width, jointSize, stemWidth } = config.clip.image;
  const graph = new Graph("mask_decoder");
  const last = maskDecoder(layout.scopeWith(graph, params), {
    features: graph.input("features", ["B", jointSize, "H/8", "W/8"]),
    pyramid4: graph.input("pyramid4", ["B", stemWidth, "H/4", "W/4"]),
    pyramid8: graph.input("pyramid8", ["B", 2 * width, "H/8", "W/8"]),
  }, config.decoder).at(-1)!;
  graph.output("mask_logits", last.maskLogits);
  graph.output("query_embeddings", last.queryEmbeddings);

  const { offset } = layout.find("voidEmbedding", [1, jointSize]);
  const raw = params.slice(offset, offset + jointSize);
  const norm = Math.hypot(...raw);
  const logScale = params[layout.find("logScale", [1]).offset]!;
  return {
    maskDecoder: graph.toOnnx({ parameterStorage: "float16" }),
    voidEmbedding: Array.from(raw, (x) => Number((x / norm).toFixed(6))),
    logitScale: Math.exp(Math.min(logScale, Math.log(100))),
  };
}
