/**
 * Average precision and recall of instance masks.
 *
 * @module
 */
import { InputError, OptionError, ShapeError } from "../errors.ts";
import { type CocoRle, unpackCounts } from "../image/coco_rle.ts";
import {
  areaRanges,
  iouThresholds,
  matchInstances,
  type PixelRuns,
  type TrueInstance,
} from "./match_instances.ts";
import { readInteger, readList, readObject } from "./read_serialized.ts";

/** A true instance, for {@linkcode MaskAveragePrecision.add}. */
export interface InstanceTruth {
  /** Its class, from 0. */
  readonly label: number;
  /** Its pixels. */
  readonly mask: CocoRle;
  /** Whether it is a group of objects that nobody told apart (`iscrowd`). It isn't where left out. */
  readonly isCrowd?: boolean;
  /** The area that decides on small, medium and large, in pixels; the mask's where left out. */
  readonly area?: number;
}

/** A predicted instance, for {@linkcode MaskAveragePrecision.add}. */
export interface InstanceDetection {
  /** Its class, from 0. */
  readonly label: number;
  /** How sure the model is; only the order of scores matters. */
  readonly score: number;
  /** Its pixels. */
  readonly mask: CocoRle;
}

/** Options of {@linkcode MaskAveragePrecision}. */
export interface MaskAveragePrecisionOptions {
  /**
   * How many detections per image and class count, those with the highest scores: precision and
   * recall by area are for the last number, `ar` is for each. Ascending; COCO's 1, 10, 100 where
   * left out.
   */
  maxDetections?: readonly number[];
}

/** Average precision and recall, 0 to 1; NaN where there is no true instance to find. */
export interface MaskAveragePrecisionFigures {
  /** Average precision, mean over IoU 0.5, 0.55 … 0.95. */
  ap: number;
  /** Average precision at IoU 0.5. */
  ap50: number;
  /** Average precision at IoU 0.75. */
  ap75: number;
  /** As `ap`, of instances of up to 32² pixels. */
  small: number;
  /** As `ap`, of instances of 32² to 96² pixels. */
  medium: number;
  /** As `ap`, of instances of 96² pixels and more. */
  large: number;
  /** Recall, mean over the IoU, for each of `maxDetections`. */
  ar: number[];
  /** Recall of instances of up to 32² pixels, with the last of `maxDetections`. */
  arSmall: number;
  /** Recall of instances of 32² to 96² pixels. */
  arMedium: number;
  /** Recall of instances of 96² pixels and more. */
  arLarge: number;
}

/** A class's figures. */
export interface MaskAveragePrecisionClass extends MaskAveragePrecisionFigures {
  /** The class. */
  label: number;
  /** Number of its true instances, crowds left out. */
  truths: number;
}

/** What {@linkcode MaskAveragePrecision.result} gives: means over classes, and every class. */
export interface MaskAveragePrecisionResult extends MaskAveragePrecisionFigures {
  /** Every class, by its index. */
  perClass: MaskAveragePrecisionClass[];
}

/** A {@linkcode MaskAveragePrecision} as plain data, for files and other processes. */
export interface SerializedMaskAveragePrecision {
  /** Number of classes. */
  numClasses: number;
  /** As {@linkcode MaskAveragePrecisionOptions.maxDetections}. */
  maxDetections: number[];
  /** The images by their ids, and in each the classes that occur in truth or prediction. */
  images: {
    id: string;
    classes: {
      /** The class. */
      label: number;
      /** True instances that count: all, small, medium, large. */
      truths: number[];
      /** The detections' scores, descending. */
      scores: number[];
      /** Four numbers a detection, one per area range: bit t a hit, bit 10 + t a false alarm. */
      outcomes: number[];
    }[];
  }[];
}

interface ImageClass {
  label: number;
  truths: readonly number[];
  scores: Float64Array;
  outcomes: Int32Array;
}

const RANGES = areaRanges.length;
const THRESHOLDS = iouThresholds.length;
/** Recall at which precision is read off: 0, 0.01 … 1, with NumPy's roundings. */
const recallPoints = Array.from({ length: 101 }, (_, r) => r === 100 ? 1 : r * 0.01);

const mean = (values: readonly number[]) => {
  const scored = values.filter((value) => !Number.isNaN(value));
  return scored.reduce((sum, value) => sum + value, 0) / scored.length;
};
const byCodeUnits = (a: string, b: string) => a < b ? -1 : a > b ? 1 : 0;

/**
 * Mask AP and AR as COCO defines them (pycocotools' `COCOeval`, `iouType="segm"`): detections of a
 * class are matched image by image, those with the highest scores first, at 10 IoU thresholds; the
 * precision of all images together, made to fall with recall, is averaged over 101 points of
 * recall. Crowds, and instances outside of the area range in question, are neither found nor
 * missed, and what matches them is ignored. A class without true instances is in no mean, so that
 * its detections cost nothing: `PanopticQuality` sees those.
 *
 * What is kept is an id per image, and per detection its score and four numbers; masks are not.
 * Scores that are equal stand in the order of the images' ids (as strings: pad numbers with zeros
 * to have COCO's order), so that parts of a data set, merged in any order, give the figures of the
 * whole bit for bit.
 *
 * @example
 * ```ts
 * import { encodeRle, MaskAveragePrecision } from "@ovstage/ovstage";
 * const precision = new MaskAveragePrecision(1);
 * const dog = encodeRle([1, 1, 0, 0], 2, 2);
 * const cat = encodeRle([0, 0, 1, 1], 2, 2);
 * precision.add("pets.png", [{ label: 0, mask: dog }], [
 *   { label: 0, score: 0.9, mask: cat },
 *   { label: 0, score: 0.8, mask: dog },
 * ]);
 * console.log(precision.result().ap, precision.result().ar); // 0.5 [0, 1, 1]
 * ```
 */
export class MaskAveragePrecision {
  /** Number of classes. */
  readonly numClasses: number;
  /** As {@linkcode MaskAveragePrecisionOptions.maxDetections}. */
  readonly maxDetections: readonly number[];
  readonly #images = new Map<string, ImageClass[]>();

  /**
   * Begins with no image.
   *
   * @param numClasses Number of classes, at least 1; labels run from 0.
   * @throws {InputError} If `numClasses` is not a positive integer.
   * @throws {OptionError} If `maxDetections` is empty, or does not ascend from 1 or more.
   */
  constructor(numClasses: number, options: MaskAveragePrecisionOptions = {}) {
    if (!Number.isInteger(numClasses) || numClasses < 1) {
      throw new InputError(`mask AP: ${numClasses} classes; at least 1 is needed`);
    }
    const most = options.maxDetections ?? [1, 10, 100];
    if (most.length === 0 || most.some((n, i) => !Number.isInteger(n) || n <= (most[i - 1] ?? 0))) {
      throw new OptionError(
        `mask AP: maxDetections is [${most.join(", ")}]; whole numbers that ascend are right`,
      );
    }
    this.numClasses = numClasses;
    this.maxDetections = [...most];
  }

  /** Number of images that were added. */
  get numImages(): number {
    return this.#images.size;
  }

  /**
   * Adds an image.
   *
   * @param image Its id: an image counts once.
   * @param truth The true instances.
   * @param detections The predicted ones, in any order; equal scores count in the order given.
   * @throws {ShapeError} If masks differ in size.
   * @throws {InputError} If the image was added already, a label is no class, a score is not a
   * finite number, an area is negative, or a mask can't be read; nothing is counted then.
   */
  add(
    image: string,
    truth: readonly InstanceTruth[],
    detections: readonly InstanceDetection[],
  ): void {
    if (this.#images.has(image)) throw new InputError(`mask AP: ${image} was added already`);
    const size = (truth[0] ?? detections[0])?.mask.size ?? [0, 0];
    const read = (instance: { label: number; mask: CocoRle }, where: string): PixelRuns => {
      const { label, mask } = instance;
      if (!Number.isInteger(label) || label < 0 || label >= this.numClasses) {
        throw new InputError(
          `${where} has class ${label}; classes are 0 to ${this.numClasses - 1}`,
        );
      }
      if (mask.size[0] !== size[0] || mask.size[1] !== size[1]) {
        throw new ShapeError(
          `${where} has a mask of ${mask.size.join("×")} pixels, another one ${size.join("×")}`,
        );
      }
      return pixelRuns(mask, where);
    };
    const classes = new Map<number, {
      truths: TrueInstance[];
      detections: { score: number; runs: PixelRuns }[];
    }>();
    const classOf = (label: number) => {
      let of = classes.get(label);
      if (of === undefined) classes.set(label, of = { truths: [], detections: [] });
      return of;
    };
    truth.forEach((instance, i) => {
      const where = `mask AP: ${image}: true instance ${i}`;
      const runs = read(instance, where);
      const area = instance.area ?? runs.area;
      if (!(area >= 0)) {
        throw new InputError(`${where} has area ${area}; 0 pixels or more is right`);
      }
      classOf(instance.label).truths.push({ runs, area, isCrowd: instance.isCrowd ?? false });
    });
    detections.forEach((detection, i) => {
      const where = `mask AP: ${image}: detection ${i}`;
      const runs = read(detection, where);
      const { score } = detection;
      if (!Number.isFinite(score)) {
        throw new InputError(`${where} has score ${score}; a finite number is right`);
      }
      // JSON knows no −0.
      classOf(detection.label).detections.push({ runs, score: score + 0 });
    });
    const most = this.maxDetections.at(-1)!;
    const kept = [...classes].sort(([a], [b]) => a - b).map(([label, { truths, detections }]) => {
      const best = detections.sort((a, b) => b.score - a.score).slice(0, most);
      return {
        label,
        scores: Float64Array.from(best, ({ score }) => score),
        ...matchInstances(truths, best.map(({ runs }) => runs)),
      };
    });
    this.#images.set(image, kept);
  }

  /**
   * Adds all images of another one.
   *
   * @throws {InputError} If the two don't have the same classes and `maxDetections`, or both have
   * an image; nothing is added then.
   */
  merge(other: MaskAveragePrecision): void {
    const [mine, theirs] = [this, other].map(({ numClasses, maxDetections }) =>
      `${numClasses} classes, at most ${maxDetections.join(", ")} detections`
    );
    if (mine !== theirs) throw new InputError(`mask AP: ${theirs} don't merge with ${mine}`);
    for (const image of other.#images.keys()) {
      if (this.#images.has(image)) throw new InputError(`mask AP: both parts have ${image}`);
    }
    for (const [image, classes] of other.#images) this.#images.set(image, classes);
  }

  /** The figures of all that was added. Takes time and memory for every detection. */
  result(): MaskAveragePrecisionResult {
    const byClass: ImageClass[][] = Array.from({ length: this.numClasses }, () => []);
    for (const image of [...this.#images.keys()].sort(byCodeUnits)) {
      for (const found of this.#images.get(image)!) byClass[found.label]!.push(found);
    }
    const perClass = byClass.map((images, label) => this.#classFigures(label, images));
    const over = (key: Exclude<keyof MaskAveragePrecisionFigures, "ar">) =>
      mean(perClass.map((figures) => figures[key]));
    return {
      ap: over("ap"),
      ap50: over("ap50"),
      ap75: over("ap75"),
      small: over("small"),
      medium: over("medium"),
      large: over("large"),
      ar: this.maxDetections.map((_, m) => mean(perClass.map(({ ar }) => ar[m]!))),
      arSmall: over("arSmall"),
      arMedium: over("arMedium"),
      arLarge: over("arLarge"),
      perClass,
    };
  }

  /** All that is kept, as plain data; {@linkcode MaskAveragePrecision.fromJSON} is the inverse. */
  toJSON(): SerializedMaskAveragePrecision {
    return {
      numClasses: this.numClasses,
      maxDetections: [...this.maxDetections],
      images: [...this.#images].sort(([a], [b]) => byCodeUnits(a, b)).map(([id, classes]) => ({
        id,
        classes: classes.map(({ label, truths, scores, outcomes }) => ({
          label,
          truths: [...truths],
          scores: [...scores],
          outcomes: [...outcomes],
        })),
      })),
    };
  }

  /**
   * Reads what {@linkcode MaskAveragePrecision.toJSON} gave.
   *
   * @throws {InputError} If a field is missing or can't be one.
   */
  static fromJSON(data: SerializedMaskAveragePrecision): MaskAveragePrecision {
    const fields = readObject(data, "mask AP");
    const precision = new MaskAveragePrecision(
      readInteger(fields["numClasses"], "mask AP: numClasses", 1),
      {
        maxDetections: readList(fields["maxDetections"], "mask AP: maxDetections")
          .map((n, m) => readInteger(n, `mask AP: maxDetections[${m}]`, 1)),
      },
    );
    const most = precision.maxDetections.at(-1)!;
    readList(fields["images"], "mask AP: images").forEach((entry, i) => {
      const { id, classes } = readObject(entry, `mask AP: images[${i}]`);
      if (typeof id !== "string" || precision.#images.has(id)) {
        throw new InputError(`mask AP: images[${i}] has id ${id}; each has its own, a string`);
      }
      const where = `mask AP: ${id}`;
      let last = -1;
      const kept = readList(classes, `${where}: classes`).map((entry, c): ImageClass => {
        const at = `${where}: classes[${c}]`;
        const { label, truths, scores, outcomes } = readObject(entry, at);
        const read = readList(scores, `${at}.scores`).map((score, d, all) => {
          if (typeof score === "number" && !(score > Number(all[d - 1])) && d < most) return score;
          throw new InputError(`${at}.scores[${d}] is ${score}; up to ${most} numbers that fall`);
        });
        last = readInteger(label, `${at}.label`, last + 1, precision.numClasses - 1);
        return {
          label: last,
          truths: readList(truths, `${at}.truths`, RANGES)
            .map((n, range) => readInteger(n, `${at}.truths[${range}]`)),
          scores: Float64Array.from(read),
          outcomes: Int32Array.from(
            readList(outcomes, `${at}.outcomes`, RANGES * read.length)
              .map((bits, o) => readInteger(bits, `${at}.outcomes[${o}]`, 0, (1 << 20) - 1)),
          ),
        };
      });
      precision.#images.set(id, kept);
    });
    return precision;
  }

  #classFigures(label: number, images: readonly ImageClass[]): MaskAveragePrecisionClass {
    const truths = areaRanges.map((_, range) =>
      images.reduce((sum, image) => sum + image.truths[range]!, 0)
    );
    const scores: number[] = [];
    const outcomes: number[][] = areaRanges.map(() => []);
    for (const image of images) {
      for (const score of image.scores) scores.push(score);
      image.outcomes.forEach((bits, i) => outcomes[i % RANGES]!.push(bits));
    }
    const order = [...scores.keys()].sort((a, b) => scores[b]! - scores[a]!);
    const precision = areaRanges.map((_, range) => {
      const ranked = order.map((d) => outcomes[range]![d]!);
      return iouThresholds.map((_, t) => averagePrecision(ranked, t, truths[range]!));
    });
    const recall = (range: number, most: number) => {
      let hits = 0;
      for (const image of images) {
        const end = RANGES * Math.min(most, image.scores.length);
        for (let i = range; i < end; i += RANGES) hits += countBits(image.outcomes[i]!);
      }
      return hits / (truths[range]! * THRESHOLDS);
    };
    const most = this.maxDetections.at(-1)!;
    return {
      label,
      truths: truths[0]!,
      ap: mean(precision[0]!),
      ap50: precision[0]![0]!,
      ap75: precision[0]![5]!,
      small: mean(precision[1]!),
      medium: mean(precision[2]!),
      large: mean(precision[3]!),
      ar: this.maxDetections.map((n) => recall(0, n)),
      arSmall: recall(1, most),
      arMedium: recall(2, most),
      arLarge: recall(3, most),
    };
  }
}

/** Hits among the outcomes of a detection, over the thresholds. */
function countBits(outcome: number): number {
  let bits = 0;
  for (let t = 0; t < THRESHOLDS; t++) bits += outcome >> t & 1;
  return bits;
}

/**
 * Mean of the precision at the points of recall; NaN without true instances.
 *
 * @param outcomes By descending score.
 * @param t The IoU threshold's place.
 */
function averagePrecision(outcomes: readonly number[], t: number, truths: number): number {
  if (truths === 0) return NaN;
  const recall: number[] = [];
  const precision: number[] = [];
  let hits = 0;
  let alarms = 0;
  for (const outcome of outcomes) {
    hits += outcome >> t & 1;
    alarms += outcome >> (10 + t) & 1;
    recall.push(hits / truths);
    precision.push(hits === 0 ? 0 : hits / (hits + alarms));
  }
  for (let i = precision.length - 1; i > 0; i--) {
    precision[i - 1] = Math.max(precision[i - 1]!, precision[i]!);
  }
  let sum = 0;
  let i = 0;
  for (const point of recallPoints) {
    while (i < recall.length && recall[i]! < point) i++;
    sum += precision[i] ?? 0;
  }
  return sum / recallPoints.length;
}

function pixelRuns({ size: [height, width], counts }: CocoRle, where: string): PixelRuns {
  let runs: number[];
  try {
    runs = unpackCounts(counts);
  } catch (error) {
    throw new InputError(`${where}: ${(error as Error).message}`, { cause: error });
  }
  const from: number[] = [];
  const to: number[] = [];
  let end = 0;
  let area = 0;
  runs.forEach((run, i) => {
    end += run;
    if (i % 2 === 0 || run === 0) return;
    from.push(end - run);
    to.push(end);
    area += run;
  });
  if (end !== height * width) {
    throw new InputError(
      `${where}: its runs cover ${end} pixels, the size ${height}×${width} has ${height * width}`,
    );
  }
  return { from: Int32Array.from(from), to: Int32Array.from(to), area };
}
