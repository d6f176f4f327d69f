/**
 * What label values mean.
 *
 * @module
 */
import { InputError } from "../../lib/errors.ts";
import type { LabelMap } from "./labelled_folder/label_png.ts";

const [ignored, unknown] = [-1, -2];

/** From the values of label files to class indices. */
export class LabelTable {
  readonly #indexOf = new Int32Array(65536).fill(unknown);
  readonly #legend: string;
  /** Whether files must have 16 bits: where they don't, their values have been cut off. */
  readonly wide: boolean;

  /**
   * @param values The label value of each class, in the order of the classes.
   * @param options Values that count nowhere, and whether files must have 16 bits.
   */
  constructor(
    values: readonly number[],
    options: { readonly ignored: readonly number[]; readonly wide?: boolean },
  ) {
    this.wide = options.wide ?? false;
    for (const value of options.ignored) this.#indexOf[value] = ignored;
    values.forEach((value, index) => this.#indexOf[value] = index);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    this.#legend = `its ${values.length} classes have ${least} to ${most}; these ` +
      `count nowhere: ${options.ignored.join(", ")}`;
  }

  /**
   * Turns a decoded file into class indices, −1 where a pixel counts nowhere.
   *
   * @param map What the file holds.
   * @param name The file, for messages.
   * @throws {InputError} If a value has no meaning, or the file has too few bits.
   */
  labels(map: LabelMap, name: string): Int32Array {
    if (this.wide && map.depth !== 16) {
      throw new InputError(
        `${name}: has ${map.depth} bits per pixel; labels of this data set have 16, ${this.#legend}`,
      );
    }
    const labels = new Int32Array(map.values.length);
    for (let i = 0; i < labels.length; i++) {
      const index = this.#indexOf[map.values[i]!]!;
      if (index === unknown) {
        throw new InputError(
          `${name}: has the label ${map.values[i]} at row ${Math.floor(i / map.width)}, column ` +
            `${i % map.width}; ${this.#legend}`,
        );
      }
      labels[i] = index;
    }
    return labels;
  }
}
