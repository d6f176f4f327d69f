/**
 * Training of the mask decoder over the frozen CLIP: Mask2Former's losses after Hungarian matching,
 * Proxy Calibration (OVSNet, section 3), and perhaps a fuser.
 *
 * @module
 */
import { Graph, type ParameterLayout } from "../../lib/graph/mod.ts";
import { ConfusionMatrix } from "../../lib/metrics/confusion_matrix.ts";
import { Rng } from "../../lib/rng.ts";
import type { Device } from "../../lib/runtime.ts";
import { modelsIn } from "../../lib/stages/models.ts";
import { vocabulary } from "../../lib/stages/vocabulary.ts";
import { openPipeline } from "../methods/open_pipeline.ts";
import { ovsnetDocument } from "../methods/ovsnet.ts";
import { acquireDevice } from "../runtimes/mod.ts";
import { attentionFuser } from "../networks/attention_fuser.ts";
import { maskDecoder } from "../networks/mask_decoder.ts";
import { ortNodeEngine } from "../runtimes/ort_node.ts";
import { decoderConfig, learnedFuser } from "./decoder_loss.ts";
import { decoderLayout, DecoderStep, towerSizes } from "./decoder_step.ts";
import { openFolderData } from "./folder_batches.ts";
import { openRun } from "./open_run.ts";
import { openSceneData } from "./scene_batches.ts";
import type { SegmentData } from "./segment_batches.ts";
import { openTowers, type Towers, towersFingerprint } from "./towers.ts";
import type { OvsnetConfig } from "./train_config.ts";
import { type RunOptions, type RunResult, train } from "./trainer.ts";

/** The device of the kernels; the networks of training run on the CPU in any case. */
async function kernelDevice(config: OvsnetConfig): Promise<Device> {
  return await acquireDevice(config.kernels, { networks: "cpu", threads: config.threads });
}

function openData(config: OvsnetConfig, isFresh: boolean): Promise<SegmentData> {
  const { data } = config;
  return data.kind === "folder"
    ? openFolderData(data, { validates: config.validation.every > 0, verify: isFresh })
    : openSceneData(data);
}

/**
 * Segments images that training doesn't see, by the pipeline that users will have.
 *
 * @returns mIoU of the queries alone, and with the fuser if there is one; from 0 to 1.
 */
async function validate(
  config: OvsnetConfig,
  models: Readonly<Record<string, Uint8Array>>,
  data: SegmentData,
  device: Device,
): Promise<Record<string, number>> {
  const { fuser } = config;
  const count = Math.min(config.validation.size, data.validationImages);
  const figures: Record<string, number> = {};
  const gfa = fuser?.kind === "gfa" ? { omega: fuser.omega, lambda: fuser.lambda } : {};
  for (const name of ["query", ...(fuser === undefined ? [] : [fuser.kind])]) {
    const document = ovsnetDocument({
      fuser: name,
      inputSize: config.data.size,
      ...(name === "gfa" ? gfa : {}),
    });
    await using pipeline = await openPipeline(document, { device, models: modelsIn(models) });
    const matrix = new ConfusionMatrix(data.names.length, { ignoreLabel: -1 });
    for (let i = 0; i < count; i++) {
      const { image, labels } = await data.validationImage(i);
      using result = await pipeline.run({ image, vocabulary: vocabulary(data.names) }, {
        outputs: ["segmentation"],
      });
      matrix.add(labels, await result.outputs.segmentation!.labels.read());
    }
    figures[name === "query" ? "mIoU" : `mIoU with ${name}`] = matrix.meanIou();
  }
  return figures;
}

/**
 * Trains the decoder into the folder `config.out`.
 *
 * @throws {InputError} If something is wrong with the data.
 * @throws {ModelError} If there are no such towers.
 * @throws As {@linkcode train}.
 */
export async function trainOvsnet(
  config: OvsnetConfig,
  options: RunOptions = {},
): Promise<RunResult> {
  const towers = await openTowers(config.encoder);
  const data = await openData(config, options.resume !== true);
  await using device = await kernelDevice(config) as Device & AsyncDisposable;
  await using host = await acquireDevice("cpu", { threads: config.threads });
  const step = await DecoderStep.open(config, towers, data, device);
  const { layout } = step;
  const params = layout.initialize(new Rng(config.seed));
  const seeds = new Rng(config.seed).fork(1);
  options.onNote?.(`ovsnet: ${layout.size} parameters, ${config.batch} images a step`);
  options.onNote?.(`kernels: ${device.description}`);
  try {
    return await train({
      config,
      circumstances: {
        towers: towersFingerprint(towers),
        data: data.fingerprint,
        kernels: device.gpu === null ? "cpu" : "webgpu",
      },
      params,
      decayMask: layout.decayMask(),
      samples: config.batch,
      async step(number) {
        const rng = seeds.fork(number);
        return await step.gradient(params, await data.batch(rng, config.batch), rng);
      },
      async validate() {
        const models = exportFiles(await exportDecoder(config, towers, data.names, layout, params));
        return await validate(config, { ...towerFiles(towers), ...models }, data, host);
      },
    }, options);
  } finally {
    await step.dispose();
  }
}

/** What the decoder ships as. */
export interface OvsnetModels {
  /** `features`, `pyramid4` and `pyramid8` to `mask_logits` and `query_embeddings`. */
  maskDecoder: Uint8Array;
  /** The unit embedding of "no object". */
  voidEmbedding: number[];
  /** The learned inverse temperature of the class logits. */
  logitScale: number;
  /** The names that were trained on. */
  trained: readonly string[];
  /** A learned fuser: `pooled`, `empty` and `query` to `fused`; its file's name. */
  fuser: { readonly name: string; readonly model: Uint8Array } | null;
}

async function exportDecoder(
  config: OvsnetConfig,
  towers: Towers,
  names: readonly string[],
  layout: ParameterLayout,
  params: Float32Array,
): Promise<OvsnetModels> {
  const encoder = await (await ortNodeEngine()).load(towers.imageEncoder);
  const { jointSize, channels4, channels8 } = await towerSizes(encoder, config.data.size);
  await encoder.dispose();
  const graph = new Graph("mask_decoder");
  const scope = layout.scopeWith(graph, params);
  const { maskLogits, queryEmbeddings } = maskDecoder(scope, {
    features: graph.input("features", ["B", jointSize, "H/8", "W/8"]),
    pyramid4: graph.input("pyramid4", ["B", channels4, "H/4", "W/4"]),
    pyramid8: graph.input("pyramid8", ["B", channels8, "H/8", "W/8"]),
  }, decoderConfig(config, jointSize)).at(-1)!;
  graph.output("mask_logits", maskLogits);
  graph.output("query_embeddings", queryEmbeddings);

  const half = { parameterStorage: "float16" } as const;
  const { offset } = layout.find("voidEmbedding", [1, jointSize]);
  const raw = params.slice(offset, offset + jointSize);
  const norm = Math.hypot(...raw);
  const logScale = params[layout.find("logScale", [1]).offset]!;
  const learned = learnedFuser(config);
  return {
    maskDecoder: graph.toOnnx(half),
    voidEmbedding: Array.from(raw, (x) => Number((x / norm).toFixed(6))),
    logitScale: Math.exp(Math.min(logScale, Math.log(100))),
    trained: names,
    fuser: learned && {
      name: `${learned.kind}_fuser.onnx`,
      model: fuserGraph(config, layout, params, jointSize).toOnnx(half),
    },
  };
}

/** A learned fuser, with batch and number of masks left open. */
function fuserGraph(
  config: OvsnetConfig,
  layout: ParameterLayout,
  params: Float32Array,
  jointSize: number,
): Graph {
  const graph = new Graph("fuser");
  const pooled = graph.input("pooled", ["B", "N", jointSize]);
  const empty = graph.input("empty", ["B", "N"]);
  const query = graph.input("query", ["B", "N", jointSize]);
  const scope = layout.scopeWith(graph, params).scope("fuser");
  graph.output("fused", attentionFuser(scope, { pooled, empty, query }, learnedFuser(config)!));
  return graph;
}

/** The towers' files, by the names that stages look for. */
export function towerFiles(towers: Towers): Record<string, Uint8Array> {
  return {
    "image_encoder.onnx": towers.imageEncoder,
    "text_encoder.onnx": towers.textEncoder,
    "tokenizer.json": new TextEncoder().encode(towers.tokenizer),
  };
}

/** The decoder's files, by the names that stages look for. */
export function exportFiles(models: OvsnetModels): Record<string, Uint8Array> {
  const { maskDecoder, logitScale, voidEmbedding, trained, fuser } = models;
  const json = JSON.stringify({ logitScale, voidEmbedding, trained });
  return {
    "mask_decoder.onnx": maskDecoder,
    "ovsnet.json": new TextEncoder().encode(json),
    ...(fuser === null ? {} : { [fuser.name]: fuser.model }),
  };
}

/**
 * Exports a run's decoder, with batch and image size left open.
 *
 * @param dir The run's folder; its data and its towers must be where they were.
 * @returns The towers and the decoder.
 * @throws {ModelError} If there is no checkpoint of stage "ovsnet".
 */
export async function exportOvsnet(
  dir: string,
): Promise<{ towers: Towers; models: OvsnetModels }> {
  const { config, params } = await openRun(dir, "ovsnet");
  const towers = await openTowers(config.encoder);
  const { names, hasIgnored } = await openData(
    { ...config, validation: { every: 0, size: 1 } },
    false,
  );
  const encoder = await (await ortNodeEngine()).load(towers.imageEncoder);
  const sizes = {
    ...await towerSizes(encoder, config.data.size),
    images: 1,
    numClasses: names.length,
    hasIgnored,
  };
  await encoder.dispose();
  const layout = decoderLayout(config, sizes);
  return { towers, models: await exportDecoder(config, towers, names, layout, params) };
}
