/**
 * What the page and its worker say to each other.
 *
 * @module
 */
import type { DeviceRequest } from "@ovstage/ovstage";

/** A picture to work on: 8-bit sRGB, row-major. */
export interface Picture {
  /** Tells pictures apart: the worker keeps what it computed for the last one. */
  readonly key: number;
  /** Columns. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
  /** 3·width·height bytes. */
  readonly rgb: Uint8Array<ArrayBuffer>;
}

/** The fusers that the page offers. */
export const fusers = ["gfa", "mean", "clip", "query"] as const;

/** What is to be found, and how. */
export interface Settings {
  /** The class names, in order. */
  readonly names: readonly string[];
  /** Which fuser. */
  readonly fuser: (typeof fusers)[number];
  /** GFA's ω. */
  readonly omega: number;
  /** GFA's λ. */
  readonly lambda: number;
}

/** The page's requests by type: what they carry, and what they are answered with. */
export interface Requests {
  /** Acquires the device, fetches the models and opens the stages. */
  open: { ask: { device: DeviceRequest }; answer: OpenedDevice };
  /**
   * Segments; `picture` is left out where the worker has it already. With `mayBeDraft` a coarse
   * result is welcome where the whole takes long.
   */
  segment: {
    ask: { pictureKey: number; picture?: Picture; settings: Settings; mayBeDraft: boolean };
    answer: SegmentedPicture;
  };
  /** Ranks the classes at one pixel of the last result. */
  rank: { ask: { x: number; y: number; count: number }; answer: readonly RankedClass[] };
  /** The last result's label map as a PNG file. */
  labelPng: { ask: Record<string, never>; answer: Uint8Array<ArrayBuffer> };
}

/** The name of a request. */
export type RequestType = keyof Requests;

/** A request on its way. */
export interface RequestMessage<Type extends RequestType = RequestType> {
  /** Its number, which the answer repeats. */
  readonly id: number;
  /** Which request. */
  readonly type: Type;
  /** What it carries. */
  readonly ask: Requests[Type]["ask"];
}

/** What the worker sends. */
export type WorkerMessage =
  | { readonly kind: "answer"; readonly id: number; readonly value: unknown }
  | { readonly kind: "failure"; readonly id: number; readonly code: string; readonly text: string }
  | { readonly kind: "progress"; readonly text: string; readonly share: number | null }
  | { readonly kind: "lost"; readonly text: string }
  // Its Web Lock is held: whoever gets it next knows that this worker is dead.
  | { readonly kind: "alive" };

/** The device as it is shown. */
export interface OpenedDevice {
  /** Where the kernels run. */
  readonly kind: "cpu" | "webgpu";
  /** Where the networks run. */
  readonly networks: "cpu" | "webgpu";
  /** In words. */
  readonly description: string;
  /** Why it is the CPU although a GPU would have been taken; null otherwise. */
  readonly fallbackReason: string | null;
  /** How many threads networks have on the CPU. */
  readonly threads: number;
}

/** One stage of the last result. */
export interface StageReport {
  /** Its role. */
  readonly role: string;
  /** Its name. */
  readonly name: string;
  /** Wall time of its last run in milliseconds. */
  readonly milliseconds: number;
  /** False where the result of an earlier run was kept. */
  readonly ran: boolean;
  /** Where it runs. */
  readonly device: "CPU" | "GPU";
}

/** One segment: all pixels of a class. */
export interface FoundSegment {
  /** The class's index in the settings' names. */
  readonly index: number;
  /** Its name. */
  readonly label: string;
  /** Mean score of its pixels. */
  readonly score: number;
  /** Its pixels. */
  readonly area: number;
  /** Left, top, width, height. */
  readonly bbox: readonly [number, number, number, number];
  /** COCO's run lengths; of a draft, at the masks' size. */
  readonly mask: { readonly size: readonly [number, number]; readonly counts: string };
  /** Its colour, as CSS. */
  readonly colour: string;
  /** Where its name is written; null where there is no room. */
  readonly place: { readonly x: number; readonly y: number; readonly room: number } | null;
}

/** A class and its score at a pixel. */
export interface RankedClass {
  /** Its name. */
  readonly label: string;
  /** The score that the segmenter compares. */
  readonly score: number;
}

/** A result. */
export interface SegmentedPicture {
  /** Which picture. */
  readonly pictureKey: number;
  /** Under which settings. */
  readonly settings: Settings;
  /** Whether it was labelled at the masks' own size and enlarged. */
  readonly isDraft: boolean;
  /** Columns. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
  /** Class of each pixel, −1 for none. */
  readonly labels: Int32Array<ArrayBuffer>;
  /** Largest first. */
  readonly segments: readonly FoundSegment[];
  /** RGBA: each pixel in its class's colour. */
  readonly tint: Uint8ClampedArray<ArrayBuffer>;
  /** RGBA: the borders of segments. */
  readonly outline: Uint8ClampedArray<ArrayBuffer>;
  /** In the pipeline's order. */
  readonly stages: readonly StageReport[];
  /** Wall time in the worker. */
  readonly milliseconds: number;
}
