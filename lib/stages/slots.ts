/**
 * Slots: what stages hand to each other, as TypeScript types and as run-time specs.
 *
 * Sizes written in capitals are bound across slots: wherever `D` appears it is the same number.
 * Sizes in small letters belong to their slot alone. There is no batch axis: a pipeline segments
 * one image, and may be run many times at once. Every spatial map covers the whole image, whatever
 * its resolution, so a map is brought to the image's size by bilinear resizing (align_corners =
 * false) with no crop or padding to undo.
 *
 * @module
 */
import type { CocoRle } from "../image/coco_rle.ts";
import type { DType, Tensor } from "../tensor.ts";
import { textRowCount } from "./synonyms.ts";

/** The picture to segment, at its own size. */
export interface ImageSlot {
  /** Columns, W. */
  readonly width: number;
  /** Rows, H. */
  readonly height: number;
  /** Interleaved 8-bit sRGB, row-major, 3·W·H bytes. */
  readonly rgb: Uint8Array | Uint8ClampedArray;
}

/**
 * The words to segment by. `names` is the user's list and never changes on the way; `active` says
 * which of them are still in the running, so that a system may reject absent categories early: row
 * c of `text`, column c of `classLogits` and channel c of `pixelLogits` stand for
 * `names[active[c]]`. `C` is the length of `active`. `T`, the number of rows of `text`, is `C` too,
 * unless `pooling` is `max`: then it is the number of the active names' synonyms.
 */
export interface VocabularySlot {
  /** The user's category names, in the user's order. */
  readonly names: readonly string[];
  /** Indices into `names`, ascending, without repeats. */
  readonly active: readonly number[];
  /**
   * For every one of `names`, whether the decoder's training knew it. Left out where nobody knows;
   * ensembles that treat seen and unseen categories differently read it (FC-CLIP, section 3.3).
   */
  readonly trained?: readonly boolean[];
  /**
   * For every one of `names`, whether it is a thing (countable: each one is a segment of its own)
   * rather than stuff (all of it in an image is one segment). Where it is left out, everything
   * counts as a thing: see {@linkcode isThing}.
   */
  readonly isThing?: readonly boolean[];
  /** For every one of `names`, all names that mean it, its own first. */
  readonly synonyms?: readonly (readonly string[])[];
  /**
   * What synonyms count for: `mean` averages a class's text embeddings over them; `max` keeps one
   * row of `text` for each, and a class's logit is the largest of its rows' (FC-CLIP). Left out,
   * classes are embedded by `names` alone.
   */
  readonly pooling?: SynonymPooling;
}

/** See {@linkcode VocabularySlot.pooling}. */
export type SynonymPooling = "mean" | "max";

/** One scale of a multi-scale feature map. */
export interface PyramidLevel {
  /** Image pixels per cell, approximately: 4, 8, 16 … */
  readonly stride: number;
  /** c × h × w; every level has sizes of its own. */
  readonly features: Tensor<"float32">;
}

/** One row per mask, pooled from the image. */
export interface PooledSlot {
  /** N × D; a mask that holds no pixel has the zero vector. */
  readonly embeddings: Tensor<"float32">;
  /** N bytes, 1 where the mask holds no pixel. */
  readonly empty: Tensor<"uint8">;
}

/** What each mask shows. */
export interface ClassLogitsSlot {
  /**
   * N × C, or N × (C + 1) with void ("no object") last. The softmax of a row is the mask's class
   * probabilities, so fused probabilities are given as their logarithms.
   */
  readonly logits: Tensor<"float32">;
  /** Whether the last column is void. */
  readonly hasVoid: boolean;
}

/** The answer, at the image's own size. */
export interface SegmentationSlot {
  /** H × W; an index into the vocabulary's `names`, or −1 for void. */
  readonly labels: Tensor<"int32">;
  /** H × W; the winning category's score, 0 where void. */
  readonly scores: Tensor<"float32">;
}

/** One segment of a {@linkcode PanopticSlot}. */
export interface PanopticSegment {
  /** Its number in `ids`, at least 1. */
  readonly id: number;
  /** Its class, an index into the vocabulary's `names`. */
  readonly label: number;
  /** How sure the segmenter is of the class, 0 to 1. */
  readonly score: number;
  /** One thing; otherwise all of this stuff in the image. */
  readonly isThing: boolean;
  /** How many pixels of `ids` have its number, at least 1. */
  readonly area: number;
}

/** Every pixel's segment, at the image's own size: no two segments overlap. */
export interface PanopticSlot {
  /** H × W; the `id` of one of `segments`, or 0 for void. */
  readonly ids: Tensor<"int32">;
  /** The segments, by ascending `id`; each has a pixel. */
  readonly segments: readonly PanopticSegment[];
}

/** One object, with a mask of its own. */
export interface Instance {
  /** Its class, an index into the vocabulary's `names`. */
  readonly label: number;
  /** How sure the segmenter is of class and mask, 0 to 1. */
  readonly score: number;
  /** How many pixels its mask has, at least 1. */
  readonly area: number;
  /** The smallest box around the mask: left, top, width, height, in pixels. */
  readonly box: readonly [x: number, y: number, width: number, height: number];
  /** H × W; run lengths take a fraction of the memory, and K bit maps are never there at once. */
  readonly mask: CocoRle;
}

/** Objects at the image's own size; their masks may overlap. */
export interface InstancesSlot {
  /** H. */
  readonly height: number;
  /** W. */
  readonly width: number;
  /** By descending score. Several may share one mask, under different classes. */
  readonly instances: readonly Instance[];
}

/**
 * Every slot by name. A module that invents a slot adds it here by interface merging, and carries
 * its {@linkcode SlotSpec} in the stages that give it:
 *
 * ```ts ignore
 * declare module "@ovstage/ovstage" {
 *   interface Slots {
 *     attentionBiases: Tensor<"float32">;
 *   }
 * }
 * ```
 */
export interface Slots {
  /** The picture, H × W. */
  image: ImageSlot;
  /** The words, C of them. */
  vocabulary: VocabularySlot;
  /**
   * T × D: one embedding per category, or per synonym ({@linkcode VocabularySlot.pooling}); unit
   * rows, in the joint image-text space.
   */
  text: Tensor<"float32">;
  /** D × h × w: dense image features in the joint image-text space, not normalised. */
  features: Tensor<"float32">;
  /** Multi-scale features outside the joint space, finest first; each level has its own channels. */
  pyramid: readonly PyramidLevel[];
  /** N × h × w: one mask per query, as logits (its probability is the sigmoid). */
  maskLogits: Tensor<"float32">;
  /** N × D: one embedding per query, projected into the joint space, not normalised. */
  queryEmbeddings: Tensor<"float32">;
  /** N × D: one embedding per mask, pooled from the image. */
  pooled: PooledSlot;
  /** N × D: one embedding per mask, ready to be compared with `text`. */
  fused: Tensor<"float32">;
  /** N × C, or N × (C + 1): class logits per mask. */
  classLogits: ClassLogitsSlot;
  /** C × h × w: class logits per pixel, of systems without masks (a cosine cost volume, say). */
  pixelLogits: Tensor<"float32">;
  /** H × W labels and scores. */
  segmentation: SegmentationSlot;
  /** H × W segment ids, and what the segments are. */
  panoptic: PanopticSlot;
  /** Objects with overlapping masks, classes, scores and boxes. */
  instances: InstancesSlot;
}

/** The name of a slot. */
export type SlotName = keyof Slots & string;

/** A list of slot names; a stage's type keeps the very names. */
export type SlotList = readonly SlotName[];

/** The values of the slots in a list. */
export type SlotsOf<List extends SlotList> = { readonly [Name in List[number]]: Slots[Name] };

/** A tensor inside a slot's value, and what it has to look like. */
export interface SlotTensor {
  /** Its name inside the value ("logits"); empty where the value is the tensor itself. */
  readonly field: string;
  /** The tensor. */
  readonly tensor: Tensor;
  /** Its element type. */
  readonly dtype: DType;
  /**
   * One size per axis: a name ("C", "h"), or a name and a number ("C+1"). Names that begin with a
   * capital are bound across slots.
   */
  readonly dims: readonly string[];
}

/** A slot at run time: what its tensors are, and which sizes they bind. */
export interface SlotSpec<Value> {
  /** What the slot holds, in one line. */
  readonly description: string;
  /**
   * The tensors inside a value: the pipeline checks their shapes, and frees them when nobody needs
   * them any more.
   */
  tensors(value: Value): readonly SlotTensor[];
  /** Sizes that the value binds other than by its tensors' shapes. */
  sizes?(value: Value): Readonly<Record<string, number>>;
  /** What is wrong with the value apart from its tensors, in words; null where nothing is. */
  check?(value: Value): string | null;
}

/** Specs by slot name. */
export type SlotSpecs = { readonly [Name in SlotName]?: SlotSpec<Slots[Name]> };

/** What one size of a name counts, for messages: "has 768 features per row". */
const units: Readonly<Record<string, string>> = {
  C: "categories",
  T: "text embeddings",
  D: "features per row",
  N: "masks",
  H: "rows of pixels",
  W: "columns of pixels",
};

/** Says a size in words, for messages: `768 features per row`, or `5 = K` for a name of its own. */
export function formatSize(dim: string, size: number): string {
  const unit = units[dim];
  return unit === undefined ? `${size} for ${dim}` : `${size} ${unit}`;
}

function one(tensor: Tensor, dtype: DType, dims: readonly string[], field = ""): SlotTensor {
  return { field, tensor, dtype, dims };
}

/** The specs of the slots that this package defines. */
export const slotSpecs: SlotSpecs = {
  image: {
    description: "the picture, 8-bit sRGB",
    tensors: () => [],
    sizes: ({ width, height }) => ({ H: height, W: width }),
    check: ({ width, height, rgb }) =>
      !(Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0)
        ? `is ${width}×${height} pixels; both must be positive integers`
        : rgb.length !== 3 * width * height
        ? `has ${rgb.length} bytes; ${width}×${height} pixels take ${3 * width * height}`
        : null,
  },
  vocabulary: {
    description: "the category names",
    tensors: () => [],
    sizes: (value) => ({ C: value.active.length, T: textRowCount(value) }),
    check: checkVocabulary,
  },
  text: {
    description: "T×D text embeddings, unit rows",
    tensors: (value) => [one(value, "float32", ["T", "D"])],
  },
  features: {
    description: "D×h×w dense image features in the joint space",
    tensors: (value) => [one(value, "float32", ["D", "h", "w"])],
  },
  pyramid: {
    description: "multi-scale features, c×h×w each",
    tensors: (levels) =>
      levels.map(({ stride, features }) =>
        one(features, "float32", [`c${stride}`, `h${stride}`, `w${stride}`], `stride ${stride}`)
      ),
  },
  maskLogits: {
    description: "N×h×w mask logits",
    tensors: (value) => [one(value, "float32", ["N", "h", "w"])],
  },
  queryEmbeddings: {
    description: "N×D query embeddings in the joint space",
    tensors: (value) => [one(value, "float32", ["N", "D"])],
  },
  pooled: {
    description: "N×D embeddings pooled under each mask, and which masks are empty",
    tensors: ({ embeddings, empty }) => [
      one(embeddings, "float32", ["N", "D"], "embeddings"),
      one(empty, "uint8", ["N"], "empty"),
    ],
  },
  fused: {
    description: "N×D embeddings to compare with the text",
    tensors: (value) => [one(value, "float32", ["N", "D"])],
  },
  classLogits: {
    description: "N×C class logits per mask, or N×(C+1) with void last",
    tensors: (
      { logits, hasVoid },
    ) => [one(logits, "float32", ["N", hasVoid ? "C+1" : "C"], "logits")],
  },
  pixelLogits: {
    description: "C×h×w class logits per pixel",
    tensors: (value) => [one(value, "float32", ["C", "h", "w"])],
  },
  segmentation: {
    description: "H×W labels (−1 is void) and scores",
    tensors: ({ labels, scores }) => [
      one(labels, "int32", ["H", "W"], "labels"),
      one(scores, "float32", ["H", "W"], "scores"),
    ],
  },
  panoptic: {
    description: "H×W segment ids (0 is void), and the segments",
    tensors: ({ ids }) => [one(ids, "int32", ["H", "W"], "ids")],
    check: ({ segments }) => {
      let last = 0;
      for (const { id } of segments) {
        if (!Number.isInteger(id) || id <= last) {
          return `has segment id ${id} after ${last}; ids must ascend from 1`;
        }
        last = id;
      }
      return null;
    },
  },
  instances: {
    description: "objects with masks of their own, by descending score",
    tensors: () => [],
    sizes: ({ height, width }) => ({ H: height, W: width }),
    check: ({ height, width, instances }) => {
      for (const [index, { mask: { size: [rows, columns] } }] of instances.entries()) {
        if (rows === height && columns === width) continue;
        return `has a mask of ${rows}×${columns} pixels at ${index}; all are ${height}×${width}`;
      }
      return null;
    },
  },
};

/**
 * For each of a vocabulary's names, whether it is a thing. Where nobody said, everything is: then
 * no two masks of a class are taken for one segment, and no object is left out.
 */
export function isThing(vocabulary: VocabularySlot): readonly boolean[] {
  return vocabulary.isThing ?? vocabulary.names.map(() => true);
}

function checkVocabulary(
  { names, active, synonyms, ...flags }: VocabularySlot,
): string | null {
  if (names.length === 0) return "has no names; it needs at least one";
  if (active.length === 0) return "has no active names; at least one must stay";
  let last = -1;
  for (const index of active) {
    if (!Number.isInteger(index) || index <= last || index >= names.length) {
      return `has ${index} after ${last} in active; indices of its ${names.length} names must ascend`;
    }
    last = index;
  }
  for (const field of ["trained", "isThing"] as const) {
    const given = flags[field];
    if (given === undefined || given.length === names.length) continue;
    return `has ${given.length} flags in ${field} for ${names.length} names; one each is right`;
  }
  if (synonyms !== undefined && synonyms.length !== names.length) {
    return `has ${synonyms.length} lists of synonyms for ${names.length} names; one each is right`;
  }
  const wrong = synonyms?.findIndex((list, index) => list[0] !== names[index]) ?? -1;
  if (wrong < 0) return null;
  return `has synonyms of "${names[wrong]}" that begin with "${
    synonyms?.[wrong]?.[0]
  }"; the name ` +
    "itself must be first";
}
