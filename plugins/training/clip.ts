/**
 * Contrastive training of the small CLIP (Radford et al., 2021) on pictures of emoji.
 *
 * @module
 */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  gradients,
  Graph,
  ops,
  ParameterLayout,
  type ParameterScope,
  type Value,
} from "../../lib/graph/mod.ts";
import { GradientAccumulator } from "../../lib/optim/gradient_accumulator.ts";
import { Rng } from "../../lib/rng.ts";
import type { Session } from "../../lib/runtime.ts";
import { float32, type Tensor } from "../../lib/tensor.ts";
import { BpeTokenizer, trainBpe } from "../../lib/text/bpe.ts";
import { firstUnseenSeed } from "../datasets/emoji_scenes/seeds.ts";
import { SpriteStore } from "../datasets/emoji_scenes/sprites.ts";
import { stuffCategories } from "../datasets/emoji_scenes/textures.ts";
import { emojiUniverse, trainingStyles } from "../datasets/emoji_scenes/universe.ts";
import { imageEncoder, type ImageEncoderConfig } from "../networks/image_encoder.ts";
import { textEncoder, type TextEncoderConfig } from "../networks/text_encoder.ts";
import { ortNodeEngine } from "../runtimes/ort_node.ts";
import {
  type ClipBatch,
  clipBatch,
  mosaicGrid,
  mosaicSize,
  picturesPerMosaic,
} from "./clip_batches.ts";
import { openRun } from "./open_run.ts";
import { writeTextAtomically } from "./run_files.ts";
import type { ClipConfig } from "./train_config.ts";
import { type RunOptions, type RunResult, train } from "./trainer.ts";

/** Sizes of both towers. */
export function towersOf(
  { network: { image, text, jointSize } }: ClipConfig,
): { image: ImageEncoderConfig; text: TextEncoderConfig } {
  return { image: { ...image, jointSize }, text: { ...text, jointSize } };
}

/** The parameters of both towers. */
export function clipLayout(config: ClipConfig): ParameterLayout {
  const graph = new Graph("layout");
  return ParameterLayout.of(graph, (scope) => void clipLoss(scope, config, "running"));
}

/**
 * Cross-entropy of pictures' likeness to captions, both ways (Radford et al., 2021).
 *
 * @param logits n×n, a row per picture, as are the targets.
 * @param captionTargets Which captions are right for a picture, as shares.
 * @param pictureTargets Which pictures are right for a caption, as shares.
 */
export function symmetricContrast(
  logits: Value,
  captionTargets: Value,
  pictureTargets: Value,
): Value {
  const agreement = ops.add(
    ops.mul(captionTargets, ops.logSoftmax(logits, 1)),
    ops.mul(pictureTargets, ops.logSoftmax(logits, 0)),
  );
  return ops.mul(ops.reduceSum(agreement), -0.5 / Number(logits.shape[0]));
}

/**
 * Contrast of pictures with other drawings of the same thing (Khosla et al., 2020).
 *
 * @param pictures n×D unit rows.
 * @param targets n×n: each picture's twins, as shares.
 * @param scale The inverse temperature.
 */
export function twinContrast(pictures: Value, targets: Value, scale: Value): Value {
  const count = Number(pictures.shape[0]);
  // No picture is its own twin.
  const self = pictures.graph.constant(
    Float32Array.from({ length: count * count }, (_, i) => i % (count + 1) === 0 ? -1e4 : 0),
    [count, count],
  );
  const likeness = ops.mul(ops.matMul(pictures, ops.transpose(pictures, [1, 0])), scale);
  const twins = ops.logSoftmax(ops.add(likeness, self), 1);
  return ops.mul(ops.reduceSum(ops.mul(targets, twins)), -1 / count);
}

/** Mosaics that are computed at once. */
const mosaicsOf = ({ batch, microBatches }: ClipConfig) => batch / microBatches;

/**
 * The loss of one batch: symmetric contrast of pictures and captions (Radford et al., 2021), and
 * contrast of pictures with other drawings of the same thing (Khosla et al., 2020).
 *
 * Picture embeddings are batch-normalised (Ioffe and Szegedy, 2015) before they are made unit
 * vectors: else all pictures begin as one and the same direction.
 *
 * @param statistics Of the batch in training, the running ones afterwards.
 */
function clipLoss(scope: ParameterScope, config: ClipConfig, statistics: "batch" | "running") {
  const { graph } = scope;
  const towers = towersOf(config);
  const mosaics = mosaicsOf(config);
  const { captionLength } = config.data;
  const pairs = mosaics * picturesPerMosaic;
  const { jointSize } = towers.image;
  const image = graph.input("image", [mosaics, 3, mosaicSize, mosaicSize]);
  const pool = graph.input("pool", [mosaics, picturesPerMosaic, mosaicGrid ** 2]);
  const tokens = graph.input("tokens", [pairs, captionLength], "int64");
  const mask = graph.input("mask", [pairs, captionLength]);
  const captionTargets = graph.input("captionTargets", [pairs, pairs]);
  const pictureTargets = graph.input("pictureTargets", [pairs, pairs]);
  const twinTargets = graph.input("twinTargets", [pairs, pairs]);

  const { features } = imageEncoder(scope.scope("image"), image, towers.image);
  const flat = ops.reshape(features, [mosaics, jointSize, mosaicGrid ** 2]);
  const rows = ops.matMul(pool, ops.transpose(flat, [0, 2, 1]));
  const pooled = ops.reshape(rows, [pairs, jointSize]);
  const mean = ops.reduceMean(pooled, [0], true);
  const centred = ops.sub(pooled, mean);
  const variance = ops.reduceMean(ops.mul(centred, centred), [0], true);
  const running = scope.scope("running");
  const runningMean = running.parameter("mean", [jointSize], { constant: 0 });
  const runningVariance = running.parameter("variance", [jointSize], { constant: 1 });
  const normalised = statistics === "batch"
    ? ops.div(centred, ops.sqrt(ops.add(variance, normEpsilon)))
    : ops.div(ops.sub(pooled, runningMean), ops.sqrt(ops.add(runningVariance, normEpsilon)));
  const pictures = ops.l2Normalize(normalised);
  const texts = textEncoder(scope.scope("text"), tokens, mask, towers.text);

  const scaleOf = (name: string) =>
    ops.exp(ops.min(
      scope.parameter(name, [1], { constant: Math.log(1 / config.loss.temperature) }),
      Math.log(100),
    ));
  const scale = scaleOf("logScale");
  const logits = ops.mul(ops.matMul(pictures, ops.transpose(texts, [1, 0])), scale);
  const contrast = symmetricContrast(logits, captionTargets, pictureTargets);
  const twin = twinContrast(pictures, twinTargets, scaleOf("twinLogScale"));
  const loss = ops.add(contrast, ops.mul(twin, config.loss.twins));
  return { loss, contrast, twin, scale, logits, mean, variance };
}

/** Added to variances, as everywhere. */
const normEpsilon = 1e-5;
/** How much of the running statistics a step replaces. */
const normMomentum = 0.01;

/** The tokenizer of a run: byte pairs learned from all captions, kept beside the checkpoint. */
function tokenizerOf(config: ClipConfig): BpeTokenizer {
  const captions = emojiUniverse().flatMap(({ captions }) => [...captions, captions[0]!]);
  const texts = [...captions, ...stuffCategories, "a picture of a"];
  return new BpeTokenizer(trainBpe(texts, config.network.text.vocabularySize));
}

const tokenizerFile = (dir: string) => join(dir, "tokenizer.json");
const numbers = async (tensor: Tensor | undefined) => await tensor!.read() as Float32Array;

/** The share of pictures whose nearest caption is a right one. */
function accuracy(logits: Float32Array, { captions, captionTargets }: ClipBatch): number {
  const pairs = captions.length;
  let right = 0;
  for (let i = 0; i < pairs; i++) {
    const row = logits.subarray(i * pairs, (i + 1) * pairs);
    const best = row.indexOf(Math.max(...row));
    if (captionTargets[i * pairs + best]! > 0) right++;
  }
  return right / pairs;
}

/**
 * Trains both towers into the folder `config.out`.
 *
 * @throws As {@linkcode train}.
 */
export async function trainClip(config: ClipConfig, options: RunOptions = {}): Promise<RunResult> {
  const layout = clipLayout(config);
  const graph = new Graph("clip_step");
  const flat = layout.scopeOver(graph.input("parameters", [layout.size]));
  const { loss, ...figures } = clipLoss(flat.scope, config, "batch");
  graph.output("loss", loss);
  for (const name of ["contrast", "twin", "scale", "mean", "variance"] as const) {
    graph.output(name, figures[name]);
  }
  graph.output("gradient", flat.flatten(gradients(loss, flat.pieces)));

  const engine = await ortNodeEngine({ threads: config.threads });
  const session = await engine.load(graph.toOnnx());
  let validationSession: Session | null = null;
  if (config.validation.every > 0) {
    const forward = new Graph("clip_validation");
    const scope = layout.scopeOver(forward.input("parameters", [layout.size])).scope;
    const { contrast, logits } = clipLoss(scope, config, "running");
    forward.output("loss", contrast);
    forward.output("logits", logits);
    validationSession = await engine.load(forward.toOnnx());
  }
  const universe = emojiUniverse();
  const sprites = await SpriteStore.open({ styles: trainingStyles });
  const tokenizer = tokenizerOf(config);
  mkdirSync(config.out, { recursive: true });
  writeTextAtomically(tokenizerFile(config.out), JSON.stringify(tokenizer), options.files);

  const params = layout.initialize(new Rng(config.seed));
  const batches = new Rng(config.seed).fork(1);
  const { batch: mosaics, microBatches } = config;
  const perMicro = mosaicsOf(config);
  const pairs = perMicro * picturesPerMosaic;
  const { captionLength } = config.data;
  const inputsOf = (batch: ClipBatch) => ({
    parameters: float32([layout.size], params),
    image: float32([perMicro, 3, mosaicSize, mosaicSize], batch.images),
    pool: float32([perMicro, picturesPerMosaic, mosaicGrid ** 2], batch.pool),
    captionTargets: float32([pairs, pairs], batch.captionTargets),
    pictureTargets: float32([pairs, pairs], batch.pictureTargets),
    twinTargets: float32([pairs, pairs], batch.twinTargets),
    ...tokenizer.encodeBatch(batch.captions, captionLength, captionLength),
  });
  const micro = async (rng: Rng) => {
    const outputs = await session.run(inputsOf(clipBatch(rng, perMicro, universe, sprites)));
    const figure = async (name: string) => (await numbers(outputs[name]))[0]!;
    return {
      grads: await numbers(outputs["gradient"]),
      metrics: {
        loss: await figure("loss"),
        contrast: await figure("contrast"),
        twin: await figure("twin"),
        scale: await figure("scale"),
      },
      mean: await numbers(outputs["mean"]),
      variance: await numbers(outputs["variance"]),
    };
  };
  const { jointSize } = config.network;
  const places = (["mean", "variance"] as const).map((name) => ({
    name,
    offset: layout.find(`running.${name}`, [jointSize]).offset,
  }));
  /** The optimiser leaves these be: their gradient is 0. */
  const follow = (statistics: Record<"mean" | "variance", Float32Array>) => {
    for (const { name, offset } of places) {
      statistics[name].forEach((value, d) =>
        params[offset + d]! += normMomentum * (value - params[offset + d]!)
      );
    }
  };

  options.onNote?.(`clip: ${layout.size} parameters, ${mosaics * picturesPerMosaic} pairs a step`);
  try {
    return await train({
      config,
      circumstances: {},
      params,
      decayMask: layout.decayMask(),
      samples: mosaics * picturesPerMosaic,
      async step(step) {
        const rng = batches.fork(step);
        if (microBatches === 1) {
          const { grads, metrics, ...statistics } = await micro(rng);
          follow(statistics);
          return { grads, metrics };
        }
        // Every piece has its own negatives: only its own captions are told apart.
        const sum = new GradientAccumulator(layout.size);
        const means = { loss: 0, contrast: 0, twin: 0, scale: 0 };
        for (let i = 0; i < microBatches; i++) {
          const { grads, metrics, ...statistics } = await micro(rng.fork(i));
          sum.add(grads);
          follow(statistics);
          for (const name of ["loss", "contrast", "twin", "scale"] as const) {
            means[name] += metrics[name] / microBatches;
          }
        }
        return { grads: sum.take(), metrics: means };
      },
      async validate() {
        const rounds = Math.max(1, Math.round(config.validation.size / perMicro));
        const means = { loss: 0, accuracy: 0 };
        for (let i = 0; i < rounds; i++) {
          const batch = clipBatch(
            new Rng(firstUnseenSeed).fork(i),
            perMicro,
            universe,
            sprites,
          );
          const outputs = await validationSession!.run(inputsOf(batch));
          means.loss += (await numbers(outputs["loss"]))[0]! / rounds;
          means.accuracy += accuracy(await numbers(outputs["logits"]), batch) / rounds;
        }
        return means;
      },
    }, options);
  } finally {
    await session.dispose();
    await validationSession?.dispose();
  }
}

/** The parameters with the batch normalisation made part of the projection into the joint space. */
export function withStatistics(
  params: Float32Array,
  layout: ParameterLayout,
  { network: { image: { widths: [, wide] }, jointSize } }: ClipConfig,
): Float32Array {
  const folded = params.slice();
  const mean = layout.find("running.mean", [jointSize]).offset;
  const variance = layout.find("running.variance", [jointSize]).offset;
  const weight = layout.find("image.joint.weight", [jointSize, wide, 1, 1]).offset;
  const bias = layout.find("image.joint.bias", [jointSize]).offset;
  for (let d = 0; d < jointSize; d++) {
    const factor = 1 / Math.sqrt(params[variance + d]! + normEpsilon);
    for (let i = 0; i < wide; i++) folded[weight + d * wide + i]! *= factor;
    folded[bias + d] = (params[bias + d]! - params[mean + d]!) * factor;
  }
  return folded;
}

/** The two towers as ONNX files. */
export interface ClipModels {
  /** `image` to `features`, `pyramid4` and `pyramid8`. */
  imageEncoder: Uint8Array;
  /** `tokens` and `mask` to `embeddings`. */
  textEncoder: Uint8Array;
  /** The subwords, as JSON text. */
  tokenizer: string;
  /** The longest text, in subwords. */
  maxLength: number;
  /** The learned inverse temperature. */
  logitScale: number;
}

/**
 * Exports a run's towers, with batch, image size and number of texts left open.
 *
 * @param dir The run's folder.
 * @throws {ModelError} If there is no checkpoint of stage "clip".
 */
export async function exportClip(dir: string): Promise<ClipModels> {
  const { config, params: trained } = await openRun(dir, "clip");
  const layout = clipLayout(config);
  const towers = towersOf(config);
  const params = withStatistics(trained, layout, config);

  const logScale = layout.find("logScale", [1]);
  const { maxLength } = towers.text;
  return {
    imageEncoder: exportImageEncoder(layout, params, towers.image),
    textEncoder: exportTextEncoder(layout, params, towers.text),
    tokenizer: readFileSync(tokenizerFile(dir), "utf8"),
    maxLength,
    logitScale: Math.exp(Math.min(params[logScale.offset]!, Math.log(100))),
  };
}

/** An image tower as an ONNX file, with the number and size of images left open. */
export function exportImageEncoder(
  layout: ParameterLayout,
  params: Float32Array,
  config: ImageEncoderConfig,
): Uint8Array {
  const graph = new Graph("image_encoder");
  const outputs = imageEncoder(
    layout.scopeWith(graph, params).scope("image"),
    graph.input("image", ["B", 3, "H", "W"]),
    config,
  );
  for (const [name, value] of Object.entries(outputs)) graph.output(name, value);
  return graph.toOnnx({ parameterStorage: "float16" });
}

/** A text tower as an ONNX file, with the number of texts left open. */
export function exportTextEncoder(
  layout: ParameterLayout,
  params: Float32Array,
  config: TextEncoderConfig,
): Uint8Array {
  const graph = new Graph("text_encoder");
  const embeddings = textEncoder(
    layout.scopeWith(graph, params).scope("text"),
    graph.input("tokens", ["C", "L"], "int64"),
    graph.input("mask", ["C", "L"]),
    config,
  );
  graph.output("embeddings", embeddings);
  const metadata = { maxLength: String(config.maxLength) };
  return graph.toOnnx({ parameterStorage: "float16", metadata });
}
