/**
 * Segments frames as they come, off the page's own thread. What can be used again is:
 *
 * - the pipeline, with its sessions and compiled kernels, is opened once;
 * - text embeddings: the text encoder remembers the words, and runs only for new ones;
 * - the frame's canvas, its RGB bytes and the overlay keep their memory from frame to frame.
 *
 * @module
 */
import {
  acquireDevice,
  classColours,
  type ImageSlot,
  liveBuffers,
  openOvsnet,
  type Rgb,
  toHex,
  vocabulary,
  type VocabularySlot,
} from "@ovstage/ovstage";
import type { Begin, Frame, Reply } from "./messages.ts";

/** Longer side of a frame, in pixels; the encoder takes less still. */
const side = 320;

const reply = (message: Reply) => self.postMessage(message);
const fail = (error: unknown) =>
  reply({ kind: "failed", message: error instanceof Error ? error.message : String(error) });
const base = new URL(".", self.location.href).href;

async function open(request: Begin["device"]) {
  const device = await acquireDevice(request, { wasmPaths: base });
  return { device, ovsnet: await openOvsnet({ device, models: `${base}models/` }) };
}

/** What has the size of a frame; made anew only when the video's size changes. */
function makeBuffers(width: number, height: number) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  const image: ImageSlot = { width, height, rgb: new Uint8Array(3 * width * height) };
  return { context, image, overlay: new ImageData(width, height) };
}

let opened: ReturnType<typeof open> | undefined;
let target: OffscreenCanvas | undefined;
let buffers: ReturnType<typeof makeBuffers> | undefined;
let words: { list: string; slot: VocabularySlot; colours: Rgb[] } | undefined;

async function segment(image: ImageSlot, words: VocabularySlot): Promise<Int32Array> {
  const { ovsnet } = await opened!;
  using result = await ovsnet.run({ image, vocabulary: words });
  // On a GPU, the one time that anything comes back from it.
  return await result.outputs.segmentation.labels.read();
}

async function paint({ bitmap, names }: Frame): Promise<void> {
  const start = performance.now();
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [Math.round(bitmap.width * scale), Math.round(bitmap.height * scale)];
  if (buffers?.image.width !== width || buffers.image.height !== height) {
    buffers = makeBuffers(width, height);
    Object.assign(target!, { width, height });
  }
  const { context, image, overlay } = buffers;
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  for (let from = 0, to = 0; from < data.length; from += 4) {
    image.rgb[to++] = data[from]!;
    image.rgb[to++] = data[from + 1]!;
    image.rgb[to++] = data[from + 2]!;
  }

  const list = names.join();
  if (words?.list !== list) {
    words = { list, slot: vocabulary(names), colours: classColours(names.length, []) };
  }
  const { slot, colours } = words;
  const labels = await segment(image, slot);

  const areas = new Array<number>(names.length).fill(0);
  labels.forEach((label, pixel) => {
    if (label >= 0) areas[label]!++;
    const [red, green, blue] = colours[label] ?? [0, 0, 0];
    overlay.data.set([red, green, blue, label < 0 ? 0 : 255], 4 * pixel);
  });
  target!.getContext("2d")!.putImageData(overlay, 0, 0);
  const found = areas
    .map((area, label) => ({
      label: names[label]!,
      share: area / labels.length,
      colour: toHex(colours[label]!),
    }))
    .filter(({ share }) => share > 0).sort((a, b) => b.share - a.share);
  const { gpu } = (await opened!).device;
  const milliseconds = performance.now() - start;
  reply({ kind: "painted", found, milliseconds, buffers: gpu === null ? 0 : liveBuffers(gpu) });
}

self.addEventListener("message", ({ data }: MessageEvent<Begin | Frame>) => {
  if ("canvas" in data) {
    target = data.canvas;
    opened = open(data.device);
    opened.then(({ device }) => reply({ kind: "ready", device: device.description })).catch(fail);
  } else {
    paint(data).catch(fail);
  }
});
