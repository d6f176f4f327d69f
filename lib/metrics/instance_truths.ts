/**
 * True instances from a map of segments.
 *
 * @module
 */
import { InputError, ShapeError } from "../errors.ts";
import { packCounts } from "../image/coco_rle.ts";
import { segments } from "../image/segments.ts";
import type { InstanceTruth } from "./mask_average_precision.ts";
import type { LabelledSegment } from "./segment_map.ts";

/**
 * Lists the things of a map of segments, for `MaskAveragePrecision`, in the order of `segments`.
 *
 * @param map Every pixel's segment, row-major, 0 for void; and the segments. Those that say
 * `isThing: false` are left out.
 * @returns A mask for each, empty where no pixel is of it.
 * @throws {ShapeError} If the map does not have height × width pixels.
 * @throws {InputError} If a pixel's id is not in the list.
 *
 * @example
 * ```ts
 * import { instanceTruths } from "@ovstage/ovstage";
 * const ids = new Int32Array([7, 0, 7, 3]);
 * const [dog] = instanceTruths({
 *   ids,
 *   segments: [{ id: 7, label: 0, isThing: true }, { id: 3, label: 1, isThing: false }],
 * }, 2, 2);
 * console.log(dog); // { label: 0, isCrowd: false, mask: { size: [2, 2], counts: "022" } }
 * ```
 */
export function instanceTruths(
  map: {
    readonly ids: ArrayLike<number>;
    readonly segments: readonly (LabelledSegment & { readonly isThing?: boolean })[];
  },
  height: number,
  width: number,
): InstanceTruth[] {
  const pixels = height * width;
  if (map.ids.length !== pixels) {
    throw new ShapeError(
      `instance truths: a ${height}×${width} map has ${pixels} pixels, got ${map.ids.length}`,
    );
  }
  const places = new Map(
    map.segments.map(({ id, isThing }, i) => [id, isThing === false ? -1 : i]),
  );
  places.set(0, -1);
  const labels = new Int32Array(pixels);
  for (let i = 0; i < pixels; i++) {
    const place = places.get(map.ids[i]!);
    if (place === undefined) {
      throw new InputError(
        `instance truths: pixel ${i} is of segment ${map.ids[i]}, not in the list`,
      );
    }
    labels[i] = place;
  }
  const names = map.segments.map(({ id }) => String(id));
  const found = new Map(
    segments({ height, width, labels, scores: new Float32Array(pixels) }, names)
      .map(({ index, mask }) => [index, mask]),
  );
  return map.segments.flatMap(({ label, isCrowd, isThing }, i) =>
    isThing === false ? [] : [{
      label,
      isCrowd: isCrowd ?? false,
      mask: found.get(i) ?? { size: [height, width], counts: packCounts([pixels]) },
    }]
  );
}
