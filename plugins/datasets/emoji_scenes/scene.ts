/**
 * Scenes of EmojiScenes: objects over textures, with exact label maps, from a seed.
 *
 * @module
 */
import { OptionError } from "../../../lib/errors.ts";
import { Rng } from "../../../lib/rng.ts";
import { drawSprite, type Placement, sinCos } from "./composite.ts";
import type { Box, SpriteSource, SpriteStore } from "./sprites.ts";
import { fractalNoise, paintStuff, stuffCategories, type StuffName } from "./textures.ts";
import { emojiUniverse, type Style, trainingStyles } from "./universe.ts";

/** The vocabulary's last name: objects that no name of the vocabulary fits. */
export const othersName = "others";

/** Which scene to render. */
export interface SceneOptions {
  /** The scene's number; the same seed and options give the same bytes. */
  readonly seed: number;
  /** Width and height in pixels, at least 32; 128 where left out. Everything scales with it. */
  readonly size?: number;
  /** Universe indices of the things that the vocabulary names, in the vocabulary's order. */
  readonly categories: readonly number[];
  /** Universe indices of things outside the vocabulary; they are labelled "others". */
  readonly others?: readonly number[];
  /** Share of objects drawn from `others`, 0..1; 0.15 where left out. No matter without `others`. */
  readonly othersShare?: number;
  /** Drawing styles to choose from; the three training styles where left out. */
  readonly styles?: readonly Style[];
}

/** A region of the scene that belongs together. */
export interface SceneSegment {
  /** Its number in {@linkcode Scene.segmentIds}; unique in the scene, above 0. */
  readonly id: number;
  /** Its index in {@linkcode sceneVocabulary}, as in {@linkcode Scene.labels}. */
  readonly label: number;
  /** Its name in the vocabulary. */
  readonly category: string;
  /** Its index in the universe, of "others" too; −1 for a texture. */
  readonly categoryIndex: number;
  /** An object of the vocabulary, a texture, or an object outside of the vocabulary. */
  readonly kind: "thing" | "stuff" | "others";
  /** How many pixels show it. */
  readonly area: number;
  /** The smallest box around those pixels. */
  readonly box: Box;
}

/** A rendered scene. */
export interface Scene {
  /** Width in pixels. */
  readonly width: number;
  /** Height in pixels. */
  readonly height: number;
  /** height·width·3 bytes, RGB interleaved. */
  readonly rgb: Uint8Array;
  /** height·width segment ids: the segment that each pixel shows. Each id is in `segments`. */
  readonly segmentIds: Uint16Array;
  /** height·width indices into {@linkcode sceneVocabulary}. */
  readonly labels: Int32Array;
  /** All segments that show at least one pixel. */
  readonly segments: readonly SceneSegment[];
}

/**
 * The names that label maps index: the things in the given order, then the twelve textures of
 * {@linkcode stuffCategories}, then "others".
 *
 * @param categories Universe indices, as in {@linkcode SceneOptions.categories}.
 * @example
 * ```ts
 * import { sceneVocabulary } from "./scene.ts";
 * console.log(sceneVocabulary([0]).length); // 14
 * ```
 */
export function sceneVocabulary(categories: readonly number[]): string[] {
  const universe = emojiUniverse();
  return [...categories.map((index) => universe[index]!.name), ...stuffCategories, othersName];
}

/** An object to be drawn. */
export interface PlannedObject {
  /** Universe index. */
  readonly category: number;
  /** Index in the vocabulary. */
  readonly label: number;
  /** Drawing style. */
  readonly style: Style;
  /** Where and how. */
  readonly placement: Placement;
}

/** A border between two textures: a line with a wobble. */
interface Border {
  nx: number;
  ny: number;
  distance: number;
  wobble: number;
  frequency: number;
  phase: number;
}

/** Everything that chance decides about a scene, before a pixel is drawn. */
export interface ScenePlan {
  /** Width and height in pixels. */
  readonly size: number;
  /** The number of things in the vocabulary. */
  readonly things: number;
  /** Textures, each with the seed of its variation. */
  readonly stuff: readonly { readonly name: StuffName; readonly seed: number }[];
  /** Borders between the textures, one fewer than textures. */
  readonly borders: readonly Readonly<Border>[];
  /** Objects, from back to front. */
  readonly objects: readonly PlannedObject[];
}

/** Mirrored, these would draw what another name names, or lettering that nobody could read. */
export const handed =
  /left|right|clockwise|arrow|sign$|closet|place medal|calendar|eighteen|store|e-mail|mahjong|yen/;

/** The share of an object that must stay in sight, else the scene is drawn without it. */
const minVisible = 0.25;

/** The pixels of an object that must show in a 128×128 scene. */
const minPixels = 16;

/** The fewest and the most objects of a scene. */
const [minObjects, maxObjects] = [2, 8];

/** The side of the drawn square, as a share of the scene's: 20 to 72 pixels of 128. */
const [minScale, maxScale] = [20 / 128, 72 / 128];

function planBorder(rng: Rng, size: number, skyAbove: boolean): Border {
  const angle = skyAbove ? rng.uniform(-0.25, 0.25) - 1.5708 : rng.uniform(0, 6.2832);
  const [ny, nx] = sinCos(angle);
  const x = size * rng.uniform(0.3, 0.7);
  const y = size * rng.uniform(0.3, 0.7);
  const straight = rng.integer(3) === 0;
  return {
    nx,
    ny,
    distance: nx * x + ny * y,
    wobble: straight ? 0 : size * rng.uniform(0.05, 0.35),
    frequency: rng.uniform(0.15, 0.8) * 128 / size,
    phase: rng.uniform(0, 256),
  };
}

/**
 * Decides a scene: which textures and objects, where and how. Tells what sprites it needs.
 *
 * @param options Which scene.
 * @param attempt Another draw for the same seed, for when too few objects stayed in sight.
 * @throws {OptionError} If an option is outside its domain.
 */
export function planScene(options: SceneOptions, attempt = 0): ScenePlan {
  const { seed, size = 128, categories, others = [], othersShare = 0.15 } = options;
  const { styles = trainingStyles } = options;
  if (!Number.isInteger(size) || size < 32 || size > 4096) {
    throw new OptionError(`scene size ${size}: must be an integer from 32 to 4096`);
  }
  if (categories.length === 0) throw new OptionError("scene categories: must name at least one");
  if (styles.length === 0) throw new OptionError("scene styles: must name at least one");
  if (!(othersShare >= 0 && othersShare <= 1)) {
    throw new OptionError(`scene othersShare ${othersShare}: must be from 0 to 1`);
  }
  const universe = emojiUniverse();
  const rng = new Rng(seed).fork(attempt);

  const dice = rng.uniform();
  const regions = dice < 0.25 ? 1 : dice < 0.7 ? 2 : 3;
  const names = rng.shuffle([...stuffCategories]).slice(0, regions);
  // The sky is above, where there is something below.
  const sky = names.indexOf("sky");
  if (sky > 0) [names[0], names[sky]] = [names[sky]!, names[0]!];
  const stuff = names.map((name) => ({ name, seed: rng.next() }));
  const borders = names.slice(1).map((_, i) => planBorder(rng, size, sky >= 0 && i === 0));

  const count = minObjects + rng.integer(maxObjects - minObjects + 1);
  const objects: PlannedObject[] = [];
  for (let i = 0; i < count; i++) {
    const other = others.length > 0 && rng.uniform() < othersShare;
    let at = rng.integer(other ? others.length : categories.length);
    // Sometimes two of a kind, so that instances matter.
    const twin = rng.uniform() < 0.12 ? objects.at(-1) : undefined;
    if (!other && twin && twin.label < categories.length) at = twin.label;
    const category = other ? others[at]! : categories[at]!;
    const known = universe[category];
    if (!known) throw new OptionError(`scene category ${category}: not in the emoji universe`);
    if (other && categories.includes(category)) {
      throw new OptionError(`scene others: "${known.name}" is in the vocabulary as well`);
    }
    // Many objects are smaller on average, else they only hide each other.
    const crowded = count > 5 ? 0.7 : 1;
    const scale = size * (minScale + (maxScale - minScale) * rng.uniform() * crowded);
    let [x, y] = [0, 0];
    for (let tries = 0; tries < 12; tries++) {
      x = rng.uniform(0.3 * scale, size - 0.3 * scale);
      y = rng.uniform(0.3 * scale, size - 0.3 * scale);
      const clear = objects.every(({ placement: p }) => {
        const apart = 0.33 * (p.scale + scale);
        return (p.x - x) * (p.x - x) + (p.y - y) * (p.y - y) >= apart * apart;
      });
      if (clear) break;
    }
    const shadow = rng.uniform() < 0.7;
    objects.push({
      category,
      label: other ? categories.length + stuffCategories.length : at,
      style: rng.pick(styles),
      placement: {
        x,
        y,
        scale,
        rotation: rng.uniform(-0.5, 0.5),
        flip: rng.integer(2) === 1 && !handed.test(known.name),
        hue: rng.uniform(-0.03, 0.03),
        brightness: rng.uniform(0.85, 1.12),
        contrast: rng.uniform(0.85, 1.1),
        ...(shadow && {
          shadow: {
            dx: scale * rng.uniform(-0.09, 0.09),
            dy: scale * rng.uniform(0.02, 0.12),
            strength: rng.uniform(0.2, 0.5),
          },
        }),
      },
    });
  }
  return { size, things: categories.length, stuff, borders, objects };
}

/** Writes region ids 1, 2, 3 by the borders. */
function paintRegions(plan: ScenePlan, ids: Uint16Array): void {
  const { size, borders } = plan;
  ids.fill(1);
  borders.forEach((border, i) => {
    const { nx, ny, distance, wobble, frequency, phase } = border;
    for (let y = 0, at = 0; y < size; y++) {
      for (let x = 0; x < size; x++, at++) {
        // The second border divides what the first left over.
        if (ids[at] !== i + 1) continue;
        let side = nx * x + ny * y - distance;
        if (side < wobble && side > -wobble) {
          side += 2 * wobble *
            (fractalNoise((ny * x - nx * y) * frequency + phase, phase * 0.7) - 0.5);
        }
        if (side < 0) ids[at] = i + 2;
      }
    }
  });
}

/** Draws a plan; undefined where fewer than two objects are in sight. */
function paintScene(plan: ScenePlan, sprites: SpriteSource): Scene | undefined {
  const { size, stuff } = plan;
  const pixels = size * size;
  const ground = new Uint8Array(pixels * 3);
  const regions = new Uint16Array(pixels);
  paintRegions(plan, regions);
  stuff.forEach(({ name, seed }, i) =>
    paintStuff(name, ground, {
      width: size,
      height: size,
      rng: new Rng(seed),
      scale: size / 128,
      only: { ids: regions, id: i + 1 },
    })
  );

  let objects = plan.objects;
  const rgb = new Uint8Array(pixels * 3);
  const segmentIds = new Uint16Array(pixels);
  const firstObject = stuff.length + 1;
  const enough = minPixels * pixels / (128 * 128);
  // Twice at most: taking hidden objects away can only uncover the others.
  for (;;) {
    rgb.set(ground);
    segmentIds.set(regions);
    const covered = objects.map(({ category, style, placement }, i) =>
      drawSprite(
        { width: size, height: size, rgb, ids: segmentIds },
        sprites.sprite(category, style),
        {
          ...placement,
          id: firstObject + i,
        },
      )
    );
    const visible = new Uint32Array(firstObject + objects.length);
    for (let i = 0; i < pixels; i++) visible[segmentIds[i]!]!++;
    const kept = objects.filter((_, i) => {
      const seen = visible[firstObject + i]!;
      return seen >= enough && seen >= minVisible * covered[i]!;
    });
    if (kept.length === objects.length) break;
    objects = kept;
  }
  if (objects.length < minObjects) return undefined;

  const count = firstObject + objects.length;
  const label = new Int32Array(count);
  stuff.forEach(({ name }, i) => label[i + 1] = plan.things + stuffCategories.indexOf(name));
  objects.forEach((object, i) => label[firstObject + i] = object.label);
  const area = new Uint32Array(count);
  const [left, top] = [new Int32Array(count).fill(size), new Int32Array(count).fill(size)];
  const [right, bottom] = [new Int32Array(count).fill(-1), new Int32Array(count).fill(-1)];
  const labels = new Int32Array(pixels);
  for (let y = 0, i = 0; y < size; y++) {
    for (let x = 0; x < size; x++, i++) {
      const id = segmentIds[i]!;
      labels[i] = label[id]!;
      area[id]!++;
      if (x < left[id]!) left[id] = x;
      if (x > right[id]!) right[id] = x;
      if (y < top[id]!) top[id] = y;
      bottom[id] = y;
    }
  }
  const universe = emojiUniverse();
  const segments: SceneSegment[] = [];
  for (let id = 1; id < count; id++) {
    if (area[id] === 0) continue;
    const object = objects[id - firstObject];
    const kind = !object
      ? "stuff"
      : object.label === plan.things + stuffCategories.length
      ? "others"
      : "thing";
    segments.push({
      id,
      label: label[id]!,
      category: kind === "others"
        ? othersName
        : object
        ? universe[object.category]!.name
        : stuff[id - 1]!.name,
      categoryIndex: object?.category ?? -1,
      kind,
      area: area[id]!,
      box: {
        x: left[id]!,
        y: top[id]!,
        width: right[id]! - left[id]! + 1,
        height: bottom[id]! - top[id]! + 1,
      },
    });
  }
  return { width: size, height: size, rgb, segmentIds, labels, segments };
}

/** How often a seed is drawn anew before its options are blamed. */
const maxAttempts = 32;

function tooFew(seed: number): OptionError {
  return new OptionError(
    `scene ${seed}: fewer than ${minObjects} objects in sight in ${maxAttempts} draws; ` +
      "the sprites must not be blank",
  );
}

/**
 * Renders a scene: one to three textures divided by lines or curves, and two to eight objects over
 * them, turned, scaled, mirrored, tinted, shadowed, and hiding each other. A pixel's label is that
 * of the topmost object whose alpha exceeds one half there, else that of the texture; shadows
 * change no label. An object of which less than a quarter stays in sight is not drawn at all.
 *
 * @param options Which scene, and the sprites to draw it with.
 * @returns The image with its exact label map.
 * @throws {OptionError} If an option is outside its domain.
 * @throws {InputError} If a sprite is not at hand.
 */
export function renderScene(
  { sprites, ...options }: SceneOptions & { readonly sprites: SpriteSource },
): Scene {
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const scene = paintScene(planScene(options, attempt), sprites);
    if (scene) return scene;
  }
  throw tooFew(options.seed);
}

/**
 * Renders the same scene as {@linkcode renderScene}, rasterising only the sprites that it needs.
 *
 * @param options Which scene.
 * @param store Where sprites are loaded to; see `SpriteStore.onDemand`.
 * @example
 * ```ts
 * import { renderSceneOnDemand } from "./scene.ts";
 * import { SpriteStore } from "./sprites.ts";
 * const scene = await renderSceneOnDemand({ seed: 1, categories: [500] }, SpriteStore.onDemand());
 * console.log(scene.width, scene.segments.length > 2); // 128 true
 * ```
 */
export async function renderSceneOnDemand(
  options: SceneOptions,
  store: SpriteStore,
): Promise<Scene> {
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const plan = planScene(options, attempt);
    await store.load(plan.objects);
    const scene = paintScene(plan, store);
    if (scene) return scene;
  }
  throw tooFew(options.seed);
}
