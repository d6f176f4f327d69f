/**
 * Text as outlines: a machine without a single font still gets a readable legend, and the same
 * picture comes out everywhere.
 *
 * @module
 */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { Font, PathCommand } from "opentype.js";

/** A line of text as SVG. */
export interface TextOutline {
  /** SVG elements with their baseline at y = 0, starting at x = 0. Glyphs take the `fill` around. */
  svg: string;
  /** Advance width in pixels. */
  width: number;
}

interface Subset {
  file: string;
  ranges: [first: number, last: number][];
}

/** Each script's fonts, tried in this order; both come in subsets that load one by one. */
const packages = ["@fontsource/noto-sans", "@fontsource/zcool-xiaowei"] as const;
const latin = [
  "latin",
  "latin-ext",
  "greek",
  "greek-ext",
  "cyrillic",
  "cyrillic-ext",
  "vietnamese",
];

const require = createRequire(import.meta.url);

function parseRanges(text: string): [number, number][] {
  return text.split(",").map((range) => {
    const [first, last] = range.trim().replace("U+", "").split("-").map((hex) => parseInt(hex, 16));
    return [first!, last ?? first!];
  });
}

async function loadSubsets(name: (typeof packages)[number]): Promise<Subset[]> {
  const path = require.resolve(`${name}/unicode.json`);
  const ranges: Record<string, string> = JSON.parse(await readFile(path, "utf8"));
  const short = name.split("/")[1];
  return Object.entries(ranges)
    // Scripts whose letters join or reorder need a shaping engine: better no text than wrong text.
    .filter(([subset]) => name !== "@fontsource/noto-sans" || latin.includes(subset))
    .map(([subset, range]) => ({
      file: `${name}/files/${short}-${subset.replace(/[[\]]/g, "")}-400-normal.woff`,
      ranges: parseRanges(range),
    }));
}

const subsets = new Map<string, Promise<Subset[]>>();
const fonts = new Map<string, Promise<Font>>();

function loadFont(file: string): Promise<Font> {
  let font = fonts.get(file);
  if (font === undefined) {
    font = (async () => {
      const [{ default: opentype }, bytes] = await Promise.all([
        import("opentype.js"),
        readFile(require.resolve(file)),
      ]);
      // lowMemory leaves glyphs unparsed until they are drawn: a name has ten, the font thousands.
      return opentype.parse(
        bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer,
        { lowMemory: true },
      );
    })();
    fonts.set(file, font);
  }
  return font;
}

/** The font that draws a character, or null. */
async function fontFor(codePoint: number): Promise<Font | null> {
  for (const name of packages) {
    let list = subsets.get(name);
    if (list === undefined) subsets.set(name, list = loadSubsets(name));
    for (const { file, ranges } of await list) {
      if (!ranges.some(([first, last]) => first <= codePoint && codePoint <= last)) continue;
      const font = await loadFont(file);
      if (font.charToGlyphIndex(String.fromCodePoint(codePoint)) > 0) return font;
    }
  }
  return null;
}

interface Icons {
  names: Record<string, string>;
  icons: Record<string, { body: string; width?: number }>;
  aliases: Record<string, { parent: string }>;
  width: number;
}
let emoji: Promise<Icons> | undefined;

/** An emoji as the Noto project draws it, in a square box; null where it has no drawing. */
async function emojiDrawing(grapheme: string): Promise<{ body: string; side: number } | null> {
  emoji ??= (async () => {
    const read = async (file: string) =>
      JSON.parse(await readFile(require.resolve(`@iconify-json/noto/${file}`), "utf8"));
    const [names, set] = await Promise.all([read("chars.json"), read("icons.json")]);
    return { names, icons: set.icons, aliases: set.aliases ?? {}, width: set.width };
  })();
  const { names, icons, aliases, width } = await emoji;
  const points = [...grapheme].map((char) => char.codePointAt(0)!.toString(16).padStart(4, "0"))
    .filter((point) => point !== "fe0f");
  const name = names[points.join("-")] ?? "";
  const icon = icons[name] ?? icons[aliases[name]?.parent ?? ""];
  if (icon === undefined) return null;
  const side = icon.width ?? width;
  return { body: icon.body, side };
}

/** Outlines as SVG has them; opentype.js writes NaN for what JavaScript prints as 1e-7. */
function pathData(commands: readonly PathCommand[]): string {
  return commands.map((command) => {
    const at = (...numbers: number[]) => numbers.map((n) => Math.round(100 * n) / 100).join(" ");
    switch (command.type) {
      case "Z":
        return "Z";
      case "Q":
        return `Q${at(command.x1, command.y1, command.x, command.y)}`;
      case "C":
        return `C${at(command.x1, command.y1, command.x2, command.y2, command.x, command.y)}`;
      default:
        return command.type + at(command.x, command.y);
    }
  }).join("");
}

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });
const pictographic = /\p{Extended_Pictographic}|\p{Regional_Indicator}|\u20e3/u;

/**
 * Draws one line of text: Latin, Greek and Cyrillic (Noto Sans), Chinese (ZCOOL XiaoWei), emoji
 * (Noto Emoji, in colour). Fonts load when their first character is asked for.
 *
 * @param text One line; control characters count as spaces.
 * @param size Font size in pixels.
 * @returns The drawing, or null where some character is in none of the fonts.
 */
export async function outlineText(text: string, size: number): Promise<TextOutline | null> {
  const parts: string[] = [];
  let d = "";
  let x = 0;
  for (
    const { segment } of graphemes.segment(text.normalize("NFC").replace(/\p{Cc}/gu, " "))
  ) {
    if (pictographic.test(segment)) {
      const drawing = await emojiDrawing(segment);
      if (drawing === null) return null;
      const side = size * 1.15;
      // A viewport of its own: some drawings reach out of their box.
      parts.push(
        `<svg x="${x.toFixed(2)}" y="${(-0.92 * size).toFixed(2)}" width="${side}" ` +
          `height="${side}" viewBox="0 0 ${drawing.side} ${drawing.side}">${drawing.body}</svg>`,
      );
      x += side * 1.04;
      continue;
    }
    for (const char of segment) {
      if (/\p{Cf}|\p{Variation_Selector}/u.test(char)) continue;
      const font = await fontFor(char.codePointAt(0)!);
      if (font === null) return null;
      const glyph = font.charToGlyph(char);
      const scale = size / font.unitsPerEm;
      d += pathData(glyph.getPath(x, 0, size).commands);
      x += (glyph.advanceWidth ?? 0) * scale;
    }
  }
  if (d !== "") parts.push(`<path d="${d}"/>`);
  return { svg: parts.join(""), width: x };
}
