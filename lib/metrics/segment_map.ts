/**
 * Which segment every pixel belongs to, and what the segments are.
 *
 * @module
 */
import { InputError } from "../errors.ts";

/** A segment of a {@linkcode SegmentMap}. */
export interface LabelledSegment {
  /** Its number in the map, at least 1. */
  readonly id: number;
  /** Its class, from 0. */
  readonly label: number;
  /**
   * In the truth, whether it is a group of objects that nobody told apart (COCO's `iscrowd`). It
   * isn't where left out.
   */
  readonly isCrowd?: boolean;
}

/** Segments that don't overlap, true or predicted: what a data set or a pipeline gives. */
export interface SegmentMap {
  /** Every pixel's segment, row-major; 0 is void. */
  readonly ids: ArrayLike<number>;
  /** The segments. */
  readonly segments: readonly LabelledSegment[];
}

/**
 * Finds segments by id.
 *
 * @param where What errors call the map.
 * @returns For every id the place in `segments`, counted from 1; 0 for void.
 * @throws {InputError} If an id is no positive integer or stands twice, or a label is no class.
 */
export function indexSegments(
  segments: readonly LabelledSegment[],
  numClasses: number,
  where: string,
): Map<number, number> {
  const places = new Map([[0, 0]]);
  segments.forEach(({ id, label }, i) => {
    if (!Number.isSafeInteger(id) || id < 1) {
      throw new InputError(
        `${where}: segment id ${id}; ids are whole numbers from 1, and 0 is void`,
      );
    }
    if (places.has(id)) throw new InputError(`${where}: segment id ${id} stands twice in the list`);
    if (!Number.isInteger(label) || label < 0 || label >= numClasses) {
      throw new InputError(
        `${where}: segment ${id} has class ${label}; classes are 0 to ${numClasses - 1}`,
      );
    }
    places.set(id, i + 1);
  });
  return places;
}
