/**
 * Label files that count their classes from 1.
 *
 * @module
 */

/**
 * Maps label values that run from 1, with 0 for "other" or unlabelled, to class indices: `k` gives
 * k − 1, and 0 gives −1, which counts for nothing under `ignoreLabel: -1`. It is what
 * mmsegmentation calls `reduce_zero_label` (ADE20K's 150 classes, PASCAL Context's 59), with −1 in
 * place of 255.
 *
 * @param labels Values as the file has them, any shape.
 * @param ignoreLabel A value that is ignored besides 0, such as 255; it gives −1 as well.
 * @returns As many class indices.
 *
 * @example
 * ```ts
 * import { reduceZeroLabel } from "@ovstage/ovstage";
 * console.log(reduceZeroLabel([0, 1, 150, 255], 255)); // Int32Array [-1, 0, 149, -1]
 * ```
 */
export function reduceZeroLabel(labels: ArrayLike<number>, ignoreLabel?: number): Int32Array {
  const classes = new Int32Array(labels.length);
  for (let i = 0; i < classes.length; i++) {
    classes[i] = labels[i] === ignoreLabel ? -1 : labels[i]! - 1;
  }
  return classes;
}
