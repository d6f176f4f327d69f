/**
 * The text encoder: one embedding per category.
 *
 * @module
 */
import { ModelError } from "../../lib/errors.ts";
import type { Session } from "../../lib/runtime.ts";
import { readJson } from "../../lib/stages/models.ts";
import { loadNetwork } from "../../lib/stages/network.ts";
import type { OptionSchema } from "../../lib/stages/options.ts";
import type { StagePlugin } from "../../lib/stages/plugin.ts";
import type { StageContext } from "../../lib/stages/stage.ts";
import { synonymRows } from "../../lib/stages/synonyms.ts";
import { float32, formatShape } from "../../lib/tensor.ts";
import { BpeTokenizer } from "../../lib/text/bpe.ts";
import { photoTemplate, vildTemplates } from "../vocabularies/prompt_templates.ts";

/** Texts that go through the network at a time: memory stays bounded, whatever the vocabulary. */
const BATCH = 256;
/** Embeddings that are kept for the next run, the latest ones. */
const MAX_CACHED = 1 << 16;

/** Encodes names by a network, and remembers them. */
class NameEncoder {
  readonly #session: Session;
  readonly #tokenizer: BpeTokenizer;
  readonly #templates: readonly string[];
  readonly #maxTokens: number;
  readonly #cache = new Map<string, Float32Array>();

  constructor(
    session: Session,
    tokenizer: BpeTokenizer,
    templates: readonly string[],
    maxTokens: number,
  ) {
    this.#session = session;
    this.#tokenizer = tokenizer;
    this.#templates = templates;
    this.#maxTokens = maxTokens;
  }

  /** C × D unit rows, row-major, and D. */
  async encode(
    names: readonly string[],
    { signal, progress }: StageContext,
  ): Promise<{ data: Float32Array<ArrayBuffer>; size: number }> {
    const unknown = [...new Set(names)].filter((name) => !this.#cache.has(name));
    const rows = new Map<string, Float32Array>();
    for (const name of names) {
      const known = this.#cache.get(name);
      if (known !== undefined) rows.set(name, known);
    }
    const step = Math.max(1, Math.floor(BATCH / this.#templates.length));
    for (let from = 0; from < unknown.length; from += step) {
      signal.throwIfAborted();
      const part = unknown.slice(from, from + step);
      (await this.#encodeBatch(part)).forEach((row, i) => rows.set(part[i]!, row));
      progress(Math.min(from + step, unknown.length), unknown.length);
    }
    for (const name of unknown) this.#remember(name, rows.get(name)!);
    const size = rows.get(names[0]!)!.length;
    const data = new Float32Array(names.length * size);
    names.forEach((name, c) => data.set(rows.get(name)!, c * size));
    return { data, size };
  }

  /** The mean over templates, normalised. */
  async #encodeBatch(names: readonly string[]): Promise<Float32Array[]> {
    const templates = this.#templates;
    // A replacement function: names may hold "$&".
    const texts = names.flatMap((name) => templates.map((text) => text.replace("{}", () => name)));
    const { tokens, mask } = this.#tokenizer.encodeBatch(texts, this.#maxTokens);
    const outputs = await this.#session.run({ tokens, mask });
    const embeddings = outputs["embeddings"]!;
    const { shape } = embeddings;
    const data = await embeddings.read();
    for (const output of Object.values(outputs)) output.dispose();
    const size = shape[1];
    if (
      shape.length !== 2 || shape[0] !== texts.length || size === undefined ||
      !(data instanceof Float32Array)
    ) {
      throw new ModelError(
        `output "embeddings" is ${formatShape(shape)}; it must be float32 ${texts.length}×D`,
      );
    }
    return names.map((_, c) => {
      const mean = new Float64Array(size);
      for (let t = 0; t < templates.length; t++) {
        const at = (c * templates.length + t) * size;
        for (let d = 0; d < size; d++) mean[d]! += data[at + d]!;
      }
      const norm = Math.hypot(...mean) || 1;
      return Float32Array.from(mean, (value) => value / norm);
    });
  }

  #remember(name: string, row: Float32Array): void {
    this.#cache.set(name, row);
    if (this.#cache.size > MAX_CACHED) this.#cache.delete(this.#cache.keys().next().value!);
  }
}

/** The unit rows' mean over the synonyms of each class, normalised. */
function meanOfClasses(
  rows: Float32Array,
  classes: readonly number[],
  size: number,
): Float32Array<ArrayBuffer> {
  const count = classes.at(-1)! + 1;
  const sums = new Float64Array(count * size);
  classes.forEach((c, row) => {
    for (let d = 0; d < size; d++) sums[c * size + d]! += rows[row * size + d]!;
  });
  const means = new Float32Array(sums.length);
  for (let c = 0; c < count; c++) {
    const sum = sums.subarray(c * size, (c + 1) * size);
    const norm = Math.hypot(...sum) || 1;
    for (let d = 0; d < size; d++) means[c * size + d] = sum[d]! / norm;
  }
  return means;
}

/** Options of {@linkcode textEncoder}. */
export const textEncoderOptions = {
  prompts: {
    type: "string",
    description:
      'the prompt templates: those of `templates`, ViLD\'s 14, or one, "a photo of a {}."',
    default: "templates",
    enum: ["templates", "vild", "photo"],
  },
  templates: {
    type: "strings",
    description: "prompt templates; {} stands for the name",
    default: ["{}"],
    minItems: 1,
    contains: "{}",
  },
  maxTokens: {
    type: "integer",
    description: "longest text in subwords, start and end included; longer ones are cut off",
    default: 24,
    minimum: 3,
    maximum: 1024,
  },
  model: { type: "string", description: "the model's file", default: "text_encoder.onnx" },
  tokenizer: { type: "string", description: "the tokenizer's file", default: "tokenizer.json" },
} as const satisfies OptionSchema;

/**
 * Runs an ONNX model: `tokens` int64 [C, L], `mask` float32 [C, L] → `embeddings` [C, D]. Every name
 * is put into every template; the mean of the unit rows over templates, normalised, is `F_T`.
 * Synonyms have such rows each, where the vocabulary's `pooling` asks for them: `mean` averages them
 * and normalises again, `max` hands all of them to the classifier.
 *
 * Names are encoded in batches of bounded memory, and remembered for the next run.
 */
export const textEncoder: StagePlugin<["vocabulary"], ["text"], typeof textEncoderOptions> = {
  role: "text-encoder",
  name: "onnx",
  description: "text embeddings averaged over prompt templates, from an ONNX model",
  needs: ["vocabulary"],
  gives: ["text"],
  options: textEncoderOptions,
  async create({ prompts, templates, maxTokens, model, tokenizer }, environment) {
    const bpe = await readTokenizer(tokenizer, await readJson(environment.models, tokenizer));
    const session = await loadNetwork(environment, model, {
      inputs: ["tokens", "mask"],
      outputs: ["embeddings"],
    });
    const sentences = prompts === "templates"
      ? templates
      : prompts === "vild"
      ? vildTemplates
      : [photoTemplate];
    const encoder = new NameEncoder(session, bpe, sentences, maxTokens);
    return {
      async run({ vocabulary }, context) {
        const { names, classes } = synonymRows(vocabulary);
        const { data, size } = await encoder.encode(names, context);
        const mean = vocabulary.synonyms !== undefined && vocabulary.pooling === "mean";
        return {
          text: mean
            ? float32([vocabulary.active.length, size], meanOfClasses(data, classes, size))
            : float32([names.length, size], data),
        };
      },
      dispose: () => session.dispose(),
    };
  },
};

function readTokenizer(name: string, json: unknown): BpeTokenizer {
  try {
    return BpeTokenizer.fromJSON(json);
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    throw new ModelError(`model ${name}: ${error.message}`, { cause: error });
  }
}
