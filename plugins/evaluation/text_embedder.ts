/**
 * Text embeddings of names, from an encoder of the registry or from a file.
 *
 * @module
 */
import { OptionError } from "../../lib/errors.ts";
import type { Device } from "../../lib/runtime.ts";
import type { ModelSource } from "../../lib/stages/models.ts";
import type { OptionValue } from "../../lib/stages/options.ts";
import { openStage } from "../../lib/stages/plugin.ts";
import type { Registry } from "../../lib/stages/registry.ts";
import { formatStage } from "../../lib/stages/stage.ts";
import { vocabulary } from "../../lib/stages/vocabulary.ts";
import { float32, type HostTensor } from "../../lib/tensor.ts";
import { readEmbeddingFile, rowsOfNames } from "./embedding_file.ts";

/** How {@linkcode TextEmbedder.embed} reports. */
export interface EmbedOptions {
  /** Ends the work early. */
  readonly signal?: AbortSignal;
  /** Reports how many names are done. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Gives names their text embeddings. Whoever opens it disposes of it. */
export interface TextEmbedder extends AsyncDisposable {
  /** What gives them, as shown to people. */
  readonly description: string;
  /**
   * Embeds names.
   *
   * @param names C names, none twice.
   * @returns `F_T`: float32 C×D.
   */
  embed(names: readonly string[], options?: EmbedOptions): Promise<HostTensor<"float32">>;
}

/** Which text encoder to open, and on what. */
export interface EncoderOptions {
  /** Where its name is looked up. */
  readonly registry: Registry;
  /** Its name; `onnx` where left out. */
  readonly name?: string;
  /** Those of its options that differ from their defaults, such as `prompts`. */
  readonly options?: Readonly<Record<string, OptionValue>>;
  /** Where it computes; it is not disposed of. */
  readonly device: Device;
  /** Where the model files are. */
  readonly models: ModelSource;
}

/**
 * Opens a text encoder of the registry.
 *
 * @throws {RegistryError} If there is no such text encoder.
 * @throws {OptionError} If it needs more than names, or an option is unknown or outside its domain.
 * @throws {ModelError} If a model is missing or not what the encoder expects.
 */
export async function openTextEncoder(
  { registry, name = "onnx", options = {}, device, models }: EncoderOptions,
): Promise<TextEmbedder> {
  const plugin = registry.get("text-encoder", name);
  const more = plugin.needs.filter((slot) => slot !== "vocabulary");
  if (more.length > 0 || !plugin.gives.includes("text")) {
    throw new OptionError(
      `${formatStage(plugin)} needs ${plugin.needs.join(", ")} and gives ` +
        `${plugin.gives.join(", ")}; names are embedded by one that needs "vocabulary" alone and ` +
        'gives "text"',
    );
  }
  const stage = await openStage(plugin, options, { device, models });
  return {
    description: `${formatStage(plugin)} of ${models.location}`,
    async embed(names, { signal = new AbortController().signal, onProgress } = {}) {
      const slots = await stage.run({ vocabulary: vocabulary(names) }, {
        device,
        signal,
        progress: (done, total) => onProgress?.(done, total),
      });
      const text = slots.text!;
      const data = await text.read();
      text.dispose();
      return float32(text.shape, data as Float32Array);
    },
    async [Symbol.asyncDispose]() {
      await stage.dispose?.();
    },
  };
}

/**
 * Opens a file of embeddings; see {@linkcode readEmbeddingFile}.
 *
 * @throws {InputError} If it can't be read or isn't such a file; and when a name is embedded that it
 * doesn't have.
 */
export async function openEmbeddingFile(path: string): Promise<TextEmbedder> {
  const table = await readEmbeddingFile(path);
  return {
    description: path,
    embed: (names) => Promise.resolve().then(() => rowsOfNames(table, names, path)),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}
