/**
 * From flags to text embeddings.
 *
 * @module
 */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { FlagSpec } from "../../lib/cli/arguments.ts";
import { OptionError } from "../../lib/errors.ts";
import type { Device, Engine } from "../../lib/runtime.ts";
import { loadPlugin } from "../../lib/stages/load_plugin.ts";
import type { TextEmbedder } from "../evaluation/text_embedder.ts";
import { pipelineFlags } from "./plan_pipeline.ts";

/** The flags that say what embeds names. */
export const textEmbedderFlags = {
  embeddings: {
    value: "FILE",
    description: "A safetensors file with embeddings of your own, of real CLIP's text tower for " +
      "example, in place of an encoder; see docs/similarity.md.",
  },
  encoder: {
    value: "NAME",
    description: "The text encoder: onnx (the default), or one that a plugin brings.",
  },
  prompts: {
    value: "SET",
    description: "The sentences that names are put into: vild (ViLD's 14) or photo (one); the " +
      "encoder's own where left out.",
  },
  plugin: pipelineFlags.plugin,
  models: pipelineFlags.models,
} as const satisfies Record<string, FlagSpec>;

/** Values of {@linkcode textEmbedderFlags}. */
export interface TextEmbedderFlagValues {
  /** See {@linkcode textEmbedderFlags}. */
  readonly embeddings?: string | undefined;
  /** See {@linkcode textEmbedderFlags}. */
  readonly encoder?: string | undefined;
  /** See {@linkcode textEmbedderFlags}. */
  readonly prompts?: string | undefined;
  /** See {@linkcode textEmbedderFlags}. */
  readonly plugin: readonly string[];
  /** See {@linkcode textEmbedderFlags}. */
  readonly models?: string | undefined;
}

/** An open embedder, and the engine that compares what it gives. */
export interface OpenTextEmbedder extends AsyncDisposable {
  /** Embeds names. */
  readonly embedder: TextEmbedder;
  /** Computes products, on the CPU. */
  readonly engine: Engine;
}

/**
 * Opens what embeds names. Names are short work: everything runs on the CPU.
 *
 * @param prefix What stands before a flag's name in messages: `--`, or nothing for a config's fields.
 * @throws {OptionError} If flags exclude each other, or the encoder has no such prompts.
 * @throws {RegistryError} If an encoder or plugin is unknown.
 * @throws {InputError} If the file of embeddings can't be used.
 * @throws {ModelError} If a model is missing or not what the encoder expects.
 */
export async function openTextEmbedder(
  flags: TextEmbedderFlagValues,
  prefix = "--",
): Promise<OpenTextEmbedder> {
  const { embeddings, encoder, prompts, models } = flags;
  if (embeddings !== undefined) {
    const other = (["encoder", "prompts", "models"] as const)
      .find((name) => flags[name] !== undefined);
    if (other !== undefined) {
      throw new OptionError(
        `${prefix}embeddings and ${prefix}${other} are both given; embeddings of a file are taken ` +
          "as they are, give one of the two",
      );
    }
  }
  const [{ builtinRegistry }, { acquireDevice }, { modelSource }, embedders] = await Promise.all([
    import("../builtin.ts"),
    import("../runtimes/mod.ts"),
    import("../methods/open_pipeline.ts"),
    import("../evaluation/text_embedder.ts"),
  ]);
  const registry = builtinRegistry();
  for (const path of flags.plugin) await loadPlugin(path, registry);
  const device: Device = await acquireDevice("cpu");
  try {
    const embedder = embeddings !== undefined
      ? await embedders.openEmbeddingFile(embeddings)
      : await embedders.openTextEncoder({
        registry,
        ...(encoder === undefined ? {} : { name: encoder }),
        ...(prompts === undefined ? {} : { options: { prompts } }),
        device,
        models: modelSource(models === undefined ? undefined : pathToFileURL(resolve(models))),
      });
    return {
      embedder,
      engine: device.engine,
      async [Symbol.asyncDispose]() {
        await embedder[Symbol.asyncDispose]();
        await device.dispose();
      },
    };
  } catch (error) {
    await device.dispose();
    throw error;
  }
}
