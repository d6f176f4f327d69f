/**
 * Generated inputs of fusers: every slot that a fuser may need, with sizes that agree.
 *
 * @module
 */
import fc from "fast-check";
import type { Slots } from "../stages/slots.ts";
import { float32, HostTensor } from "../tensor.ts";
import { drawEmbeddings, type EmbeddingKind, embeddingKinds, startRows } from "./embeddings.ts";
import { drawFeatures } from "./features.ts";
import { drawMasks } from "./masks.ts";
import { permuteRows, reflection } from "./numbers.ts";
import { seeds, sizes } from "./sizes.ts";
import { drawText, drawVocabulary } from "./vocabularies.ts";

/** One run of a fuser, in a few numbers. */
export interface FuserCase {
  /** N */
  readonly masks: number;
  /** D */
  readonly channels: number;
  /** What is special about pooled features and query embeddings. */
  readonly kind: EmbeddingKind;
  /** Which masks hold no pixel. */
  readonly empty: "none" | "some" | "all";
  /** Of everything drawn. */
  readonly seed: number;
}

/**
 * Cases of fusers: N = 1, D = 1, identical and zero rows, masks without pixels among them. Huge and
 * tiny rows are 12 decades from 1, so that products of two rows stay within float32.
 */
export const fuserCases: fc.Arbitrary<FuserCase> = fc.record({
  masks: sizes(),
  channels: sizes(),
  kind: fc.constantFrom(...embeddingKinds),
  empty: fc.constantFrom("none", "none", "some", "all"),
  seed: seeds,
});

const extreme = 12;

/** A host tensor that notices when it is disposed of by somebody whom it was only lent. */
export class LentTensor<T extends "float32" | "uint8"> extends HostTensor<T> {
  /** How often it was disposed of. */
  disposals = 0;

  /** Counts. */
  override dispose(): void {
    this.disposals++;
  }
}

/** The slots that {@linkcode drawFuserInput} draws. */
export type FuserInput = Pick<
  Slots,
  | "image"
  | "vocabulary"
  | "text"
  | "features"
  | "pyramid"
  | "maskLogits"
  | "queryEmbeddings"
  | "pooled"
  | "classLogits"
>;

/** Their names. */
export const fuserInputNames: readonly (keyof FuserInput)[] = [
  "image",
  "vocabulary",
  "text",
  "features",
  "pyramid",
  "maskLogits",
  "queryEmbeddings",
  "pooled",
  "classLogits",
];

/** How {@linkcode drawFuserInput} changes what it draws. */
export interface FuserInputChange {
  /** Row n of everything per mask is row `order[n]` of what was drawn. */
  readonly order?: readonly number[];
  /** Everything in the joint space is reflected: {@linkcode reflectFuserRows}. */
  readonly reflected?: boolean;
}

/** The reflection of the joint space that belongs to a case. */
export function reflectFuserRows(c: FuserCase): (rows: Float32Array) => Float64Array {
  return reflection(c.channels, c.seed + 1);
}

function lent<T extends "float32" | "uint8">(tensor: HostTensor<T>): LentTensor<T> {
  return new LentTensor(tensor.dtype, tensor.shape, tensor.data);
}

/** Draws the inputs of a case: the same tensors whenever it is called, in memory of their own. */
export function drawFuserInput(c: FuserCase, change: FuserInputChange = {}): FuserInput {
  const { masks, channels, kind, seed } = c;
  const start = startRows(c);
  const { rng } = start;
  const embeddings = drawEmbeddings({ rows: masks, channels, kind, seed }, start, extreme);
  const queries = drawEmbeddings({ rows: masks, channels, kind, seed }, start, extreme);
  const flags = Uint8Array.from(
    { length: masks },
    () => Number(c.empty === "all" || c.empty === "some" && rng.integer(2) === 0),
  );
  flags.forEach((flag, n) => flag && embeddings.data.fill(0, n * channels, (n + 1) * channels));

  const spatial = rng.fork(1);
  const [height, width] = [1 + spatial.integer(4), 1 + spatial.integer(4)];
  const words = {
    names: 1 + spatial.integer(6),
    kind: "words",
    shrunk: spatial.integer(4) === 0,
    trained: spatial.integer(2) === 0,
    channels,
    text: "normal",
    seed,
  } as const;
  const vocabulary = drawVocabulary(words);
  const text = drawText(words);
  const features = drawFeatures({ channels, height, width, kind: "normal", seed }, spatial);
  const maskLogits = drawMasks(
    { masks, height: 2 * height, width: 2 * width, kind: "normal", seed },
    spatial,
  );
  const level = drawFeatures({ channels: 3, height, width, kind: "normal", seed }, spatial);
  const classLogits = drawEmbeddings(
    { rows: masks, channels: vocabulary.active.length + 1, kind: "normal", seed },
    startRows({ channels: vocabulary.active.length + 1, seed: seed + 2 }),
  );
  const rgb = Uint8Array.from({ length: 48 * height * width }, () => spatial.integer(256));

  const order = change.order ?? Array.from({ length: masks }, (_, n) => n);
  const map = change.reflected ? reflectFuserRows(c) : null;
  const rows = (tensor: HostTensor<"float32">) =>
    map === null ? tensor : float32(tensor.shape, Float32Array.from(map(tensor.data)));
  return {
    image: { height: 4 * height, width: 4 * width, rgb },
    vocabulary,
    text: lent(rows(text)),
    features: lent(map === null ? features : reflectPixels(features, map)),
    pyramid: [{ stride: 4, features: lent(level) }],
    maskLogits: lent(permuteRows(maskLogits, order)),
    queryEmbeddings: lent(permuteRows(rows(queries), order)),
    pooled: {
      embeddings: lent(permuteRows(rows(embeddings), order)),
      empty: lent(new HostTensor("uint8", [masks], Uint8Array.from(order, (n) => flags[n]!))),
    },
    classLogits: { logits: lent(permuteRows(classLogits, order)), hasVoid: true },
  };
}

/** Reflects the channels at every pixel of D×h×w. */
function reflectPixels(
  features: HostTensor<"float32">,
  map: (rows: Float32Array) => Float64Array,
): HostTensor<"float32"> {
  const channels = features.shape[0]!;
  const pixels = features.data.length / channels;
  const turned = map(Float32Array.from(
    features.data,
    (_, i) => features.data[(i % channels) * pixels + Math.floor(i / channels)]!,
  ));
  return float32(
    features.shape,
    Float32Array.from(turned, (_, i) => turned[(i % pixels) * channels + Math.floor(i / pixels)]!),
  );
}

/** The tensors in an input, by slot and field. */
export function fuserTensors(input: FuserInput): [string, LentTensor<"float32" | "uint8">][] {
  return [
    ["text", input.text],
    ["features", input.features],
    ["pyramid", input.pyramid[0]!.features],
    ["maskLogits", input.maskLogits],
    ["queryEmbeddings", input.queryEmbeddings],
    ["pooled (embeddings)", input.pooled.embeddings],
    ["pooled (empty)", input.pooled.empty],
    ["classLogits (logits)", input.classLogits.logits],
  ] as [string, LentTensor<"float32" | "uint8">][];
}
