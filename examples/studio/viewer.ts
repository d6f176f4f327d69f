/**
 * The picture with its layers: colours, outlines, names, and a light on one segment.
 *
 * @module
 */
import { byId, context2d, make } from "./elements.ts";
import type { LoadedPicture } from "./load_picture.ts";
import type { FoundSegment, SegmentedPicture } from "./protocol.ts";

/** How the layers are shown. */
export interface View {
  /** Of the colours, 0 to 1. */
  readonly opacity: number;
  /** Whether names stand on the segments. */
  readonly names: boolean;
  /** Whether borders are drawn. */
  readonly outlines: boolean;
}

/** Where the picture lies in the viewer, in CSS pixels. */
export interface Placement {
  readonly left: number;
  readonly top: number;
  /** CSS pixels per pixel of the picture. */
  readonly scale: number;
}

/** A name needs this many CSS pixels above and below its middle. */
const nameRoom = 9;

const dark = 0x9e0c0908;

/** Where something that is centred at a place begins: inside of the picture if it fits there. */
function within(at: number, size: number, margin: number, room: number): number {
  const edge = size <= room - 2 * margin ? margin : 0;
  return Math.round(Math.max(edge + 2, Math.min(at - size / 2, room - edge - size - 2)));
}

/** Draws; knows nothing of workers or pointers. */
export class Viewer {
  /** The element that holds everything. */
  readonly element: HTMLElement = byId("viewer", HTMLElement);
  readonly #photo = context2d("photo");
  readonly #tint = context2d("tint");
  readonly #outline = context2d("outline");
  readonly #spotlight = context2d("spotlight");
  readonly #names = byId("names", HTMLElement);
  #picture: LoadedPicture | null = null;
  #result: SegmentedPicture | null = null;
  #chosen: number | null = null;
  /** What a pointer is on; undefined while none is on the picture. */
  #pointed: number | null | undefined;
  #lit: number | null = null;
  /** Called when the layers were taken off. */
  onClear: () => void = () => {};

  /** Takes the elements over. */
  constructor() {
    new ResizeObserver(() => this.#placeNames()).observe(this.element);
  }

  /** The picture on show. */
  get picture(): LoadedPicture | null {
    return this.#picture;
  }

  /** The result on show. */
  get result(): SegmentedPicture | null {
    return this.#result;
  }

  /** Shows another picture, as yet without a result. */
  showPicture(picture: LoadedPicture): void {
    this.#picture = picture;
    this.clear();
    this.#put(this.#photo, picture.pixels);
  }

  /** Takes the layers off. */
  clear(): void {
    this.#result = null;
    for (const { canvas } of [this.#tint, this.#outline]) canvas.width = canvas.height = 1;
    this.light(null);
    this.#placeNames();
    this.onClear();
  }

  /** Shows a result of the picture on show. */
  showResult(result: SegmentedPicture): void {
    const { width, height, tint, outline } = result;
    this.#result = result;
    this.#put(this.#tint, new ImageData(tint, width, height));
    this.#put(this.#outline, new ImageData(outline, width, height));
    this.#lit = null;
    this.#updateLight();
    this.#placeNames();
  }

  /** Changes how the layers are shown. */
  setView({ opacity, names, outlines }: View): void {
    this.#tint.canvas.style.opacity = String(opacity);
    this.#outline.canvas.hidden = !outlines;
    this.#names.hidden = !names;
    this.#placeNames();
  }

  /** Dims everything but one class while no pointer is on the picture; null lights everything. */
  light(index: number | null): void {
    this.#chosen = index;
    this.#updateLight();
  }

  /** Dims everything but the class under a pointer, null for none; undefined when it has left. */
  point(index: number | null | undefined): void {
    this.#pointed = index;
    this.#updateLight();
  }

  #updateLight(): void {
    const index = this.#pointed === undefined ? this.#chosen : this.#pointed;
    const result = this.#result;
    const { canvas } = this.#spotlight;
    const isLit = index !== null && result !== null;
    canvas.classList.toggle("on", isLit);
    if (!isLit) {
      this.#lit = null;
      return;
    }
    if (index === this.#lit) return;
    this.#lit = index;
    const { width, height, labels } = result;
    const words = new Uint32Array(labels.length);
    for (let i = 0; i < words.length; i++) if (labels[i] !== index) words[i] = dark;
    const pixels = new ImageData(new Uint8ClampedArray(words.buffer), width, height);
    this.#put(this.#spotlight, pixels);
  }

  /** Where the picture lies; null without one. */
  placement(): Placement | null {
    if (this.#picture === null) return null;
    const { width, height } = this.#picture.picture;
    const { clientWidth, clientHeight } = this.element;
    const scale = Math.min(clientWidth / width, clientHeight / height);
    return {
      left: (clientWidth - width * scale) / 2,
      top: (clientHeight - height * scale) / 2,
      scale,
    };
  }

  #put({ canvas }: CanvasRenderingContext2D, pixels: ImageData): void {
    // Setting a size clears the canvas, even to the same one.
    if (canvas.width !== pixels.width) canvas.width = pixels.width;
    if (canvas.height !== pixels.height) canvas.height = pixels.height;
    canvas.getContext("2d")!.putImageData(pixels, 0, 0);
  }

  #placeNames(): void {
    const placement = this.placement();
    const found = this.#result?.segments ?? [];
    if (placement === null || this.#names.hidden) return this.#names.replaceChildren();
    const { left, top, scale } = placement;
    const spans = found.flatMap((segment) => {
      if (segment.place === null || segment.place.room * scale < nameRoom) return [];
      const span = make("span", { textContent: segment.label });
      span.style.setProperty("--colour", segment.colour);
      return [{ span, place: segment.place }];
    });
    this.#names.replaceChildren(...spans.map(({ span }) => span));
    // All are measured before any is moved: each change between would lay the page out anew.
    const sizes = spans.map(({ span }) => [span.offsetWidth, span.offsetHeight] as const);
    const { clientWidth, clientHeight } = this.element;
    const taken: { x: number; y: number; width: number; height: number }[] = [];
    spans.forEach(({ span, place }, i) => {
      const [width, height] = sizes[i]!;
      const x = within(left + (place.x + 0.5) * scale, width, left, clientWidth);
      const y = within(top + (place.y + 0.5) * scale, height, top, clientHeight);
      // The largest segments come first and keep their names.
      const isCovering = taken.some((other) =>
        x < other.x + other.width && other.x < x + width &&
        y < other.y + other.height && other.y < y + height
      );
      if (isCovering) return span.remove();
      span.style.transform = `translate(${x}px, ${y}px)`;
      taken.push({ x, y, width, height });
    });
  }

  /** The segment that a pixel belongs to; null for none. */
  segmentAt(x: number, y: number): FoundSegment | null {
    const result = this.#result;
    if (result === null) return null;
    const index = result.labels[y * result.width + x];
    return result.segments.find((segment) => segment.index === index) ?? null;
  }
}
