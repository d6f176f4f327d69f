/**
 * The frozen towers that the decoder is trained over.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { ModelError } from "../../lib/errors.ts";
import { modelSource } from "../methods/open_pipeline.ts";
import { CheckpointFolder } from "./checkpoint.ts";
import { exportClip } from "./clip.ts";
import { exportClipImage } from "./clip_image.ts";
import { exportClipText } from "./clip_text.ts";
import { runStage } from "./open_run.ts";

/** The two towers as files. */
export interface Towers {
  /** `image` to `features`, `pyramid4` and `pyramid8`. */
  readonly imageEncoder: Uint8Array;
  /** `tokens` and `mask` to `embeddings`. */
  readonly textEncoder: Uint8Array;
  /** The subwords, as JSON text. */
  readonly tokenizer: string;
  /** The longest text, in subwords. */
  readonly maxLength: number;
}

/** The longest text of towers whose run isn't at hand: what the text encoder's stage takes. */
const defaultMaxLength = 24;

/**
 * Opens the towers of a run of stage "clip", "clip-text" or "clip-image", of a folder with model
 * files, or those of this package.
 *
 * @param encoder A folder, or "shipped".
 * @throws {ModelError} If the folder holds neither.
 */
export async function openTowers(encoder: string): Promise<Towers> {
  const isRun = encoder !== "shipped" && new CheckpointFolder(encoder).steps().length > 0;
  if (isRun) {
    switch (await runStage(encoder)) {
      case "clip-text":
        return await exportClipText(encoder);
      case "clip-image":
        return await exportClipImage(encoder);
      default:
        return await exportClip(encoder);
    }
  }
  if (encoder !== "shipped" && !existsSync(join(encoder, "image_encoder.onnx"))) {
    throw new ModelError(
      `encoder ${encoder}: holds neither a checkpoint of stage "clip" nor image_encoder.onnx`,
    );
  }
  const models = modelSource(encoder === "shipped" ? undefined : pathToFileURL(resolve(encoder)));
  const [imageEncoder, textEncoder, tokenizer] = await Promise.all(
    ["image_encoder.onnx", "text_encoder.onnx", "tokenizer.json"].map((name) => models.read(name)),
  ) as [Uint8Array, Uint8Array, Uint8Array];
  return {
    imageEncoder,
    textEncoder,
    tokenizer: new TextDecoder().decode(tokenizer),
    maxLength: defaultMaxLength,
  };
}

/** A digest of both towers: what the decoder learns depends on them. */
export function towersFingerprint({ imageEncoder, textEncoder, tokenizer }: Towers): string {
  const hash = createHash("sha256").update(imageEncoder).update(textEncoder).update(tokenizer);
  return hash.digest("hex").slice(0, 16);
}
