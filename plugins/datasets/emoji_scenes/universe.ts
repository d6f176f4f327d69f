/**
 * The category universe of EmojiScenes: every CLDR emoji that four artists have drawn, by name.
 *
 * @module
 */
import { createRequire } from "node:module";
import { PackageError } from "../../../lib/errors.ts";

/** The four drawing styles; each is an Iconify package on npm, see {@linkcode stylePackages}. */
export const styles = ["noto", "twemoji", "fluent", "openmoji"] as const;

/** One of the four drawing styles. */
export type Style = (typeof styles)[number];

/** The style that no training sees, so that tests can ask about a drawing hand never met. */
export const heldOutStyle = "openmoji" satisfies Style;

/** The styles that training may draw from: all but {@linkcode heldOutStyle}. */
export const trainingStyles: readonly Style[] = ["noto", "twemoji", "fluent"];

/** The npm package that holds each style's drawings. */
export const stylePackages: Readonly<Record<Style, string>> = {
  noto: "@iconify-json/noto",
  twemoji: "@iconify-json/twemoji",
  fluent: "@iconify-json/fluent-emoji-flat",
  openmoji: "@iconify-json/openmoji",
};

/** A thing with a name: one emoji of the universe. */
export interface EmojiCategory {
  /** Unicode code points in upper case hexadecimal, joined by "-", as emojibase writes them. */
  readonly hexcode: string;
  /** The CLDR short name, unique in the universe, e.g. "dog face". */
  readonly name: string;
  /** The name first, then CLDR's keywords without repetition. */
  readonly captions: readonly string[];
  /** Unicode's group, e.g. "animals-nature". */
  readonly group: string;
  /** Unicode's subgroup, e.g. "animal-mammal". */
  readonly subgroup: string;
  /** Position in {@linkcode emojiUniverse}, in Unicode's own order. */
  readonly index: number;
}

interface EmojibaseEntry {
  hexcode: string;
  label: string;
  tags?: string[];
  group?: number;
  subgroup?: number;
  order?: number;
}

interface EmojibaseGroups {
  groups: Record<string, string>;
  subgroups: Record<string, string>;
}

const require = createRequire(import.meta.url);

/** The path of a file in an installed npm package, e.g. `@iconify-json/noto/icons.json`. */
export function packageFile(path: string): string {
  try {
    return require.resolve(path);
  } catch (cause) {
    const name = path.split("/", path.startsWith("@") ? 2 : 1).join("/");
    throw new PackageError(
      `${path}: not installed; run \`deno install\`, or in Node \`npm install ${name}\``,
      { cause },
    );
  }
}

/** Unicode's variation selector 16 only asks for colour; the packages leave it out of their keys. */
function charsKey(hexcode: string): string {
  return hexcode.toLowerCase().split("-").filter((point) => point !== "fe0f").join("-");
}

const iconNames = new Map<Style, ReadonlyMap<string, string>>();

/** Icon names of a style by code points (lower case, without FE0F). */
function iconNamesOf(style: Style): ReadonlyMap<string, string> {
  let names = iconNames.get(style);
  if (!names) {
    const chars = require(packageFile(`${stylePackages[style]}/chars.json`)) as Record<
      string,
      string
    >;
    names = new Map(Object.entries(chars).map(([key, name]) => [charsKey(key), name]));
    iconNames.set(style, names);
  }
  return names;
}

/**
 * The name under which a style's package keeps an emoji's drawing.
 *
 * @param hexcode Code points as in {@linkcode EmojiCategory.hexcode}.
 * @param style The drawing style.
 * @returns The icon's name, or undefined where this style has no such drawing.
 */
export function iconName(hexcode: string, style: Style): string | undefined {
  return iconNamesOf(style).get(charsKey(hexcode));
}

/** Drawings of bare lettering: they are read, not recognised. */
const letteringSubgroups: ReadonlySet<string> = new Set(["keycap", "alphanum"]);
const letteringNames: ReadonlySet<string> = new Set([
  "copyright",
  "registered",
  "trade mark",
  "hundred points",
  "ZZZ",
]);
const excludedGroups: ReadonlySet<string> = new Set(["component", "flags"]);

let universe: readonly EmojiCategory[] | undefined;

/**
 * All categories: the CLDR emoji that each of the four styles draws, without flags, keycaps,
 * skin-tone variants and components, and bare letters or digits. The order is Unicode's, so an
 * index means the same emoji as long as the packages' versions, pinned in `deno.json`, stay. The
 * tables are read on the first call, not on import.
 *
 * @returns The same frozen list on each call.
 * @throws {PackageError} If a package is not installed.
 * @example
 * ```ts
 * import { emojiUniverse } from "./universe.ts";
 * const dog = emojiUniverse().find((category) => category.name === "dog face")!;
 * console.log(dog.hexcode, dog.captions[0]); // "1F436", "dog face"
 * ```
 */
export function emojiUniverse(): readonly EmojiCategory[] {
  if (universe) return universe;
  const entries = require(packageFile("emojibase-data/en/data.json")) as EmojibaseEntry[];
  const groups = require(packageFile("emojibase-data/meta/groups.json")) as EmojibaseGroups;
  const found: EmojiCategory[] = [];
  const ordered = [...entries].sort((a, b) => (a.order ?? 0) - (b.order ?? 0));
  for (const { hexcode, label, tags, group, subgroup } of ordered) {
    // Regional indicators have no group; skin-tone variants are not entries of their own.
    if (group === undefined || subgroup === undefined) continue;
    const groupName = groups.groups[group]!;
    const subgroupName = groups.subgroups[subgroup]!;
    if (excludedGroups.has(groupName) || letteringSubgroups.has(subgroupName)) continue;
    if (letteringNames.has(label)) continue;
    if (!styles.every((style) => iconName(hexcode, style) !== undefined)) continue;
    found.push(Object.freeze({
      hexcode,
      name: label,
      captions: Object.freeze([...new Set([label, ...(tags ?? [])])]),
      group: groupName,
      subgroup: subgroupName,
      index: found.length,
    }));
  }
  universe = Object.freeze(found);
  return universe;
}
