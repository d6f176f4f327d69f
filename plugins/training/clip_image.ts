/**
 * Tuning of the image tower against finished texts, on pictures as scenes have them: of any size,
 * turned, in each other's way.
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
import { float32, HostTensor, sizeOf, type Tensor } from "../../lib/tensor.ts";
import { SpriteStore } from "../datasets/emoji_scenes/sprites.ts";
import { emojiUniverse, trainingStyles } from "../datasets/emoji_scenes/universe.ts";
import { imageEncoder, type ImageEncoderConfig } from "../networks/image_encoder.ts";
import { ortNodeEngine } from "../runtimes/ort_node.ts";
import {
  clipLayout,
  type ClipModels,
  exportImageEncoder,
  towersOf,
  twinContrast,
  withStatistics,
} from "./clip.ts";
import { choosePairs, mosaicGrid, mosaicSize, stuffSubjects } from "./clip_batches.ts";
import { exportClipText } from "./clip_text.ts";
import { type CrowdBatch, drawCrowds, drawingsPerCrowd, picturesPerCrowd } from "./crowds.ts";
import { embedNames } from "./embed_names.ts";
import { openRun } from "./open_run.ts";
import type { ClipImageConfig } from "./train_config.ts";
import { type RunOptions, type RunResult, train } from "./trainer.ts";

const numbers = async (tensor: Tensor | undefined) => await tensor!.read() as Float32Array;

/** Cross-entropy of each picture among all names, and the contrast with its twins. */
function imageLoss(
  scope: ParameterScope,
  { batch, loss: { twins: twinWeight } }: ClipImageConfig,
  tower: ImageEncoderConfig,
  numNames: number,
  logitScale: number,
) {
  const { graph } = scope;
  const { jointSize } = tower;
  const count = batch * picturesPerCrowd;
  const image = graph.input("image", [batch, 3, mosaicSize, mosaicSize]);
  const pool = graph.input("pool", [batch, picturesPerCrowd, mosaicGrid ** 2]);
  const names = graph.input("names", [numNames, jointSize]);
  const labels = graph.input("labels", [count, 1], "int64");
  const shares = graph.input("shares", [count, 1]);
  const twinTargets = graph.input("twinTargets", [count, count]);
  const { features } = imageEncoder(scope.scope("image"), image, tower);
  const flat = ops.reshape(features, [batch, jointSize, mosaicGrid ** 2]);
  const rows = ops.matMul(pool, ops.transpose(flat, [0, 2, 1]));
  const pictures = ops.l2Normalize(ops.reshape(rows, [count, jointSize]), -1, 1e-6);
  const scaleOf = (name: string) =>
    ops.exp(ops.min(
      scope.parameter(name, [1], { constant: Math.log(logitScale) }),
      Math.log(100),
    ));
  const scale = scaleOf("logScale");
  const logits = ops.mul(ops.matMul(pictures, ops.transpose(names, [1, 0])), scale);
  const right = ops.gatherElements(ops.logSoftmax(logits, 1), labels, 1);
  const naming = ops.neg(ops.reduceSum(ops.mul(right, shares)));
  const twin = twinContrast(pictures, twinTargets, scaleOf("twinLogScale"));
  const loss = ops.add(naming, ops.mul(twin, twinWeight));
  return { loss, naming, twin, scale, best: ops.argMax(logits, 1) };
}

/** The run whose texts stay, and the image tower that is tuned. */
async function openBase({ clip }: ClipImageConfig) {
  const text = await openRun(clip, "clip-text");
  const base = await openRun(text.config.clip, "clip");
  const towers = await exportClipText(clip);
  return { step: text.step, base, towers, tower: towersOf(base.config).image };
}

function layoutOf(
  config: ClipImageConfig,
  tower: ImageEncoderConfig,
  numNames: number,
  logitScale: number,
): ParameterLayout {
  return ParameterLayout.of(
    new Graph("layout"),
    (scope) => void imageLoss(scope, config, tower, numNames, logitScale),
  );
}

/** The names in the order of a crowd's labels. */
const subjectNames = () =>
  [...emojiUniverse(), ...stuffSubjects].map(({ captions }) => captions[0]!);

/** The other drawings of the same thing that can be seen, as shares. */
function twinsOf({ labels, shown }: CrowdBatch): Float32Array {
  const count = labels.length;
  const targets = new Float32Array(count * count);
  for (let i = 0; i < count; i++) {
    if (shown[i] === 0) continue;
    const twins: number[] = [];
    for (let j = 0; j < count; j++) {
      if (j !== i && labels[j] === labels[i] && shown[j] === 1) twins.push(j);
    }
    for (const j of twins) targets[i * count + j] = 1 / twins.length;
  }
  return targets;
}

/**
 * Tunes the image tower into the folder `config.out`.
 *
 * @throws {ModelError} If there is no run of stage "clip-text" in `config.clip`.
 * @throws As {@linkcode train}.
 */
export async function trainClipImage(
  config: ClipImageConfig,
  options: RunOptions = {},
): Promise<RunResult> {
  const { step: textStep, base, towers, tower } = await openBase(config);
  const engine = await ortNodeEngine({ threads: config.threads });
  const names = await embedNames(towers, subjectNames(), engine);
  const numNames = names.shape[0]!;
  const layout = layoutOf(config, tower, numNames, towers.logitScale);
  const known = clipLayout(base.config);
  const trained = withStatistics(base.params, known, base.config);
  const params = layout.initialize(new Rng(config.seed));
  for (const { name, shape, offset } of layout.entries) {
    if (!name.startsWith("image.")) continue;
    const from = known.find(name, shape).offset;
    params.set(trained.subarray(from, from + sizeOf(shape)), offset);
  }

  const graph = new Graph("clip_image_step");
  const flat = layout.scopeOver(graph.input("parameters", [layout.size]));
  const { loss, ...figures } = imageLoss(flat.scope, config, tower, numNames, towers.logitScale);
  graph.output("loss", loss);
  for (const [name, value] of Object.entries(figures)) graph.output(name, value);
  graph.output("gradient", flat.flatten(gradients(loss, flat.pieces)));
  const session = await engine.load(graph.toOnnx());
  const universe = emojiUniverse();
  const sprites = await SpriteStore.open({ styles: trainingStyles });
  const { batch } = config;
  const count = batch * picturesPerCrowd;
  options.onNote?.(`clip-image: ${layout.size} parameters, ${count} pictures a step`);
  const batches = new Rng(config.seed).fork(1);
  try {
    return await train({
      config,
      circumstances: { clip: textStep },
      params,
      decayMask: layout.decayMask(),
      samples: count,
      async step(step) {
        const rng = batches.fork(step);
        const drawings = rng.shuffle(choosePairs(batch * drawingsPerCrowd, universe, rng));
        const crowds = drawCrowds(rng, drawings, universe.length, sprites);
        const { labels, shown } = crowds;
        const seen = shown.reduce((sum, one) => sum + one, 0);
        const outputs = await session.run({
          parameters: float32([layout.size], params),
          image: float32([batch, 3, mosaicSize, mosaicSize], crowds.images),
          pool: float32([batch, picturesPerCrowd, mosaicGrid ** 2], crowds.pool),
          names,
          labels: new HostTensor("int64", [count, 1], BigInt64Array.from(labels, BigInt)),
          shares: float32([count, 1], shown.map((one) => one / seen)),
          twinTargets: float32([count, count], twinsOf(crowds)),
        });
        const best = await outputs["best"]!.read();
        const right = labels.reduce(
          (sum, label, i) => sum + (shown[i] === 1 && Number(best[i]) === label ? 1 : 0),
          0,
        );
        const metrics: Record<string, number> = { accuracy: right / seen };
        for (const name of ["loss", "naming", "twin", "scale"]) {
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
 * Exports a run's image tower beside the text tower that it was tuned against.
 *
 * @param dir The run's folder.
 * @throws {ModelError} If there is no checkpoint of stage "clip-image", or none of the runs before.
 */
export async function exportClipImage(dir: string): Promise<ClipModels> {
  const { config, params } = await openRun(dir, "clip-image");
  const { towers, tower } = await openBase(config);
  const layout = layoutOf(config, tower, subjectNames().length, towers.logitScale);
  const { offset } = layout.find("logScale", [1]);
  return {
    ...towers,
    imageEncoder: exportImageEncoder(layout, params, tower),
    logitScale: Math.exp(Math.min(params[offset]!, Math.log(100))),
  };
}
