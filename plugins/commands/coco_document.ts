/**
 * The parts that all of COCO's JSON formats share.
 *
 * @module
 */
import { basename } from "node:path";
import type { Image } from "../../lib/image/image.ts";
import { isThing, type VocabularySlot } from "../../lib/stages/slots.ts";
import type { Task } from "../methods/ovsnet.ts";
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
  categories: { id: number; name: string; isthing: 0 | 1 }[];
}

/** COCO counts categories from 1. */
export function categoryId(index: number): number {
  return index + 1;
}

/** A result that a COCO document is about. */
export interface CocoSubject extends RunTimes {
  /** The image. */
  image: Image;
  /** The classes. */
  vocabulary: VocabularySlot;
}

/**
 * Makes the beginning of a COCO document.
 *
 * @param subject The result.
 * @param task Which task, for the description.
 * @param file The image's path.
 * @param device What computed it.
 * @param files What else was written.
 */
export function cocoHead(
  subject: CocoSubject,
  task: Task,
  file: string,
  device: string,
  files: Record<string, string>,
): CocoHead {
  const { image: { width, height }, vocabulary } = subject;
  const flags = isThing(vocabulary);
  return {
    info: {
      description: `ovs segment --task ${task}`,
      device,
      milliseconds: formatTimes(subject),
      files,
    },
    images: [{ id: 1, file_name: basename(file), width, height }],
    categories: vocabulary.names.map((name, index) => ({
      id: categoryId(index),
      name,
      isthing: flags[index] ? 1 : 0,
    })),
  };
}
