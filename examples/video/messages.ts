/**
 * What the page and its worker say to each other.
 *
 * @module
 */

/** To the worker, first: where to paint, and what to compute on. */
export interface Begin {
  readonly canvas: OffscreenCanvas;
  readonly device: "auto" | "cpu" | "webgpu";
}

/** To the worker, again and again: a frame, which it closes, and the words. */
export interface Frame {
  readonly bitmap: ImageBitmap;
  readonly names: readonly string[];
}

/** From the worker: it is ready, it has painted a frame, or something went wrong. */
export type Reply =
  | { readonly kind: "ready"; readonly device: string }
  | {
    readonly kind: "painted";
    /** The classes that are there, largest first: share of the frame, and colour. */
    readonly found: readonly { label: string; share: number; colour: string }[];
    readonly milliseconds: number;
    /** How many GPU buffers are alive; the same after every frame, if none leaks. */
    readonly buffers: number;
  }
  | { readonly kind: "failed"; readonly message: string };
