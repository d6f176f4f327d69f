/**
 * Tuning of the text tower against a finished image tower (LiT: Zhai et al., 2022): what a name
 * means is what drawings of the thing have in common, whoever drew them.
 *
 * @module
 */
import {
  gradients,
  Graph,
  ops,
  ParameterLayout,
  type ParameterScope,
} from "../../lib/graph/mod.ts";
import { Rng } from "../../lib/rng.ts";
import type { Engine } from "../../lib/runtime.ts";
import { float32, sizeOf, type Tensor } from "../../lib/tensor.ts";
import { BpeTokenizer } from "../../lib/text/bpe.ts";
import { SpriteStore } from "../datasets/emoji_scenes/sprites.ts";
import {
  type EmojiCategory,
  emojiUniverse,
  trainingStyles,
} from "../datasets/emoji_scenes/universe.ts";
import { textEncoder, type TextEncoderConfig } from "../networks/text_encoder.ts";
import { ortNodeEngine } from "../runtimes/ort_node.ts";
import {
  clipLayout,
  type ClipModels,
  exportClip,
  exportTextEncoder,
  symmetricContrast,
  towersOf,
} from "./clip.ts";
import {
  captionOf,
  type Drawing,
  drawMosaics,
  mosaicGrid,
  mosaicSize,
  picturesPerMosaic,
  stuffSubjects,
  type Subject,
  targets,
} from "./clip_batches.ts";
import { openRun } from "./open_run.ts";
import type { ClipTextConfig } from "./train_config.ts";
import { type RunOptions, type RunResult, train } from "./trainer.ts";

/** Mosaics that the image tower encodes at once. */
const mosaicsAtOnce = 8;

const numbers = async (tensor: Tensor | undefined) => await tensor!.read() as Float32Array;

/**
 * What drawings of each subject have in common: the mean of their unit embeddings, as a unit row.
 *
 * @param subjects The categories first, then the textures.
 * @param views Drawings of a category in each training style.
 * @returns S×D.
 */
async function subjectEmbeddings(
  { imageEncoder }: ClipModels,
  engine: Engine,
  universe: readonly EmojiCategory[],
  views: number,
  rng: Rng,
): Promise<Float32Array> {
  const sprites = await SpriteStore.open({ styles: trainingStyles });
  const drawings: Drawing[] = [];
  for (let view = 0; view < views; view++) {
    for (const style of trainingStyles) {
      drawings.push(...universe.map((category) => ({ category, style })));
      drawings.push(...stuffSubjects.map(() => null));
    }
  }
  rng.shuffle(drawings);
  const rowOf = new Map<Subject, number>(
    [...universe, ...stuffSubjects].map((subject, row) => [subject, row]),
  );
  const session = await engine.load(imageEncoder);
  let sums: Float32Array | null = null;
  const perRun = mosaicsAtOnce * picturesPerMosaic;
  for (let first = 0; first < drawings.length; first += perRun) {
    const part = drawings.slice(first, first + perRun);
    // The last mosaics are filled up; what is drawn twice counts twice.
    while (part.length < perRun) part.push(rng.pick(drawings));
    const { images, pool, subjects } = drawMosaics(rng, part, sprites);
    const outputs = await session.run({
      image: float32([mosaicsAtOnce, 3, mosaicSize, mosaicSize], images),
    });
    const features = await numbers(outputs["features"]);
    const cells = mosaicGrid ** 2;
    const size = features.length / mosaicsAtOnce / cells;
    sums ??= new Float32Array(rowOf.size * size);
    const row = new Float64Array(size);
    for (const [i, subject] of subjects.entries()) {
      const map = features.subarray(Math.floor(i / picturesPerMosaic) * size * cells);
      const weights = pool.subarray(i * cells, (i + 1) * cells);
      row.fill(0);
      weights.forEach((weight, cell) => {
        if (weight === 0) return;
        for (let d = 0; d < size; d++) row[d]! += weight * map[d * cells + cell]!;
      });
      const length = Math.hypot(...row) || 1;
      const at = rowOf.get(subject)! * size;
      for (let d = 0; d < size; d++) sums[at + d]! += row[d]! / length;
    }
  }
  await session.dispose();
  return unitRows(sums!, sums!.length / rowOf.size);
}

function unitRows(rows: Float32Array, size: number): Float32Array {
  for (let at = 0; at < rows.length; at += size) {
    const length = Math.hypot(...rows.subarray(at, at + size)) || 1;
    for (let d = 0; d < size; d++) rows[at + d]! /= length;
  }
  return rows;
}

/** Symmetric contrast with the subjects' embeddings, and their cosine distance. */
function textLoss(scope: ParameterScope, config: ClipTextConfig, tower: TextEncoderConfig) {
  const { graph } = scope;
  const { batch, data: { captionLength } } = config;
  const tokens = graph.input("tokens", [batch, captionLength], "int64");
  const mask = graph.input("mask", [batch, captionLength]);
  const subjects = graph.input("subjects", [batch, tower.jointSize]);
  const captionTargets = graph.input("captionTargets", [batch, batch]);
  const pictureTargets = graph.input("pictureTargets", [batch, batch]);
  const texts = textEncoder(scope.scope("text"), tokens, mask, tower);
  const logScale = scope.parameter("logScale", [1], { constant: 0 });
  const scale = ops.exp(ops.min(logScale, Math.log(100)));
  const logits = ops.mul(ops.matMul(subjects, ops.transpose(texts, [1, 0])), scale);
  const contrast = symmetricContrast(logits, captionTargets, pictureTargets);
  const cosine = ops.reduceSum(ops.mul(subjects, texts), [1]);
  const distance = ops.sub(1, ops.mul(ops.reduceSum(cosine), 1 / batch));
  const loss = ops.add(contrast, ops.mul(distance, config.loss.distance));
  return { loss, contrast, distance, scale };
}

function layoutOf(config: ClipTextConfig, tower: TextEncoderConfig): ParameterLayout {
  return ParameterLayout.of(
    new Graph("layout"),
    (scope) => void textLoss(scope, config, tower),
  );
}

/**
 * Tunes the text tower into the folder `config.out`.
 *
 * @throws {ModelError} If there is no run of stage "clip" in `config.clip`.
 * @throws As {@linkcode train}.
 */
export async function trainClipText(
  config: ClipTextConfig,
  options: RunOptions = {},
): Promise<RunResult> {
  const base = await openRun(config.clip, "clip");
  const tower = towersOf(base.config).text;
  const layout = layoutOf(config, tower);
  const known = clipLayout(base.config);
  const params = new Float32Array(layout.size);
  for (const { name, shape, offset } of layout.entries) {
    const from = known.find(name, shape).offset;
    params.set(base.params.subarray(from, from + sizeOf(shape)), offset);
  }

  const engine = await ortNodeEngine({ threads: config.threads });
  const models = await exportClip(config.clip);
  const universe = emojiUniverse();
  const subjects: readonly Subject[] = [...universe, ...stuffSubjects];
  const { batch, views, data: { captionLength } } = config;
  options.onNote?.(`clip-text: ${layout.size} parameters, ${batch} of ${subjects.length} subjects`);
  const rng = new Rng(config.seed);
  const rows = await subjectEmbeddings(models, engine, universe, views, rng.fork(0));
  const size = tower.jointSize;
  const tokenizer = BpeTokenizer.fromJSON(JSON.parse(models.tokenizer));

  const graph = new Graph("clip_text_step");
  const flat = layout.scopeOver(graph.input("parameters", [layout.size]));
  const { loss, ...figures } = textLoss(flat.scope, config, tower);
  graph.output("loss", loss);
  for (const [name, value] of Object.entries(figures)) graph.output(name, value);
  graph.output("gradient", flat.flatten(gradients(loss, flat.pieces)));
  const session = await engine.load(graph.toOnnx());
  const batches = rng.fork(1);
  const all = [...subjects.keys()];
  try {
    return await train({
      config,
      circumstances: { clip: base.step },
      params,
      decayMask: layout.decayMask(),
      samples: batch,
      async step(step) {
        const rng = batches.fork(step);
        const chosen = rng.shuffle([...all]).slice(0, batch);
        const shown = chosen.map((i) => subjects[i]!);
        const captions = shown.map((subject) => captionOf(subject, rng));
        const { captionTargets, pictureTargets } = targets(shown, captions);
        const picked = new Float32Array(batch * size);
        chosen.forEach((i, k) => picked.set(rows.subarray(i * size, (i + 1) * size), k * size));
        const outputs = await session.run({
          parameters: float32([layout.size], params),
          subjects: float32([batch, size], picked),
          captionTargets: float32([batch, batch], captionTargets),
          pictureTargets: float32([batch, batch], pictureTargets),
          ...tokenizer.encodeBatch(captions, captionLength, captionLength),
        });
        const metrics: Record<string, number> = {};
        for (const name of ["loss", "contrast", "distance", "scale"]) {
          metrics[name] = (await numbers(outputs[name]))[0]!;
        }
        return { grads: await numbers(outputs["gradient"]), metrics };
      },
    }, options);
  } finally {
    await session.dispose();
  }
}

/**
 * Exports a run's text tower beside the image tower that it was tuned against.
 *
 * @param dir The run's folder.
 * @throws {ModelError} If there is no checkpoint of stage "clip-text", or none of its image tower.
 */
export async function exportClipText(dir: string): Promise<ClipModels> {
  const { config, params } = await openRun(dir, "clip-text");
  const base = await openRun(config.clip, "clip");
  const tower = towersOf(base.config).text;
  const layout = layoutOf(config, tower);
  const models = await exportClip(config.clip);
  const { offset } = layout.find("logScale", [1]);
  return {
    ...models,
    textEncoder: exportTextEncoder(layout, params, tower),
    logitScale: Math.exp(Math.min(params[offset]!, Math.log(100))),
  };
}
