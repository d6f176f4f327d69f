/**
 * What defines a run of training: one JSON document, and its schema.
 *
 * @module
 */
import { z } from "zod";
import { InputError } from "../../lib/errors.ts";
import { configErrors } from "./config_errors.ts";

const count = z.int().min(1).max(2 ** 31 - 1);
const positive = z.number().gt(0);
const weight = z.number().min(0);

const cosine = z.strictObject({
  kind: z.literal("cosine").describe("linear warm-up, then half a cosine"),
  steps: count.describe("steps of this cycle"),
  peak: positive.describe("highest learning rate"),
  warmup: z.int().min(0).default(0).describe("steps of linear warm-up, at most `steps`"),
  final: weight.default(0).describe("the rate that the cycle ends on, at most `peak`"),
});

const polynomial = z.strictObject({
  ...cosine.shape,
  kind: z.literal("polynomial").describe("linear warm-up, then a power of what is left"),
  power: positive.default(0.9).describe("exponent of the decay; 1 is linear"),
});

const common = {
  out: z.string().min(1).describe(
    "folder of the run: checkpoints, metrics.jsonl, plot.svg, config.json",
  ),
  seed: z.int().min(0).max(2 ** 32 - 1).describe("of the parameters and of every batch"),
  microBatches: count.default(1).describe(
    "pieces that a batch is computed in, to save memory; must divide `batch`",
  ),
  schedule: z.array(z.discriminatedUnion("kind", [cosine, polynomial])).min(1).describe(
    "cycles of the learning rate, one after another; their steps add up to the run's",
  ),
  optimizer: z.strictObject({
    betas: z.tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)]).default([0.9, 0.98])
      .describe("decay of AdamW's two moments"),
    epsilon: positive.default(1e-8).describe("added to AdamW's denominator"),
    weightDecay: weight.default(0.05).describe("decoupled weight decay of matrices"),
    clipNorm: positive.default(1).describe("global norm that gradients are clipped to"),
  }).prefault({}).describe("AdamW"),
  checkpoint: z.strictObject({
    every: count.default(100).describe("steps between checkpoints"),
    keep: count.default(2).describe("checkpoints that are kept, the newest ones"),
  }).prefault({}).describe("what is saved"),
  log: z.strictObject({
    every: count.default(50).describe("steps that a line of metrics.jsonl is the mean of"),
  }).prefault({}).describe("what is logged"),
  divergence: z.number().min(0).default(10).describe(
    "the run stops where the smoothed loss is so many times its least; 0 never stops it",
  ),
  threads: count.default(2).describe("threads inside one operator"),
};

const validation = (size: number, unit: string) =>
  z.strictObject({
    every: z.int().min(0).default(0).describe("steps between validations; 0 for none"),
    size: count.default(size).describe(unit),
  }).prefault({}).describe("figures on data that training doesn't see");

const jointSize = count.default(128).describe("D, size of the joint image-text space");

const clip = z.strictObject({
  stage: z.literal("clip").describe("image and text tower, contrastively"),
  ...common,
  batch: count.describe("mosaics in a batch, of 13 captioned pictures each"),
  data: z.strictObject({
    kind: z.literal("emoji-mosaics").describe("pictures of the whole emoji universe"),
    captionLength: count.default(12).describe("subwords that captions are cut to"),
  }).prefault({ kind: "emoji-mosaics" }).describe("what is trained on"),
  network: z.strictObject({
    image: z.strictObject({
      stemWidth: count.default(32).describe("channels at half the image's size"),
      widths: z.tuple([count, count]).default([64, 128]).describe(
        "channels at a quarter and at an eighth of the image's size",
      ),
      depths: z.tuple([count, count]).default([1, 5]).describe("blocks at each of them"),
    }).prefault({}).describe("the image tower"),
    text: z.strictObject({
      vocabularySize: z.int().min(258).default(2048).describe("most subwords"),
      maxLength: count.default(24).describe("the longest text, in subwords"),
      width: count.default(128).describe("channels of a token; a multiple of `heads`"),
      depth: count.default(2).describe("transformer blocks"),
      heads: count.default(4).describe("heads of each block"),
    }).prefault({}).describe("the text tower"),
    jointSize,
  }).prefault({}).describe("sizes of the towers"),
  loss: z.strictObject({
    temperature: positive.default(0.07).describe("the first temperature; it is learned"),
    twins: weight.default(1).describe(
      "weight of the contrast between drawings of the same thing by different hands",
    ),
  }).prefault({}).describe("symmetric contrastive loss"),
  validation: validation(64, "mosaics to validate on"),
});

const clipText = z.strictObject({
  stage: z.literal("clip-text").describe("the text tower alone, against a finished image tower"),
  ...common,
  microBatches: z.literal(1).default(1).describe("always 1: a batch is one contrast"),
  batch: count.describe("subjects in a batch, each with one caption"),
  clip: z.string().min(1).describe('folder of a run of stage "clip"'),
  views: count.default(8).describe(
    "drawings of a subject in each style, whose mean embedding its captions are to have",
  ),
  data: z.strictObject({
    captionLength: count.default(12).describe("subwords that captions are cut to"),
  }).prefault({}).describe("what is trained on"),
  loss: z.strictObject({
    distance: weight.default(1).describe(
      "weight of the cosine distance between a caption and its subject, beside the contrast",
    ),
  }).prefault({}).describe("symmetric contrastive loss"),
  validation: validation(1, "not used"),
});

const clipImage = z.strictObject({
  stage: z.literal("clip-image").describe(
    "the image tower alone, against finished texts, on pictures that are in each other's way",
  ),
  ...common,
  microBatches: z.literal(1).default(1).describe("always 1: a batch is one contrast"),
  batch: count.describe("crowds in a batch, of 9 pictures over 2 grounds each"),
  clip: z.string().min(1).describe('folder of a run of stage "clip-text"'),
  loss: z.strictObject({
    twins: weight.default(1).describe(
      "weight of the contrast between drawings of the same thing by different hands",
    ),
  }).prefault({}).describe("cross-entropy among all names"),
  validation: validation(1, "not used"),
});

const segments = {
  size: z.int().min(32).max(4096).default(128).describe(
    "side of a training image in pixels, a multiple of 16",
  ),
  maxSegments: count.default(12).describe("most segments of an image; the smallest are left out"),
};

const emojiScenes = z.strictObject({
  kind: z.literal("emoji-scenes").describe("rendered scenes of the 171 training categories"),
  othersShare: z.number().min(0).max(1).default(0.15).describe(
    "share of objects that have no class, and of which only the mask is learned",
  ),
  ...segments,
});

const folder = z.strictObject({
  kind: z.literal("folder").describe("images and label PNGs of your own"),
  path: z.string().min(1).describe("the folder with images and labels"),
  classes: z.union([
    z.string().min(1),
    z.array(z.string().min(1)).min(1),
  ]).describe("class names in the order of the label values, or a file with them"),
  ignoreLabel: z.int().min(0).max(65535).default(255).describe("label value that counts nowhere"),
  reduceZeroLabel: z.boolean().default(false).describe(
    "label 0 counts nowhere, and 1 is the first class",
  ),
  imageSuffix: z.string().default("").describe(
    "how image files end, .jpg, .jpeg, .png or .webp where empty",
  ),
  labelSuffix: z.string().min(1).default(".png").describe("how label files end"),
  scale: z.tuple([positive, positive]).default([0.5, 2]).describe(
    "least and greatest random enlargement; 1 fits the shorter side",
  ),
  flip: z.boolean().default(true).describe("mirror half of the images"),
  ...segments,
});

const learnedFuser = {
  depth: count.default(1).describe("blocks"),
  heads: count.default(4).describe("heads of each block; must divide D"),
};

const fuser = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("self_attention").describe("pooled and query embeddings attend to all"),
    ...learnedFuser,
  }),
  z.strictObject({
    kind: z.literal("cross_attention").describe("query embeddings attend to pooled ones"),
    ...learnedFuser,
  }),
  z.strictObject({
    kind: z.literal("gfa").describe("no weights; the decoder is trained through the kernel"),
    omega: z.number().gt(0).lt(1).default(0.1).describe("how far fusion goes"),
    lambda: positive.max(1e6).default(3).describe("how sharp the affinity is"),
  }),
]);

const ovsnet = z.strictObject({
  stage: z.literal("ovsnet").describe("the mask decoder, over frozen towers"),
  ...common,
  batch: count.describe("images in a batch"),
  encoder: z.string().min(1).default("shipped").describe(
    'the towers: folder of a run of one of CLIP\'s stages, folder of model files, or "shipped"',
  ),
  data: z.discriminatedUnion("kind", [emojiScenes, folder]).describe("what is trained on"),
  network: z.strictObject({
    numQueries: count.default(32).describe("N, at least `data.maxSegments`"),
    width: count.default(128).describe("channels of queries and pixels; a multiple of `heads`"),
    heads: count.default(4).describe("heads of every attention"),
    pixelDepth: z.int().min(0).default(2).describe("blocks of the pixel decoder"),
    depth: count.default(4).describe("layers of the transformer decoder"),
    maskWidth: count.default(48).describe("channels of the mask features"),
  }).prefault({}).describe("sizes of the decoder"),
  fuser: fuser.optional().describe("a fuser that is trained with the decoder; none if left out"),
  loss: z.strictObject({
    mask: weight.default(5).describe("weight of the masks' cross-entropy"),
    dice: weight.default(5).describe("weight of the masks' dice loss"),
    class: weight.default(2).describe("weight of the classes' cross-entropy"),
    noObject: positive.max(1).default(0.1).describe('how much "no object" counts in it'),
    fused: weight.default(2).describe("weight of the fused embeddings' class cross-entropy"),
    proxyQuery: weight.default(1).describe("weight of Proxy Calibration's L_PQ"),
    proxyClip: weight.default(1).describe("weight of Proxy Calibration's L_PC"),
    gamma: positive.default(2).describe("γ of Proxy Calibration's Beta(γ, γ)"),
    points: z.strictObject({
      count: z.int().min(4).describe("points per mask"),
      oversample: z.number().min(1).default(3).describe("candidates per point"),
      importance: z.number().min(0).max(1).default(0.75).describe(
        "share of the points that are the most uncertain candidates",
      ),
    }).optional().describe("mask losses at sampled points; at every cell if left out"),
  }).prefault({}).describe("terms of the loss"),
  kernels: z.enum(["cpu", "webgpu", "auto"]).default("cpu").describe(
    "where mask pooling and GFA compute forward and gradient; auto is webgpu on a real GPU",
  ),
  validation: validation(50, "images to validate on"),
});

/** The schema of a run. */
export const trainSchema = z.discriminatedUnion("stage", [clip, clipText, clipImage, ovsnet]);

/** A run of the stage "clip", with every field filled in. */
export type ClipConfig = z.output<typeof clip>;
/** A run of the stage "clip-text", with every field filled in. */
export type ClipTextConfig = z.output<typeof clipText>;
/** A run of the stage "clip-image", with every field filled in. */
export type ClipImageConfig = z.output<typeof clipImage>;
/** A run of the stage "ovsnet", with every field filled in. */
export type OvsnetConfig = z.output<typeof ovsnet>;
/** A run of any stage, with every field filled in. */
export type TrainConfig = ClipConfig | ClipTextConfig | ClipImageConfig | OvsnetConfig;
/** A run as people write it: fields with a default may be left out. */
export type TrainConfigInput = z.input<typeof trainSchema>;
/** Rendered scenes as training data. */
export type EmojiScenesConfig = z.output<typeof emojiScenes>;
/** A folder as training data. */
export type FolderConfig = z.output<typeof folder>;
/** The points of the mask losses. */
export type PointsConfig = NonNullable<OvsnetConfig["loss"]["points"]>;
/** One cycle of the learning rate. */
export type CycleConfig = TrainConfig["schedule"][number];

/** The schema as JSON Schema (2020-12), for editors. */
export function trainJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(trainSchema, { io: "input" }) as Record<string, unknown>;
}

/** The steps of all cycles. */
export function totalSteps({ schedule }: Pick<TrainConfig, "schedule">): number {
  return schedule.reduce((sum, { steps }) => sum + steps, 0);
}

/** What no single field can say. */
function* relations(config: TrainConfig): Generator<string> {
  const { batch, microBatches } = config;
  if (batch % microBatches !== 0) {
    yield `microBatches is ${microBatches}; it must divide batch, ${batch}`;
  }
  for (const [i, { steps, warmup, peak, final }] of config.schedule.entries()) {
    if (warmup > steps) {
      yield `schedule[${i}].warmup is ${warmup}; it must be at most its steps, ${steps}`;
    }
    if (final > peak) {
      yield `schedule[${i}].final is ${final}; it must be at most its peak, ${peak}`;
    }
  }
  if (config.stage === "clip-text" || config.stage === "clip-image") return;
  const towers = config.stage === "clip"
    ? { "network.text": config.network.text }
    : { network: config.network };
  for (const [path, { width, heads }] of Object.entries(towers)) {
    if (width % heads !== 0) {
      yield `${path}.width is ${width}; it must be a multiple of its heads, ${heads}`;
    }
  }
  if (config.stage === "clip") {
    const { data: { captionLength }, network: { text } } = config;
    if (captionLength > text.maxLength) {
      yield `data.captionLength is ${captionLength}; it must be at most network.text.maxLength, ` +
        `${text.maxLength}`;
    }
    return;
  }
  const { data, network } = config;
  if (data.size % 16 !== 0) yield `data.size is ${data.size}; it must be a multiple of 16`;
  if (network.numQueries < data.maxSegments) {
    yield `network.numQueries is ${network.numQueries}; it must be at least data.maxSegments, ` +
      `${data.maxSegments}`;
  }
  if (data.kind === "folder" && data.scale[0] > data.scale[1]) {
    yield `data.scale is ${data.scale.join(" to ")}; the least must come first`;
  }
}

/**
 * Checks a document and fills in its defaults.
 *
 * @param document What a JSON file holds.
 * @param where What to call it in messages, such as its path.
 * @throws {InputError} If a field is unknown, missing or outside its domain; names every such field.
 *
 * @example
 * ```ts
 * import { readTrainConfig } from "./train_config.ts";
 * const config = readTrainConfig({
 *   stage: "clip",
 *   out: "runs/clip",
 *   seed: 1,
 *   batch: 16,
 *   schedule: [{ kind: "cosine", steps: 1000, peak: 1e-3 }],
 * }, "clip.json");
 * console.log(config.optimizer.weightDecay); // 0.05
 * ```
 */
export function readTrainConfig(document: unknown, where: string): TrainConfig {
  const { success, data, error } = trainSchema.safeParse(document);
  const faults = success
    ? [...relations(data)]
    : configErrors(error.issues, document, trainJsonSchema());
  if (faults.length > 0) throw new InputError(`${where}: ${faults.join("; ")}`);
  return data!;
}

/**
 * Reads a config from JSON text; see {@linkcode readTrainConfig}.
 *
 * @throws {InputError} If the text is no JSON, or as {@linkcode readTrainConfig}.
 */
export function parseTrainConfig(text: string, where: string): TrainConfig {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw new InputError(`${where}: is no valid JSON: ${(cause as Error).message}`, { cause });
  }
  return readTrainConfig(document, where);
}
