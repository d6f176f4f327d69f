/**
 * Emoji drawings as square pixel sprites, rasterised once and kept in a cache.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import process from "node:process";
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { InputError, OptionError, OutputError } from "../../../lib/errors.ts";
import { importSharp } from "../../codecs/import_sharp.ts";
import {
  type EmojiCategory,
  emojiUniverse,
  iconName,
  packageFile,
  type Style,
  stylePackages,
  styles as allStyles,
} from "./universe.ts";

/** The side of a sprite in pixels, unless asked otherwise. */
export const defaultSpriteSize = 72;

/** A box in pixels. */
export interface Box {
  /** Left edge. */
  readonly x: number;
  /** Top edge. */
  readonly y: number;
  /** Width; 0 where nothing is opaque. */
  readonly width: number;
  /** Height; 0 where nothing is opaque. */
  readonly height: number;
}

/** One drawing: size×size pixels of RGBA, colour premultiplied by alpha (0..255). */
export class Sprite {
  /** Side in pixels. */
  readonly size: number;
  /** Row-major RGBA, premultiplied: over a background b, the colour is rgb + (1 − a/255)·b. */
  readonly rgba: Uint8Array;
  #box: Box | undefined;
  #half: Sprite | undefined;

  /**
   * @param size Side in pixels.
   * @param rgba size·size·4 bytes, premultiplied. Not copied.
   */
  constructor(size: number, rgba: Uint8Array) {
    this.size = size;
    this.rgba = rgba;
  }

  /** The smallest box around the pixels with alpha of at least one half. */
  get box(): Box {
    if (this.#box) return this.#box;
    const { size, rgba } = this;
    let [left, top, right, bottom] = [size, size, -1, -1];
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        if (rgba[(y * size + x) * 4 + 3]! < 128) continue;
        if (x < left) left = x;
        if (x > right) right = x;
        if (y < top) top = y;
        bottom = y;
      }
    }
    this.#box = right < 0
      ? { x: 0, y: 0, width: 0, height: 0 }
      : { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
    return this.#box;
  }

  /** The next coarser mip level: half the side (rounded up), each pixel the mean of 2×2. */
  get half(): Sprite {
    if (this.#half) return this.#half;
    const { size, rgba } = this;
    const side = (size + 1) >> 1;
    const out = new Uint8Array(side * side * 4);
    for (let y = 0; y < side; y++) {
      const above = 2 * y * size;
      const below = Math.min(2 * y + 1, size - 1) * size;
      for (let x = 0; x < side; x++) {
        const left = 2 * x;
        const right = Math.min(left + 1, size - 1);
        for (let c = 0; c < 4; c++) {
          const sum = rgba[(above + left) * 4 + c]! + rgba[(above + right) * 4 + c]! +
            rgba[(below + left) * 4 + c]! + rgba[(below + right) * 4 + c]!;
          out[(y * side + x) * 4 + c] = (sum + 2) >> 2;
        }
      }
    }
    return this.#half = new Sprite(side, out);
  }
}

/** Something that has sprites at hand; what scenes are drawn from. */
export interface SpriteSource {
  /**
   * @param category Index in the universe.
   * @param style Drawing style.
   * @throws {InputError} If that sprite is not at hand.
   */
  sprite(category: number, style: Style): Sprite;
}

interface Icon {
  body: string;
  left?: number;
  top?: number;
  width?: number;
  height?: number;
}

interface IconSet {
  icons: Record<string, Icon>;
  aliases?: Record<string, Partial<Icon> & { parent: string }>;
  width?: number;
  height?: number;
}

/** The SVG text of an icon, centred in a square and scaled to `size` pixels. */
function svgOf(icon: Icon, defaults: { width?: number; height?: number }, size: number): string {
  const width = icon.width ?? defaults.width ?? 16;
  const height = icon.height ?? defaults.height ?? 16;
  const side = Math.max(width, height);
  const left = (icon.left ?? 0) - (side - width) / 2;
  const top = (icon.top ?? 0) - (side - height) / 2;
  return `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" ` +
    `width="${size}" height="${size}" viewBox="${left} ${top} ${side} ${side}">${icon.body}</svg>`;
}

/** Rasterises SVG text to premultiplied RGBA. */
async function rasterise(svg: string, size: number, out: Uint8Array): Promise<void> {
  const sharp = await importSharp();
  const { data, info } = await sharp(Buffer.from(svg)).resize(size, size, { kernel: "cubic" })
    .ensureAlpha().raw().toBuffer({ resolveWithObject: true });
  if (info.channels !== 4 || data.length !== out.length) {
    throw new InputError(`rasteriser gave ${info.width}×${info.height}×${info.channels}`);
  }
  for (let i = 0; i < data.length; i += 4) {
    const a = data[i + 3]!;
    // Rounded division by 255 in integers.
    for (let c = 0; c < 3; c++) {
      const v = data[i + c]! * a + 128;
      out[i + c] = (v + (v >> 8)) >> 8;
    }
    out[i + 3] = a;
  }
}

/** Resolves an icon by name, following aliases (which never chain here, but may). */
function findIcon(set: IconSet, name: string, style: Style): Icon {
  let extra: Partial<Icon> = {};
  for (let hops = 0; hops < 8; hops++) {
    const icon = set.icons[name];
    if (icon) return { ...icon, ...extra };
    const alias = set.aliases?.[name];
    if (!alias) break;
    const { parent, ...rest } = alias;
    extra = { ...rest, ...extra };
    name = parent;
  }
  throw new InputError(`${stylePackages[style]}: no icon "${name}"`);
}

function readIconSet(style: Style): IconSet {
  return JSON.parse(readFileSync(packageFile(`${stylePackages[style]}/icons.json`), "utf8"));
}

/**
 * Only the named icons of a package. Parsing the whole of a 25 MB file takes longer than drawing a
 * scene, so each icon is cut out of the text by the indentation that the packages are printed with;
 * if that ever changes, the whole file is parsed after all.
 */
function readIcons(style: Style, names: readonly string[]): IconSet {
  const text = readFileSync(packageFile(`${stylePackages[style]}/icons.json`), "latin1");
  const icons: Record<string, Icon> = {};
  for (const name of names) {
    const start = text.indexOf(`\n\t\t${JSON.stringify(name)}: {`);
    const end = start < 0 ? -1 : text.indexOf("\n\t\t}", start);
    let icon: Partial<Icon> | undefined;
    if (end >= 0) {
      try {
        icon = JSON.parse(
          Buffer.from(text.slice(text.indexOf("{", start), end + 4), "latin1").toString("utf8"),
        );
      } catch {
        icon = undefined;
      }
    }
    if (typeof icon?.body !== "string") return readIconSet(style);
    icons[name] = icon as Icon;
  }
  const size = (key: string) => {
    const found = text.slice(-400).match(new RegExp(`\n\t"${key}": (\\d+)`));
    return found ? Number(found[1]) : undefined;
  };
  const [width, height] = [size("width"), size("height")];
  if (width === undefined || height === undefined) return readIconSet(style);
  return { icons, width, height };
}

/** Runs `work` for each item with at most `limit` under way. */
async function eachLimited<T>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < items.length) await work(items[next++]!);
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
}

/** A mixing checksum of the pixels, a word at a time; catches bit rot, not malice. */
function checksum(bytes: Uint8Array): number {
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
  let h = 0x811c9dc5;
  for (let i = 0; i < words.length; i++) h = Math.imul(h ^ words[i]!, 0x01000193) ^ (h >>> 15);
  return h >>> 0;
}

const headerBytes = 512;

interface PackHeader {
  format: "ovstage-sprites-1";
  style: Style;
  package: string;
  universe: number;
  size: number;
  count: number;
  checksum: number;
}

/** What a valid pack's header says, except for the checksum of its pixels. */
function expectedHeader(
  style: Style,
  size: number,
  categories: readonly EmojiCategory[],
): Omit<PackHeader, "checksum"> {
  const name = stylePackages[style];
  const { version } = JSON.parse(readFileSync(packageFile(`${name}/package.json`), "utf8"));
  const codes = new TextEncoder().encode(categories.map(({ hexcode }) => hexcode).join(" "));
  const padded = new Uint8Array((codes.length + 3) & ~3);
  padded.set(codes);
  return {
    format: "ovstage-sprites-1",
    style,
    package: `${name}@${version}`,
    universe: checksum(padded),
    size,
    count: categories.length,
  };
}

/** The pixels of a pack file, or undefined where it is missing, stale, cut short or damaged. */
async function readPack(
  path: string,
  expected: Omit<PackHeader, "checksum">,
): Promise<Uint8Array | undefined> {
  let file: Uint8Array;
  try {
    file = await readFile(path);
  } catch {
    return undefined;
  }
  const length = expected.count * expected.size * expected.size * 4;
  if (file.length !== headerBytes + length) return undefined;
  // A copy where the runtime hands out an unaligned view: the checksum reads words.
  const aligned = file.byteOffset % 4 === 0 ? file : file.slice();
  const pixels = aligned.subarray(headerBytes);
  try {
    const { checksum: sum, ...rest } = JSON.parse(
      new TextDecoder().decode(file.subarray(0, headerBytes)),
    ) as PackHeader;
    for (const [key, value] of Object.entries(expected)) {
      if (rest[key as keyof typeof rest] !== value) return undefined;
    }
    return sum === checksum(pixels) ? pixels : undefined;
  } catch {
    return undefined;
  }
}

/** Writes a pack beside its place and renames it there: readers see the old file or the new. */
async function writePack(path: string, header: PackHeader, pixels: Uint8Array): Promise<void> {
  const temporary = `${path}.${process.pid}.${Math.trunc(performance.now() * 1000)}.tmp`;
  try {
    const file = await open(temporary, "w");
    try {
      await file.writeFile(JSON.stringify(header).padEnd(headerBytes - 1, " ") + "\n");
      await file.writeFile(pixels);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new OutputError(`${path}: the sprite cache can't be written: ${why}`, { cause });
  }
}

/** Options of {@linkcode SpriteStore.open}. */
export interface SpriteStoreOptions {
  /** Folder of the pack files, one per style; created where missing. */
  readonly cacheDir?: string;
  /** The styles to have at hand; all four where left out. */
  readonly styles?: readonly Style[];
  /** Side of a sprite in pixels. */
  readonly size?: number;
  /** The categories to have at hand; the whole universe where left out. */
  readonly categories?: readonly EmojiCategory[];
  /** Drawings rasterised at once. */
  readonly concurrency?: number;
  /** Told while a style is being rasterised; never called when the cache holds it already. */
  readonly onProgress?: (progress: { style: Style; done: number; total: number }) => void;
  /** Stops the work; what was complete stays in the cache. */
  readonly signal?: AbortSignal;
}

function checkSize(size: number): void {
  if (!Number.isInteger(size) || size < 8 || size > 512) {
    throw new OptionError(`sprite size ${size}: must be an integer from 8 to 512`);
  }
}

/**
 * The sprites of the universe: read from a cache of one pack file per style
 * ({@linkcode SpriteStore.open}, for training), or rasterised when asked for
 * ({@linkcode SpriteStore.onDemand}, for a single scene).
 *
 * @example
 * ```ts
 * import { SpriteStore } from "./sprites.ts";
 * const store = SpriteStore.onDemand();
 * await store.load([{ category: 0, style: "noto" }]);
 * console.log(store.sprite(0, "noto").size); // 72
 * ```
 */
export class SpriteStore implements SpriteSource {
  /** Side of a sprite in pixels. */
  readonly size: number;
  readonly #sprites = new Map<Style, Map<number, Sprite>>();

  private constructor(size: number) {
    checkSize(size);
    this.size = size;
  }

  /**
   * Opens the cache; rasterises a style and writes its pack where there is none, or where the
   * pack is cut short, damaged, or made from another version of the artwork.
   *
   * @throws {OutputError} If the cache can't be written.
   * @throws {OptionError} If the size is out of range.
   */
  static async open(options: SpriteStoreOptions = {}): Promise<SpriteStore> {
    const store = new SpriteStore(options.size ?? defaultSpriteSize);
    const categories = options.categories ?? emojiUniverse();
    const cacheDir = options.cacheDir ?? join(".cache", "sprites");
    for (const style of options.styles ?? allStyles) {
      options.signal?.throwIfAborted();
      const expected = expectedHeader(style, store.size, categories);
      const path = join(cacheDir, `${style}-${store.size}.sprites`);
      let pixels = await readPack(path, expected);
      if (!pixels) {
        pixels = await store.#build(style, categories, options);
        try {
          await mkdir(cacheDir, { recursive: true });
        } catch (cause) {
          throw new OutputError(`${cacheDir}: can't be made a folder for sprites`, { cause });
        }
        await writePack(path, { ...expected, checksum: checksum(pixels) }, pixels);
      }
      const bytes = store.size * store.size * 4;
      categories.forEach(({ index }, i) =>
        store.#put(index, style, pixels.subarray(i * bytes, (i + 1) * bytes))
      );
    }
    return store;
  }

  /**
   * An empty store; call {@linkcode SpriteStore.load} before asking for a sprite.
   *
   * @param options The sprites' side in pixels.
   */
  static onDemand(options: { size?: number } = {}): SpriteStore {
    return new SpriteStore(options.size ?? defaultSpriteSize);
  }

  /**
   * Rasterises what is not at hand yet, reading only those drawings out of the packages.
   *
   * @param wanted Pairs of category index and style.
   * @throws {InputError} If an index is outside the universe.
   */
  async load(wanted: readonly { category: number; style: Style }[]): Promise<void> {
    const universe = emojiUniverse();
    for (const style of allStyles) {
      const missing = [
        ...new Set(wanted.filter((w) => w.style === style).map((w) => w.category)),
      ].filter((category) => !this.#sprites.get(style)?.has(category));
      if (missing.length === 0) continue;
      const names = missing.map((index) => {
        const category = universe[index];
        if (!category) throw new InputError(`category ${index}: not in the emoji universe`);
        return iconName(category.hexcode, style)!;
      });
      const set = readIcons(style, names);
      await eachLimited([...missing.keys()], 4, async (i) => {
        const pixels = new Uint8Array(this.size * this.size * 4);
        await rasterise(svgOf(findIcon(set, names[i]!, style), set, this.size), this.size, pixels);
        this.#put(missing[i]!, style, pixels);
      });
    }
  }

  /** One sprite; a lookup, no work. */
  sprite(category: number, style: Style): Sprite {
    const sprite = this.#sprites.get(style)?.get(category);
    if (!sprite) {
      throw new InputError(`no sprite of category ${category} in style "${style}": load it first`);
    }
    return sprite;
  }

  #put(category: number, style: Style, pixels: Uint8Array): void {
    let sprites = this.#sprites.get(style);
    if (!sprites) this.#sprites.set(style, sprites = new Map());
    sprites.set(category, new Sprite(this.size, pixels));
  }

  async #build(
    style: Style,
    categories: readonly EmojiCategory[],
    options: SpriteStoreOptions,
  ): Promise<Uint8Array> {
    const set = readIconSet(style);
    const bytes = this.size * this.size * 4;
    const pixels = new Uint8Array(categories.length * bytes);
    let done = 0;
    await eachLimited([...categories.entries()], options.concurrency ?? 4, async ([i, c]) => {
      options.signal?.throwIfAborted();
      const svg = svgOf(findIcon(set, iconName(c.hexcode, style)!, style), set, this.size);
      await rasterise(svg, this.size, pixels.subarray(i * bytes, (i + 1) * bytes));
      options.onProgress?.({ style, done: ++done, total: categories.length });
    });
    return pixels;
  }
}
