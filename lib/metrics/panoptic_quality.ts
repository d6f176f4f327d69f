/**
 * Panoptic quality.
 *
 * @module
 */
import { InputError, ShapeError } from "../errors.ts";
import { PairTally } from "./pair_tally.ts";
import { readInteger, readList, readObject } from "./read_serialized.ts";
import { indexSegments, type SegmentMap } from "./segment_map.ts";

/** Means over classes; NaN where none occurs. */
export interface PanopticMeans {
  /** Panoptic quality, 0 to 1. */
  pq: number;
  /** Segmentation quality, 0 to 1. */
  sq: number;
  /** Recognition quality, 0 to 1. */
  rq: number;
  /** Number of classes that occur in the truth or are predicted where they count; means are over them. */
  n: number;
}

/** A class's figures; `pq`, `sq` and `rq` are NaN where it has neither a match, nor an alarm, nor a miss. */
export interface PanopticClassQuality {
  /** The class. */
  label: number;
  /** Panoptic quality, 0 to 1. */
  pq: number;
  /** Segmentation quality, 0 to 1: mean IoU of the matches, and 0 where there are none. */
  sq: number;
  /** Recognition quality, 0 to 1. */
  rq: number;
  /** Matches (TP). */
  matches: number;
  /** Predicted segments without a match (FP). */
  falseAlarms: number;
  /** True segments without a match (FN). */
  misses: number;
}

/** What {@linkcode PanopticQuality.result} gives. */
export interface PanopticQualityResult {
  /** Over all classes. */
  all: PanopticMeans;
  /** Over things alone. */
  things: PanopticMeans;
  /** Over stuff alone. */
  stuff: PanopticMeans;
  /** Every class, by its index. */
  perClass: PanopticClassQuality[];
}

/** A {@linkcode PanopticQuality} as plain data, for files and other processes. */
export interface SerializedPanopticQuality {
  /** For every class, whether it is a thing; null where nobody says. */
  isThing: (boolean | null)[];
  /** Classes with a count; the sum of the matches' IoU is a whole number of 2⁻⁵³, in digits. */
  classes: [label: number, matches: number, falseAlarms: number, misses: number, iou: string][];
}

/** An IoU above ½ is a whole number of these, so that sums of them are exact in any order. */
const UNIT = 2 ** 53;

interface Counts {
  matches: number;
  falseAlarms: number;
  misses: number;
  /** In units of 2⁻⁵³. */
  iou: bigint;
}

/**
 * Panoptic quality (Kirillov et al., "Panoptic Segmentation", CVPR 2019, section 4), with void and
 * crowds as COCO's panopticapi treats them. A true and a predicted segment of one class match if
 * their IoU is above ½, the predicted one's void pixels set aside; at most one can. Per class,
 *
 *     SQ = Σ IoU / TP,  RQ = TP / (TP + FP/2 + FN/2),  PQ = SQ · RQ
 *
 * A predicted segment without a match is no false alarm if more than half of it is void or lies in
 * the crowd of its class; a crowd is neither matched nor missed.
 *
 * Memory is for the classes that occur, whatever the number of images. Sums are exact: the parts
 * of a data set, merged in any order, give the figures of the whole bit for bit.
 *
 * @example
 * ```ts
 * import { PanopticQuality } from "@ovstage/ovstage";
 * const quality = new PanopticQuality([true, false]); // dog, sky
 * const segments = [{ id: 1, label: 0 }, { id: 2, label: 1 }];
 * quality.add({ ids: [1, 1, 1, 2], segments }, { ids: [1, 1, 2, 2], segments });
 * const { things, stuff } = quality.result();
 * console.log(things.pq, stuff.pq); // 0.6666666666666666 0
 * ```
 */
export class PanopticQuality {
  /** For every class, whether it is a thing; null where nobody says. */
  readonly isThing: readonly (boolean | null)[];
  readonly #classes = new Map<number, Counts>();

  /**
   * Begins with no image.
   *
   * @param isThing For every class, whether it is a thing (`things`) or not (`stuff`); null where
   * nobody says, and then it counts in `all` alone.
   * @throws {InputError} If there is no class.
   */
  constructor(isThing: readonly (boolean | null)[]) {
    if (isThing.length === 0) {
      throw new InputError("panoptic quality: 0 classes; at least 1 is needed");
    }
    this.isThing = [...isThing];
  }

  /**
   * Adds an image. Areas are counted, not taken from a list.
   *
   * @param truth The true segments. One that is listed and has no pixel is a miss.
   * @param prediction The predicted segments, for the same pixels.
   * @param image What errors call the image.
   * @throws {ShapeError} If the two have different numbers of pixels.
   * @throws {InputError} If a pixel's id is not in its list, an id stands there twice, a label is no
   * class, or a predicted segment has no pixel; nothing is counted then.
   */
  add(truth: SegmentMap, prediction: SegmentMap, image?: string): void {
    const where = image === undefined ? "panoptic quality" : `panoptic quality: ${image}`;
    const { ids: trueIds, segments: trueSegments } = truth;
    const { ids: predictedIds, segments: predictedSegments } = prediction;
    if (trueIds.length !== predictedIds.length) {
      throw new ShapeError(
        `${where}: ${trueIds.length} true pixels, ${predictedIds.length} predicted ones`,
      );
    }
    const truePlaces = indexSegments(trueSegments, this.isThing.length, `${where}: truth`);
    const predictedPlaces = indexSegments(
      predictedSegments,
      this.isThing.length,
      `${where}: prediction`,
    );
    const side = predictedSegments.length + 1;
    const overlap = new PairTally((trueSegments.length + 1) * side);
    const trueAreas = new Float64Array(trueSegments.length + 1);
    const predictedAreas = new Float64Array(side);
    for (let i = 0; i < trueIds.length;) {
      const trueId = trueIds[i]!;
      const predictedId = predictedIds[i]!;
      const start = i;
      do i++; while (
        i < trueIds.length && trueIds[i] === trueId && predictedIds[i] === predictedId
      );
      const t = truePlaces.get(trueId);
      const p = predictedPlaces.get(predictedId);
      if (t === undefined || p === undefined) {
        throw new InputError(
          `${where}: pixel ${start} is of ${t === undefined ? "true" : "predicted"} segment ` +
            `${t === undefined ? trueId : predictedId}, which is not in the list`,
        );
      }
      overlap.add(t * side + p, i - start);
      trueAreas[t]! += i - start;
      predictedAreas[p]! += i - start;
    }
    const empty = predictedSegments.findIndex((_, p) => predictedAreas[p + 1] === 0);
    if (empty >= 0) {
      throw new InputError(
        `${where}: predicted segment ${predictedSegments[empty]!.id} has no pixel`,
      );
    }

    const matchedTruth = new Set<number>();
    const matchedPrediction = new Set<number>();
    for (const [pair, intersection] of overlap.entries()) {
      const t = Math.floor(pair / side);
      const p = pair % side;
      const trueSegment = trueSegments[t - 1];
      const predictedSegment = predictedSegments[p - 1];
      if (trueSegment === undefined || predictedSegment === undefined) continue;
      if (trueSegment.isCrowd || trueSegment.label !== predictedSegment.label) continue;
      const iou = intersection /
        (trueAreas[t]! + predictedAreas[p]! - intersection - overlap.get(p));
      if (iou <= 0.5) continue;
      matchedTruth.add(t);
      matchedPrediction.add(p);
      const counts = this.#counts(trueSegment.label);
      counts.matches++;
      counts.iou += BigInt(iou * UNIT);
    }
    // Of several crowds of a class the last one in the list is heeded, as panopticapi does.
    const crowds = new Map<number, number>();
    trueSegments.forEach(({ label, isCrowd }, i) => {
      if (isCrowd) crowds.set(label, i + 1);
      else if (!matchedTruth.has(i + 1)) this.#counts(label).misses++;
    });
    predictedSegments.forEach(({ label }, i) => {
      const p = i + 1;
      if (matchedPrediction.has(p)) return;
      const crowd = crowds.get(label);
      const excused = overlap.get(p) + (crowd === undefined ? 0 : overlap.get(crowd * side + p));
      if (excused / predictedAreas[p]! <= 0.5) this.#counts(label).falseAlarms++;
    });
  }

  /**
   * Adds all counts of another one.
   *
   * @throws {InputError} If the two don't have the same things and stuff.
   */
  merge(other: PanopticQuality): void {
    const { isThing } = this;
    if (other.isThing.length !== isThing.length) {
      throw new InputError(
        `panoptic quality: ${other.isThing.length} classes don't merge with ${isThing.length}`,
      );
    }
    const differs = isThing.findIndex((thing, c) => thing !== other.isThing[c]);
    if (differs >= 0) {
      throw new InputError(
        `panoptic quality: class ${differs} has isThing ${other.isThing[differs]} in one part, ` +
          `${isThing[differs]} in the other`,
      );
    }
    for (const [label, { matches, falseAlarms, misses, iou }] of [...other.#classes]) {
      const counts = this.#counts(label);
      counts.matches += matches;
      counts.falseAlarms += falseAlarms;
      counts.misses += misses;
      counts.iou += iou;
    }
  }

  /**
   * The figures of all that was added.
   *
   * @param options.over `"either"`, which is what panopticapi does, where left out: a class
   * predicted where it never is counts as 0. `"truth"`: means are over the classes of the truth.
   */
  result({ over = "either" }: { over?: "either" | "truth" } = {}): PanopticQualityResult {
    const perClass = this.isThing.map((_, label): PanopticClassQuality => {
      const counts = this.#classes.get(label);
      if (counts === undefined) {
        return { label, pq: NaN, sq: NaN, rq: NaN, matches: 0, falseAlarms: 0, misses: 0 };
      }
      const { matches, falseAlarms, misses } = counts;
      const iou = Number(counts.iou) / UNIT;
      const size = matches + falseAlarms / 2 + misses / 2;
      return {
        label,
        pq: iou / size,
        sq: matches === 0 ? 0 : iou / matches,
        rq: matches / size,
        matches,
        falseAlarms,
        misses,
      };
    });
    const means = (kept: (isThing: boolean | null) => boolean): PanopticMeans => {
      const scored = perClass.filter(({ label, matches, misses }) =>
        this.#classes.has(label) && kept(this.isThing[label]!) &&
        (over === "either" || matches + misses > 0)
      );
      const mean = (of: "pq" | "sq" | "rq") =>
        scored.reduce((sum, quality) => sum + quality[of], 0) / scored.length;
      return { pq: mean("pq"), sq: mean("sq"), rq: mean("rq"), n: scored.length };
    };
    return {
      all: means(() => true),
      things: means((isThing) => isThing === true),
      stuff: means((isThing) => isThing === false),
      perClass,
    };
  }

  /** The counts as plain data; {@linkcode PanopticQuality.fromJSON} is the inverse. */
  toJSON(): SerializedPanopticQuality {
    return {
      isThing: [...this.isThing],
      classes: [...this.#classes].sort(([a], [b]) => a - b)
        .map((
          [label, { matches, falseAlarms, misses, iou }],
        ) => [label, matches, falseAlarms, misses, `${iou}`]),
    };
  }

  /**
   * Reads what {@linkcode PanopticQuality.toJSON} gave.
   *
   * @throws {InputError} If a field is missing or can't be one.
   */
  static fromJSON(data: SerializedPanopticQuality): PanopticQuality {
    const what = "panoptic quality";
    const fields = readObject(data, what);
    const isThing = readList(fields["isThing"], `${what}: isThing`).map((thing, c) => {
      if (thing === null || typeof thing === "boolean") return thing;
      throw new InputError(`${what}: isThing[${c}] is ${thing}; it must be true, false or null`);
    });
    const quality = new PanopticQuality(isThing);
    readList(fields["classes"], `${what}: classes`).forEach((entry, i) => {
      const where = `${what}: classes[${i}]`;
      const [label, matches, falseAlarms, misses, iou] = readList(entry, where, 5);
      const read = {
        matches: readInteger(matches, `${where}: the number of matches`),
        falseAlarms: readInteger(falseAlarms, `${where}: the number of false alarms`),
        misses: readInteger(misses, `${where}: the number of misses`),
        iou: typeof iou === "string" && /^\d{1,40}$/.test(iou) ? BigInt(iou) : -1n,
      };
      const most = BigInt(read.matches) * BigInt(UNIT);
      if (read.iou > most || 2n * read.iou < most) {
        throw new InputError(
          `${where}: the sum of IoU is ${JSON.stringify(iou)}; ${read.matches} matches have ` +
            `${most / 2n} to ${most}, in digits`,
        );
      }
      const c = readInteger(label, `${where}: the class`, 0, isThing.length - 1);
      if (quality.#classes.has(c)) throw new InputError(`${where}: class ${c} stands twice`);
      if (read.matches + read.falseAlarms + read.misses > 0) quality.#classes.set(c, read);
    });
    return quality;
  }

  #counts(label: number): Counts {
    let counts = this.#classes.get(label);
    if (counts === undefined) {
      counts = { matches: 0, falseAlarms: 0, misses: 0, iou: 0n };
      this.#classes.set(label, counts);
    }
    return counts;
  }
}
