/**
 * The `vocabulary` slot from a list of names.
 *
 * @module
 */
import { InputError } from "../errors.ts";
import type { VocabularySlot } from "./slots.ts";

/**
 * Makes the `vocabulary` slot with every name in the running.
 *
 * @param names The categories, at least one, none blank and none twice. Kept as they are.
 * @param flags What is known about every name: whether the decoder's training knew it (`trained`),
 * whether it is a thing (`isThing`), what else it is called (`synonyms`, `pooling`); see
 * {@linkcode VocabularySlot}.
 * @throws {InputError} If there is no name, or one is no string, blank or there twice.
 *
 * @example
 * ```ts
 * import { vocabulary } from "@ovstage/ovstage";
 * console.log(vocabulary(["dog", "slice of pizza"]).active); // [0, 1]
 * ```
 */
export function vocabulary(
  names: readonly string[],
  flags: Omit<VocabularySlot, "names" | "active"> = {},
): VocabularySlot {
  if (!Array.isArray(names)) {
    throw new InputError(
      `the classes are of type ${typeof names}; they must be a list: vocabulary(["dog", "guitar"])`,
    );
  }
  if (names.length === 0) throw new InputError("no classes: name at least one");
  const seen = new Map<string, number>();
  names.forEach((name: unknown, index) => {
    if (typeof name !== "string") {
      throw new InputError(
        `class ${index + 1} of ${names.length} is of type ${typeof name}; it must be a string`,
      );
    }
    if (name.trim() === "") {
      throw new InputError(`class ${index + 1} of ${names.length} is empty; it needs a name`);
    }
    const first = seen.get(name);
    if (first !== undefined) {
      throw new InputError(
        `class "${name}" is there twice, as number ${first + 1} and ${index + 1}; name it once`,
      );
    }
    seen.set(name, index);
  });
  const active = names.map((_, index) => index);
  return { names, active, ...flags };
}
