/**
 * Pictures for people: one or more images side by side over a common legend.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { InputError } from "../../lib/errors.ts";
import type { Image } from "../../lib/image/image.ts";
import { type Rgb, toHex } from "../../lib/image/palette.ts";
import { importSharp } from "./import_sharp.ts";
import { outlineText, type TextOutline } from "./text_outlines.ts";

/** A name inside a panel. */
export interface Mark {
  /** Column that it is centred at. */
  x: number;
  /** Row that it is centred at. */
  y: number;
  /** Pixels above and below that it may fill; where that is too little, it is left out. */
  room: number;
  /** The name. */
  label: string;
  /** Stands for the name, as `#12`, where no font draws it. */
  index: number;
}

/** One image of a figure. */
export interface Panel {
  /** The picture; all panels of a figure have the same size. */
  image: Image;
  /** A line above it. */
  title?: string;
  /** Names on top of it, the most important first: one that would cover another is left out. */
  marks?: readonly Mark[];
}

/** One entry of a legend. */
export interface LegendEntry {
  /** Its swatch. */
  colour: Rgb;
  /** The name of the class. */
  label: string;
  /** A remark in grey after the name, such as the share of the image. */
  note?: string;
  /** Stands for the name, as `#12`, where no font draws it. */
  index: number;
}

/** What a figure shows. */
export interface FigureOptions {
  /** The images, from left to right; at least one. */
  panels: readonly Panel[];
  /** The legend, in this order. */
  legend: readonly LegendEntry[];
  /** Entries shown at most; the rest are counted. 32 where left out. */
  maxEntries?: number;
}

const INK = "#1f2328";
const GREY = "#6e7781";
const PAPER = "#ffffff";
const MIN_WIDTH = 280;

/** A line that fits `room` pixels, shortened with an ellipsis where it has to be. */
async function fit(text: string, size: number, room: number): Promise<TextOutline | null> {
  const whole = await outlineText(text, size);
  if (whole === null || whole.width <= room) return whole;
  // No name is drawn longer than the picture is wide: bisect the longest beginning that fits.
  const chars = [...text];
  let fits = 0;
  let fails = Math.min(chars.length, Math.ceil(room));
  let best: TextOutline | null = null;
  while (fails - fits > 1) {
    const middle = (fits + fails) >> 1;
    const part = await outlineText(chars.slice(0, middle).join("").trimEnd() + "…", size);
    if (part !== null && part.width <= room) [fits, best] = [middle, part];
    else fails = middle;
  }
  return best ?? { svg: "", width: 0 };
}

/** The legend as SVG elements from (0, 0), and its height. */
async function drawLegend(
  entries: readonly LegendEntry[],
  hidden: number,
  width: number,
  size: number,
): Promise<{ svg: string; height: number }> {
  const pad = size;
  const swatch = size * 1.1;
  const gap = size * 0.55;
  const line = size * 1.75;
  const room = width - 2 * pad;
  const drawn = await Promise.all(entries.map(async ({ colour, label, note, index }) => {
    const remark = note === undefined ? null : await outlineText(note, size * 0.85);
    const remarkWidth = remark === null ? 0 : gap + remark.width;
    // One endless name must not cost the others their columns.
    const most = Math.min(room, Math.max(room * 0.47, size * 14)) - swatch - gap - remarkWidth;
    const name = await fit(label, size, most) ?? await outlineText(`#${index}`, size);
    return { colour, name: name!, remark, width: swatch + gap + name!.width + remarkWidth };
  }));
  const widest = Math.max(1, ...drawn.map((entry) => entry.width));
  const most = Math.max(1, Math.floor((room + size * 1.5) / (widest + size * 1.5)));
  // Equal rows look better than one full row and a lonely entry.
  const columns = Math.ceil(drawn.length / Math.ceil(drawn.length / most)) || 1;
  const rows = Math.ceil(drawn.length / columns);
  const columnWidth = room / columns;
  let svg = "";
  drawn.forEach(({ colour, name, remark }, i) => {
    const x = pad + Math.floor(i / rows) * columnWidth;
    const y = pad * 0.7 + (i % rows) * line;
    const baseline = y + line / 2 + size * 0.36;
    svg += `<rect x="${x.toFixed(1)}" y="${(y + (line - swatch) / 2).toFixed(1)}" ` +
      `width="${swatch}" height="${swatch}" rx="${size * 0.25}" fill="${toHex(colour)}" ` +
      `stroke="#000" stroke-opacity="0.15"/>`;
    const at = x + swatch + gap;
    svg += `<g transform="translate(${at.toFixed(1)} ${baseline.toFixed(1)})" fill="${INK}">` +
      `${name.svg}</g>`;
    if (remark !== null) {
      svg += `<g transform="translate(${(at + name.width + gap).toFixed(1)} ` +
        `${baseline.toFixed(1)})" fill="${GREY}">${remark.svg}</g>`;
    }
  });
  let height = pad * 1.4 + rows * line;
  const remark = entries.length === 0
    ? "no class found"
    : hidden > 0
    ? `and ${hidden} more`
    : undefined;
  if (remark !== undefined) {
    const text = await fit(remark, size, room);
    svg += `<g transform="translate(${pad} ${(height - pad * 0.7 + size).toFixed(1)})" ` +
      `fill="${GREY}">${text?.svg ?? ""}</g>`;
    height += line;
  }
  return { svg, height: Math.ceil(height) };
}

/** The names of a panel as SVG images with their places in the panel. */
async function drawMarks(
  marks: readonly Mark[],
  width: number,
  height: number,
  size: number,
): Promise<{ input: Buffer; left: number; top: number }[]> {
  const halo = size * 0.16;
  const tall = Math.ceil(size * 1.35 + 2 * halo);
  const drawn: { input: Buffer; left: number; top: number; wide: number }[] = [];
  for (const { x, y, room, label, index } of marks) {
    if (room < size * 0.6) continue;
    const text = await outlineText(label, size) ?? await outlineText(`#${index}`, size);
    const wide = Math.ceil((text?.width ?? 0) + 2 * halo);
    if (text === null || wide > width || tall > height) continue;
    const left = Math.round(Math.min(Math.max(0, x - wide / 2), width - wide));
    const top = Math.round(Math.min(Math.max(0, y - tall / 2), height - tall));
    const isCovering = drawn.some((other) =>
      left < other.left + other.wide && other.left < left + wide &&
      top < other.top + tall && other.top < top + tall
    );
    if (isCovering) continue;
    const glyphs = `<g transform="translate(${halo} ${(halo + size * 1.02).toFixed(1)})"`;
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" ` +
      `xmlns:xlink="http://www.w3.org/1999/xlink" width="${wide}" height="${tall}">` +
      `${glyphs} fill="${INK}" stroke="${INK}" stroke-width="${2 * halo}" ` +
      `stroke-linejoin="round">${text.svg}</g>${glyphs} fill="${PAPER}">${text.svg}</g></svg>`;
    drawn.push({ input: Buffer.from(svg), left, top, wide });
  }
  return drawn.map(({ input, left, top }) => ({ input, left, top }));
}

/**
 * Draws a figure: the panels at their own size, side by side, and a legend below them on white. The
 * text needs no installed font, and grows with the panels.
 *
 * @param options Panels and legend.
 * @returns The bytes of a PNG file.
 * @throws {InputError} If there is no panel, or panels differ in size.
 */
export async function renderFigure(options: FigureOptions): Promise<Uint8Array> {
  const { panels, legend, maxEntries = 32 } = options;
  const first = panels[0];
  if (first === undefined) throw new InputError("figure: at least one panel is needed");
  const { width, height } = first.image;
  for (const { image } of panels) {
    if (image.width !== width || image.height !== height) {
      throw new InputError(
        `figure: panels of ${width}×${height} and ${image.width}×${image.height} pixels; ` +
          `all must have the same size`,
      );
    }
  }
  const sharp = await importSharp();
  const size = Math.max(13, Math.round(Math.sqrt(width * height) / 44));
  const alone = panels.length === 1;
  const gutter = alone ? 0 : size;
  const titled = panels.some(({ title }) => title !== undefined);
  const top = titled ? Math.round(size * 2.2) : gutter;
  const panelsWidth = panels.length * width + (panels.length + 1) * gutter;
  const total = Math.max(MIN_WIDTH, panelsWidth);
  const margin = Math.floor((total - panelsWidth) / 2);
  const lefts = panels.map((_, i) => margin + gutter + i * (width + gutter));

  let titles = "";
  for (const [i, { title }] of panels.entries()) {
    const text = title === undefined ? null : await fit(title, size, width);
    if (text !== null) {
      titles += `<g transform="translate(${lefts[i]} ${
        size * 1.45
      })" fill="${INK}">${text.svg}</g>`;
    }
  }
  const shown = legend.slice(0, maxEntries);
  const drawn = await drawLegend(shown, legend.length - shown.length, total, size);
  const svg = (body: string, h: number) =>
    Buffer.from(
      `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" ` +
        `width="${total}" height="${h}">${body}</svg>`,
    );
  const layers = [{ input: svg(drawn.svg, drawn.height), left: 0, top: top + height }];
  if (titles !== "") layers.push({ input: svg(titles, top), left: 0, top: 0 });

  const names = await Promise.all(
    panels.map(async ({ marks = [] }, i) =>
      (await drawMarks(marks, width, height, size))
        .map((mark) => ({ ...mark, left: lefts[i]! + mark.left, top: top + mark.top }))
    ),
  );

  const raw = { raw: { width, height, channels: 3 as const } };
  // The first panel is the canvas: a large image is not copied into another one of its size.
  const bytes = await sharp(first.image.rgb, { ...raw, limitInputPixels: false })
    .extend({
      left: lefts[0]!,
      right: total - lefts[0]! - width,
      top,
      bottom: drawn.height,
      background: PAPER,
    })
    .composite([
      ...panels.slice(1).map(({ image }, i) => ({
        input: Buffer.from(image.rgb.buffer, image.rgb.byteOffset, image.rgb.length),
        ...raw,
        left: lefts[i + 1]!,
        top,
      })),
      ...layers,
      ...names.flat(),
    ])
    .removeAlpha()
    .png({ compressionLevel: 5 })
    .toBuffer();
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}
