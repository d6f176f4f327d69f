/**
 * The parts that all of COCO's JSON formats share.
 *
 * @module
 */
import { basename } from "node:path";
import type { Image } from "../../lib/image/image.ts";
import { formatTimes, type RunTimes } from "./run_task.ts";

/** COCO's `info`, with what this program adds to it. */
export interface CocoInfo {
  /** What made the file. */
  description: string;
  /** What computed it. */
  device: string;
  /** Wall time of the pipeline, and of each of its stages. */
  milliseconds: { pipeline: number; stages: Record<string, number> };
  /** The files that lie beside this one. */
  files: Record<string, string>;
}

/** The beginning of a COCO document about one image. */
export interface CocoHead {
  /** Where it comes from. */
  info: CocoInfo;
  /** The image; its id is 1. */
  images: [{ id: 1; file_name: string; width: number; height: number }];
  /** The classes; ids count from 1 in their order. */
  categories: { id: number; name: string; isthing?: 0 | 1 }[];
}

/** COCO counts categories from 1. */
export function categoryId(index: number): number {
  return index + 1;
}

/**
 * Makes the beginning of a COCO document.
 *
 * @param task Which task, for the description.
 * @param image The image.
 * @param file Its path.
 * @param names The classes.
 * @param isThing Which of them are things, where somebody said.
 * @param device What computed it.
 * @param times How long it took.
 * @param files What else was written.
 */
export function cocoHead(
  task: string,
  image: Image,
  file: string,
  names: readonly string[],
  isThing: readonly boolean[] | undefined,
  device: string,
  times: RunTimes,
  files: Record<string, string>,
): CocoHead {
  return {
    info: {
      description: `ovs segment --task ${task}`,
      device,
      milliseconds: formatTimes(times),
      files,
    },
    images: [{ id: 1, file_name: basename(file), width: image.width, height: image.height }],
    categories: names.map((name, index) => ({
      id: categoryId(index),
      name,
      ...(isThing === undefined ? {} : { isthing: isThing[index] ? 1 : 0 }),
    })),
  };
}
