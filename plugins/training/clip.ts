/**
 * Contrastive training of the small CLIP (Radford et al., 2021) on pictures of emoji.
 *
 * @module
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  gradients,
  Graph,
  ops,
  ParameterLayout,
  type ParameterScope,
} from "../../lib/graph/mod.ts";
import { cosineSchedule } from "../../lib/optim/schedules.ts";
import { Rng } from "../../lib/rng.ts";
import { float32 } from "../../lib/tensor.ts";
import { BpeTokenizer, trainBpe } from "../../lib/text/bpe.ts";
import { SpriteStore } from "../datasets/emoji_scenes/sprites.ts";
import { stuffCategories } from "../datasets/emoji_scenes/textures.ts";
import { emojiUniverse, trainingStyles } from "../datasets/emoji_scenes/universe.ts";
import { imageEncoder, type ImageEncoderConfig } from "../networks/image_encoder.ts";
import { textEncoder, type TextEncoderConfig } from "../networks/text_encoder.ts";
import { ortNodeEngine } from "../runtimes/ort_node.ts";
import { clipBatch, mosaicGrid, mosaicSize, picturesPerMosaic } from "./clip_batches.ts";
import { readParameters, train } from "./trainer.ts";

/** Everything that defines a run. */
export interface ClipConfig {
  /** Seed of the parameters and of every batch. */
  seed: number;
  /** Number of steps. */
  steps: number;
  /** Mosaics in a batch, of ten captioned pictures each. */
  mosaics: number;
  /** The highest learning rate. */
  learningRate: number;
  /** Sizes of the image tower. */
  image: ImageEncoderConfig;
  /** Sizes of the text tower; its vocabulary's size is a bound. */
  text: TextEncoderConfig;
}

/** The run that made the shipped encoders. */
export const clipConfig: ClipConfig = {
  seed: 1,
  steps: 3600,
  mosaics: 16,
  learningRate: 1.5e-3,
  image: { stemWidth: 32, width: 128, depth: 5, heads: 4, grid: mosaicGrid, jointSize: 128 },
  text: { vocabularySize: 2048, maxLength: 24, width: 128, depth: 2, heads: 4, jointSize: 128 },
};

/** Captions are cut to this many subwords in training; nearly all are shorter. */
const captionLength = 12;

function layoutOf(config: ClipConfig): ParameterLayout {
  const graph = new Graph("layout");
  return ParameterLayout.of(graph, (scope) => void clipLoss(scope, config));
}

function clipLoss(scope: ParameterScope, config: ClipConfig) {
  const { graph } = scope;
  const pairs = config.mosaics * picturesPerMosaic;
  const { jointSize } = config.image;
  const image = graph.input("image", [config.mosaics, 3, mosaicSize, mosaicSize]);
  const pool = graph.input("pool", [config.mosaics, picturesPerMosaic, mosaicGrid ** 2]);
  const tokens = graph.input("tokens", [pairs, captionLength], "int64");
  const mask = graph.input("mask", [pairs, captionLength]);
  const captionTargets = graph.input("captionTargets", [pairs, pairs]);
  const pictureTargets = graph.input("pictureTargets", [pairs, pairs]);

  const { features } = imageEncoder(scope.scope("image"), image, config.image);
  const flat = ops.reshape(features, [config.mosaics, jointSize, mosaicGrid ** 2]);
  const pooled = ops.matMul(pool, ops.transpose(flat, [0, 2, 1]));
  const pictures = ops.l2Normalize(ops.reshape(pooled, [pairs, jointSize]));
  const texts = textEncoder(scope.scope("text"), tokens, mask, config.text);

  const logScale = scope.parameter("logScale", [1], { constant: Math.log(1 / 0.07) });
  const scale = ops.exp(ops.min(logScale, Math.log(100)));
  const logits = ops.mul(ops.matMul(pictures, ops.transpose(texts, [1, 0])), scale);
  const agreement = ops.add(
    ops.mul(captionTargets, ops.logSoftmax(logits, 1)),
    ops.mul(pictureTargets, ops.logSoftmax(logits, 0)),
  );
  return { loss: ops.mul(ops.reduceSum(agreement), -0.5 / pairs), scale };
}

/** The tokenizer of a run: byte pairs learned from all captions, kept beside the checkpoint. */
function tokenizerOf(config: ClipConfig): BpeTokenizer {
  const captions = emojiUniverse().flatMap(({ captions }) => [...captions, captions[0]!]);
  const texts = [...captions, ...stuffCategories, "a picture of a"];
  return new BpeTokenizer(trainBpe(texts, config.text.vocabularySize));
}

/** Trains both towers, or goes on where a run in `dir` stood. */
export async function trainClip(
  dir: string,
  config: ClipConfig = clipConfig,
  limits: { stopAfter?: number } = {},
): Promise<void> {
  const layout = layoutOf(config);
  const graph = new Graph("clip_step");
  const flat = layout.scopeOver(graph.input("parameters", [layout.size]));
  const { loss, scale } = clipLoss(flat.scope, config);
  graph.output("loss", loss);
  graph.output("scale", scale);
  graph.output("gradient", flat.flatten(gradients(loss, flat.pieces)));

  const engine = await ortNodeEngine({ threads: 2 });
  const session = await engine.load(graph.toOnnx());
  const universe = emojiUniverse();
  const sprites = await SpriteStore.open({ styles: trainingStyles });
  const tokenizer = tokenizerOf(config);
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, "tokenizer.json"), JSON.stringify(tokenizer));

  const params = layout.initialize(new Rng(config.seed));
  const batches = new Rng(config.seed).fork(1);
  const pairs = config.mosaics * picturesPerMosaic;
  console.log(`clip: ${layout.size} parameters, ${pairs} pairs a step`);
  await train({
    ...limits,
    dir,
    name: "clip",
    params,
    decayMask: layout.decayMask(),
    steps: config.steps,
    schedule: cosineSchedule({
      peak: config.learningRate,
      totalSteps: config.steps,
      warmupSteps: Math.min(200, Math.floor(config.steps / 10)),
      final: config.learningRate / 100,
    }),
    weightDecay: 0.05,
    clipNorm: 1,
    checkpointEvery: 100,
    step: async (step) => {
      const batch = clipBatch(batches.fork(step), config.mosaics, universe, sprites);
      const outputs = await session.run({
        parameters: float32([layout.size], params),
        image: float32([config.mosaics, 3, mosaicSize, mosaicSize], batch.images),
        pool: float32([config.mosaics, picturesPerMosaic, mosaicGrid ** 2], batch.pool),
        captionTargets: float32([pairs, pairs], batch.captionTargets),
        pictureTargets: float32([pairs, pairs], batch.pictureTargets),
        ...tokenizer.encodeBatch(batch.captions, captionLength, captionLength),
      });
      const read = async (name: string) => await outputs[name]!.read() as Float32Array;
      return {
        grads: await read("gradient"),
        metrics: { loss: (await read("loss"))[0]!, scale: (await read("scale"))[0]! },
      };
    },
  });
  await session.dispose();
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

/** Exports a run's towers, with batch, image size and number of texts left open. */
export function exportClip(dir: string, config: ClipConfig = clipConfig): ClipModels {
  const layout = layoutOf(config);
  const params = readParameters(dir, layout.size);

  const image = new Graph("image_encoder");
  const outputs = imageEncoder(
    layout.scopeWith(image, params).scope("image"),
    image.input("image", ["B", 3, "H", "W"]),
    config.image,
  );
  for (const [name, value] of Object.entries(outputs)) image.output(name, value);

  const text = new Graph("text_encoder");
  const embeddings = textEncoder(
    layout.scopeWith(text, params).scope("text"),
    text.input("tokens", ["C", "L"], "int64"),
    text.input("mask", ["C", "L"]),
    config.text,
  );
  text.output("embeddings", embeddings);

  const half = { parameterStorage: "float16" } as const;
  const logScale = layout.find("logScale", [1]);
  return {
    imageEncoder: image.toOnnx(half),
    textEncoder: text.toOnnx({ ...half, metadata: { maxLength: String(config.text.maxLength) } }),
    tokenizer: readFileSync(join(dir, "tokenizer.json"), "utf8"),
    maxLength: config.text.maxLength,
    logitScale: Math.exp(Math.min(params[logScale.offset]!, Math.log(100))),
  };
}
