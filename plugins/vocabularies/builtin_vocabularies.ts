/**
 * The class lists of public benchmarks.
 *
 * @module
 */
import { InputError } from "../../lib/errors.ts";
import type { DatasetClass } from "../../lib/data/dataset.ts";
import { knownNames } from "../../lib/stages/suggest.ts";
import ade150 from "./ade150.json" with { type: "json" };
import ade847 from "./ade847.json" with { type: "json" };
import cityscapes19 from "./cityscapes19.json" with { type: "json" };
import cocoPanoptic133 from "./coco-panoptic133.json" with { type: "json" };
import cocoStuff171 from "./coco-stuff171.json" with { type: "json" };
import pc459 from "./pc459.json" with { type: "json" };
import pc59 from "./pc59.json" with { type: "json" };
import voc20 from "./voc20.json" with { type: "json" };
import voc21 from "./voc21.json" with { type: "json" };

/** A class as its benchmark numbers it. */
export interface VocabularyClass extends DatasetClass {
  /** The benchmark's own number of the class; `docs/datasets.md` says where each is used. */
  readonly id: number;
}

interface Entry {
  readonly id: number;
  readonly name: string;
  readonly synonyms?: readonly string[];
  readonly isThing?: boolean;
}

const lists: Readonly<Record<string, readonly Entry[]>> = {
  voc20,
  voc21,
  ade150,
  ade847,
  pc59,
  pc459,
  "coco-stuff171": cocoStuff171,
  "coco-panoptic133": cocoPanoptic133,
  cityscapes19,
};

/** The names of the built-in vocabularies. */
export const vocabularyNames: readonly string[] = Object.keys(lists);

/**
 * The classes of a public benchmark, in its own order.
 *
 * A class is called what the benchmark calls it; where that is several names, the first, or the
 * first one that no other class has. Its synonyms are the benchmark's own further names and, where
 * the benchmark writes words as one or a part before its whole ("pottedplant", "wall-brick"), the
 * words as people write them.
 *
 * @param name One of {@linkcode vocabularyNames}.
 * @throws {InputError} If there is no such vocabulary; says which there are.
 *
 * @example
 * ```ts
 * import { builtinVocabulary } from "@ovstage/ovstage";
 * const [wall, building] = builtinVocabulary("ade150");
 * console.log(wall?.name, building?.synonyms); // wall ["building", "edifice"]
 * ```
 */
export function builtinVocabulary(name: string): readonly VocabularyClass[] {
  const list = Object.hasOwn(lists, name) ? lists[name] : undefined;
  if (list === undefined) {
    throw new InputError(`there is no vocabulary "${name}"; ${knownNames(name, vocabularyNames)}`);
  }
  return list.map(({ id, name, synonyms = [], isThing = null }) => ({
    id,
    name,
    synonyms: [name, ...synonyms],
    isThing,
  }));
}
