/**
 * Results as files, with the names and fields of `ovs segment`.
 *
 * @module
 */
import { voidValue } from "@ovstage/ovstage";
import { make } from "./elements.ts";
import type { LoadedPicture } from "./load_picture.ts";
import type { OpenedDevice, SegmentedPicture } from "./protocol.ts";
import { shorten } from "./shorten.ts";
import type { View } from "./viewer.ts";

/** Small pictures are enlarged by a whole number, so that names are legible. */
const leastSide = 1024;

/** The file names, after the picture's. */
export function fileNames({ name }: LoadedPicture): Record<"overlay" | "labels" | "json", string> {
  const stem = name.replace(/\.[^.]*$/, "") || "picture";
  return { overlay: `${stem}.overlay.png`, labels: `${stem}.labels.png`, json: `${stem}.json` };
}

/** Hands a file to the person. */
export function download(content: BlobPart, type: string, name: string): void {
  const url = URL.createObjectURL(new Blob([content], { type }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** The document that `ovs segment` writes, with the settings. */
export function documentOf(
  loaded: LoadedPicture,
  result: SegmentedPicture,
  device: OpenedDevice,
): string {
  const { width, height, segments, settings, stages, milliseconds } = result;
  const { names, fuser, omega, lambda } = settings;
  const found = segments.reduce((sum, { area }) => sum + area, 0);
  return JSON.stringify(
    {
      image: { file: loaded.name, width, height },
      originalSize: loaded.original,
      classes: names,
      voidValue: voidValue(names.length),
      voidArea: width * height - found,
      segments: segments.map(({ label, index, score, area, bbox, mask, colour }) => ({
        label,
        index,
        score,
        area,
        bbox,
        mask,
        color: colour,
      })),
      files: fileNames(loaded),
      settings: fuser === "gfa" ? { fuser, omega, lambda } : { fuser },
      device: device.description,
      milliseconds: {
        pipeline: milliseconds,
        stages: Object.fromEntries(stages.map((stage) => [stage.role, stage.milliseconds])),
      },
    },
    null,
    2,
  ) + "\n";
}

/** The picture as it is on show, as a PNG. */
export async function drawOverlay(
  loaded: LoadedPicture,
  result: SegmentedPicture,
  view: View,
): Promise<Blob> {
  const { width, height } = result;
  const scale = Math.max(1, Math.round(leastSide / Math.max(width, height)));
  const canvas = make("canvas", { width: width * scale, height: height * scale });
  const context = canvas.getContext("2d")!;
  const layer = async (pixels: ImageData, opacity: number) => {
    const bitmap = await createImageBitmap(pixels);
    context.globalAlpha = opacity;
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
  };
  await layer(loaded.pixels, 1);
  await layer(new ImageData(result.tint, width, height), view.opacity);
  if (view.outlines) await layer(new ImageData(result.outline, width, height), 1);
  context.globalAlpha = 1;
  if (view.names) drawNames(context, result, scale);
  return await new Promise((resolve, reject) => {
    canvas.toBlob((blob) => blob ? resolve(blob) : reject(new Error("no PNG")), "image/png");
  });
}

function drawNames(
  context: CanvasRenderingContext2D,
  { segments }: SegmentedPicture,
  scale: number,
): void {
  const { width, height } = context.canvas;
  const size = Math.max(13, Math.round(Math.max(width, height) / 56));
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  // As on the page: 220 pixels at 12.5 a letter, or 60 % of the picture.
  const widest = Math.min(17.6 * size, 0.6 * width);
  const widthOf = (text: string) => context.measureText(text).width + 1.9 * size;
  const taken: [number, number, number, number][] = [];
  for (const { label, place, colour } of segments) {
    if (place === null || place.room * scale < 0.7 * size) continue;
    const name = shorten(label, (text) => widthOf(text) <= widest);
    const wide = widthOf(name);
    const tall = 1.6 * size;
    const x = Math.max(2, Math.min((place.x + 0.5) * scale - wide / 2, width - wide - 2));
    const y = Math.max(2, Math.min((place.y + 0.5) * scale - tall / 2, height - tall - 2));
    const isCovering = taken.some(([ox, oy, ow, oh]) =>
      x < ox + ow && ox < x + wide && y < oy + oh && oy < y + tall
    );
    if (isCovering) continue;
    taken.push([x, y, wide, tall]);
    context.fillStyle = "rgb(14 16 24 / .82)";
    context.beginPath();
    context.roundRect(x, y, wide, tall, tall / 2);
    context.fill();
    context.fillStyle = colour;
    context.beginPath();
    context.arc(x + 0.85 * size, y + tall / 2, 0.38 * size, 0, 2 * Math.PI);
    context.fill();
    context.fillStyle = "#fff";
    context.fillText(name, x + 1.45 * size, y + tall / 2);
  }
}
