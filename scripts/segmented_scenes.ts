/**
 * Scenes as Deno segments them on the CPU, for other runtimes to compare with.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { vocabulary } from "../lib/stages/vocabulary.ts";
import { EmojiScenes } from "../plugins/datasets/emoji_scenes/emoji_scenes_dataset.ts";
import { openOvsnet } from "../plugins/methods/ovsnet.ts";
import { acquireDevice } from "../plugins/runtimes/mod.ts";

/** A scene, and what the shipped model says of it. */
export interface SegmentedScene {
  /** Columns. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
  /** Its bytes, RGB, in base64. */
  readonly rgb: string;
  /** The vocabulary. */
  readonly names: readonly string[];
  /** Its labels, int32 little-endian, in base64. */
  readonly labels: string;
}

const base64 = ({ buffer, byteOffset, byteLength }: ArrayBufferView) =>
  Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength).toString("base64");

/** Segments the first few scenes of each split of categories. */
export async function segmentedScenes(perSplit = 2): Promise<SegmentedScene[]> {
  const scenes: SegmentedScene[] = [];
  await using device = await acquireDevice("cpu");
  await using ovsnet = await openOvsnet({ device });
  for (const split of ["seen", "near", "far"]) {
    const dataset = new EmojiScenes({ split, scenes: perSplit });
    const names = dataset.classes.map(({ name }) => name);
    for (let i = 0; i < perSplit; i++) {
      const { image } = await dataset.read(i);
      using result = await ovsnet.run({ image, vocabulary: vocabulary(names) });
      const { width, height, rgb } = image;
      const labels = await result.outputs.segmentation.labels.read();
      scenes.push({ width, height, rgb: base64(rgb), names, labels: base64(labels) });
    }
  }
  return scenes;
}
