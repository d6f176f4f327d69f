/**
 * Generated embeddings.
 *
 * @module
 */
import fc from "fast-check";
import { Rng } from "../rng.ts";
import { float32, type HostTensor } from "../tensor.ts";
import { seeds, sizes } from "./sizes.ts";

/**
 * What is special about rows: `identical` and `close` rows are (nearly) one vector, of `zero rows`
 * a third is zero, `mixed scales` differ by up to 60 orders of magnitude.
 */
export const embeddingKinds = [
  "normal",
  "identical",
  "zero rows",
  "close",
  "huge",
  "tiny",
  "mixed scales",
] as const;

/** One of {@linkcode embeddingKinds}. */
export type EmbeddingKind = typeof embeddingKinds[number];

/** One matrix of embeddings, in a few numbers. */
export interface EmbeddingCase {
  /** N */
  readonly rows: number;
  /** D */
  readonly channels: number;
  /** What is special about the rows. */
  readonly kind: EmbeddingKind;
  /** Of the entries. */
  readonly seed: number;
}

/** Cases of embeddings: N = 1, D = 1, identical and zero rows, huge and tiny ones among them. */
export const embeddingCases: fc.Arbitrary<EmbeddingCase> = fc.record({
  rows: sizes(),
  channels: sizes(),
  kind: fc.constantFrom(...embeddingKinds),
  seed: seeds,
});

/** Draws the generator and the vector that `identical` and `close` rows share. */
export function startRows(c: Pick<EmbeddingCase, "channels" | "seed">): {
  rng: Rng;
  shared: readonly number[];
} {
  const rng = new Rng(c.seed);
  return { rng, shared: Array.from({ length: c.channels }, () => rng.normal()) };
}

/**
 * Draws embeddings.
 *
 * @param c The case.
 * @param start From {@linkcode startRows}, for several matrices of one case.
 * @param extreme Decades to `huge` and `tiny`: 30, where left out, leaves no room for squares in
 *   float32.
 * @returns float32 N×D.
 */
export function drawEmbeddings(
  c: EmbeddingCase,
  { rng, shared }: { rng: Rng; shared: readonly number[] } = startRows(c),
  extreme = 30,
): HostTensor<"float32"> {
  const { rows, channels, kind } = c;
  const data = new Float32Array(rows * channels);
  for (let n = 0; n < rows; n++) {
    const scale = kind === "huge"
      ? 10 ** extreme
      : kind === "tiny"
      ? 10 ** -extreme
      : kind === "mixed scales"
      ? 10 ** rng.uniform(-extreme, extreme)
      : 1;
    const isZero = kind === "zero rows" && rng.integer(3) === 0;
    for (let d = 0; d < channels; d++) {
      const own = rng.normal();
      const value = kind === "identical"
        ? shared[d]!
        : kind === "close"
        ? shared[d]! + 1e-3 * own
        : own;
      data[n * channels + d] = isZero ? 0 : scale * value;
    }
  }
  return float32([rows, channels], data);
}
