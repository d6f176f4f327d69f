/**
 * Byte-level byte-pair encoding: training, and the tokenizer of the text encoder.
 *
 * @module
 */
import { InputError, ModelError, OptionError } from "../errors.ts";
import { HostTensor } from "../tensor.ts";

/** Filler after the end of a row; masked out everywhere. */
const PAD = 0;
/** Opens every sequence. */
const START = 1;
/** Closes every sequence, truncated ones too. */
const END = 2;
/** Ids of the 256 bytes inside a word, then of the 256 bytes that end one, then of the merges. */
const BYTES = 3;
const LAST_BYTES = BYTES + 256;
const MERGES = LAST_BYTES + 256;
/** Ids stay below 2¹⁶, so that a pair of them is one exact integer key. */
const MAX_VOCABULARY = 65536;

/** A byte-pair encoding as it is kept in a file; plain JSON. */
export interface BpeModel {
  /** Always "byte-bpe". */
  readonly type: "byte-bpe";
  /** The layout's version. */
  readonly version: 1;
  /**
   * Pairs of ids in the order they were learned, flat: pair `i` (elements 2i and 2i + 1) becomes
   * id 515 + i. Ids 0, 1, 2 are padding, start and end; 3 + b is byte b inside a word, 259 + b is
   * byte b at the end of a word.
   */
  readonly merges: readonly number[];
}

/** How one text is encoded. */
export interface EncodeOptions {
  /** Longest sequence, start and end tokens included, at least 2; unbounded where left out. */
  readonly maxLength?: number;
}

/** Token ids and their mask, one row per text. */
export interface TokenBatch {
  /** C × L token ids, rows filled up with the padding id. */
  readonly tokens: HostTensor<"int64">;
  /** C × L, 1 at tokens and 0 at padding. */
  readonly mask: HostTensor<"float32">;
}

// CLIP's split: English contractions, runs of letters, single digits, runs of anything else.
// Combining marks stay with their letter, so that Hindi or Thai words are not torn apart.
const WORD = /'(?:s|t|re|ve|m|ll|d)(?![\p{L}\p{M}])|\p{L}[\p{L}\p{M}]*|\p{N}|[^\s\p{L}\p{N}]+/gu;

const utf8 = new TextEncoder();

/**
 * The text that the encoding sees: well-formed Unicode, NFC, lower case, white space collapsed.
 *
 * @param text Any string; lone surrogates become U+FFFD.
 */
export function normalizeText(text: string): string {
  const folded = text.toWellFormed().normalize("NFC").toLowerCase().normalize("NFC");
  return folded.replace(/\s+/gu, " ").trim();
}

function words(text: string): string[] {
  return normalizeText(text).match(WORD) ?? [];
}

function baseIds(word: string): number[] {
  const bytes = utf8.encode(word);
  const last = bytes.length - 1;
  return Array.from(bytes, (byte, i) => (i === last ? LAST_BYTES : BYTES) + byte);
}

/** Replaces every `left right` by `merged`, from the left. */
function mergePair(ids: readonly number[], left: number, right: number, merged: number): number[] {
  const out: number[] = [];
  for (let i = 0; i < ids.length; i++) {
    if (ids[i] === left && ids[i + 1] === right) {
      out.push(merged);
      i++;
    } else {
      out.push(ids[i]!);
    }
  }
  return out;
}

const keyOf = (left: number, right: number) => left * MAX_VOCABULARY + right;

/**
 * Learns a byte-pair encoding (Sennrich et al., 2016; over bytes as in GPT-2, with CLIP's
 * end-of-word marker): the most frequent neighbouring pair becomes a token, until the vocabulary is
 * full or no pair occurs twice. Of equally frequent pairs the one with the lower ids wins, so the
 * result depends on the counts alone, not on the order of the texts.
 *
 * @param texts Training texts, or texts with how often each counts.
 * @param vocabSize Most tokens, from 515 (special tokens and bytes only) to 65,536.
 * @returns The model; it may hold fewer tokens than asked for when the texts run out of pairs.
 * @throws {OptionError} If `vocabSize` or a count is out of range.
 *
 * @example
 * ```ts
 * import { BpeTokenizer, trainBpe } from "@ovstage/ovstage";
 * const tokenizer = new BpeTokenizer(trainBpe(["red panda", "giant panda"], 600));
 * console.log(tokenizer.decode(tokenizer.encode("Red  PANDA"))); // "red panda"
 * ```
 */
export function trainBpe(
  texts: readonly (string | readonly [text: string, count: number])[],
  vocabSize: number,
): BpeModel {
  if (!Number.isInteger(vocabSize) || vocabSize < MERGES || vocabSize > MAX_VOCABULARY) {
    throw new OptionError(
      `trainBpe: vocabSize is ${vocabSize}; it must be an integer from ${MERGES} to ${MAX_VOCABULARY}`,
    );
  }
  const wordCounts = new Map<string, number>();
  for (const entry of texts) {
    const [text, count] = typeof entry === "string" ? [entry, 1] as const : entry;
    if (!Number.isSafeInteger(count) || count < 0) {
      throw new OptionError(
        `trainBpe: "${text}" has count ${count}; counts must be integers of at least 0`,
      );
    }
    if (count === 0) continue;
    for (const word of words(text)) wordCounts.set(word, (wordCounts.get(word) ?? 0) + count);
  }

  const sequences: number[][] = [];
  const counts: number[] = [];
  const pairCounts = new Map<number, number>();
  // Words that hold a pair, or once did: a superset is enough, and never has to shrink.
  const holders = new Map<number, Set<number>>();
  const tally = (index: number, sign: 1 | -1) => {
    const ids = sequences[index]!;
    const amount = sign * counts[index]!;
    for (let i = 0; i + 1 < ids.length; i++) {
      const key = keyOf(ids[i]!, ids[i + 1]!);
      const total = (pairCounts.get(key) ?? 0) + amount;
      if (total === 0) pairCounts.delete(key);
      else pairCounts.set(key, total);
      if (sign > 0) {
        const set = holders.get(key);
        if (set) set.add(index);
        else holders.set(key, new Set([index]));
      }
    }
  };
  for (const [word, count] of wordCounts) {
    sequences.push(baseIds(word));
    counts.push(count);
    tally(sequences.length - 1, 1);
  }

  const merges: number[] = [];
  for (let id = MERGES; id < vocabSize; id++) {
    let best = -1;
    let bestCount = 1;
    for (const [key, count] of pairCounts) {
      if (count > bestCount || (count === bestCount && best >= 0 && key < best)) {
        best = key;
        bestCount = count;
      }
    }
    if (best < 0) break;
    const left = Math.floor(best / MAX_VOCABULARY);
    const right = best % MAX_VOCABULARY;
    merges.push(left, right);
    const touched = holders.get(best)!;
    holders.delete(best);
    for (const index of touched) {
      const merged = mergePair(sequences[index]!, left, right, id);
      if (merged.length === sequences[index]!.length) continue;
      tally(index, -1);
      sequences[index] = merged;
      tally(index, 1);
    }
  }
  return { type: "byte-bpe", version: 1, merges };
}

/**
 * Turns text into token ids and back. Any string can be encoded: what no merge covers falls back
 * to bytes. Encoding is cached per word, so that vocabularies of many thousand names are quick.
 *
 * @example
 * ```ts
 * import { BpeTokenizer, trainBpe } from "@ovstage/ovstage";
 * const tokenizer = new BpeTokenizer(trainBpe(["slice of pizza"], 600));
 * const { tokens, mask } = tokenizer.encodeBatch(["pizza", "披萨 🍕"], 16);
 * console.log(tokens.shape[0], mask.data[0]); // 2 1
 * ```
 */
export class BpeTokenizer {
  /** The model that this tokenizer was made from. */
  readonly model: BpeModel;
  /** Number of distinct ids; every id is below it. */
  readonly vocabSize: number;
  /** Id of the padding that {@linkcode BpeTokenizer.encodeBatch} fills rows up with. */
  readonly padId: number = PAD;
  /** Id of the token that opens every sequence. */
  readonly startId: number = START;
  /** Id of the token that closes every sequence. */
  readonly endId: number = END;
  readonly #ranks = new Map<number, number>();
  readonly #bytes: Uint8Array[] = [];
  /** Of each merge, whether its token closes a word. */
  readonly #endsWord: boolean[] = [];
  readonly #cache = new Map<string, readonly number[]>();

  /**
   * Checks the model and indexes it.
   *
   * @param model A model of {@linkcode trainBpe}, or one read from a file.
   * @throws {ModelError} If the model is not a byte-pair encoding of this layout.
   */
  constructor(model: BpeModel) {
    const { merges } = checkModel(model);
    this.model = { type: "byte-bpe", version: 1, merges: [...merges] };
    this.vocabSize = MERGES + merges.length / 2;
    for (let id = 0; id < MERGES; id++) {
      this.#bytes.push(id < BYTES ? new Uint8Array(0) : Uint8Array.of((id - BYTES) % 256));
    }
    for (let i = 0; i < merges.length; i += 2) {
      const [left, right] = [merges[i]!, merges[i + 1]!];
      const id = MERGES + i / 2;
      const endsWord = (token: number) =>
        token >= MERGES ? this.#endsWord[token - MERGES]! : token >= LAST_BYTES;
      const valid = [left, right].every((x) => Number.isInteger(x) && x >= BYTES && x < id);
      if (!valid || endsWord(left) || this.#ranks.has(keyOf(left, right))) {
        throw new ModelError(
          `tokenizer: merge ${
            i / 2
          } joins ${left} and ${right}; it must join two earlier tokens, ` +
            "the first inside a word, that no earlier merge joins",
        );
      }
      this.#endsWord.push(endsWord(right));
      this.#ranks.set(keyOf(left, right), id);
      const [a, b] = [this.#bytes[left]!, this.#bytes[right]!];
      const joined = new Uint8Array(a.length + b.length);
      joined.set(a);
      joined.set(b, a.length);
      this.#bytes.push(joined);
    }
  }

  /**
   * Reads a tokenizer from JSON: the text of a file, or what `JSON.parse` made of it.
   *
   * @throws {ModelError} If it is not JSON, or not a byte-pair encoding of this layout.
   */
  static fromJSON(json: unknown): BpeTokenizer {
    let model = json;
    if (typeof json === "string") {
      try {
        model = JSON.parse(json);
      } catch (cause) {
        throw new ModelError("tokenizer: not JSON; expected what BpeTokenizer.toJSON wrote", {
          cause,
        });
      }
    }
    return new BpeTokenizer(checkModel(model));
  }

  /** The model, for `JSON.stringify`. */
  toJSON(): BpeModel {
    return this.model;
  }

  /**
   * Encodes one text, between a start and an end token.
   *
   * @param text Any string, the empty one included.
   * @param options `maxLength` cuts the text off and keeps the end token.
   * @returns Ids below {@linkcode BpeTokenizer.vocabSize}.
   * @throws {OptionError} If `maxLength` is not an integer of at least 2.
   */
  encode(text: string, options: EncodeOptions = {}): number[] {
    const { maxLength = Infinity } = options;
    if (maxLength !== Infinity) checkLength("maxLength", maxLength);
    const ids = [START];
    for (const word of words(text)) {
      if (ids.length >= maxLength - 1) break;
      for (const id of this.#encodeWord(word)) ids.push(id);
    }
    if (ids.length > maxLength - 1) ids.length = maxLength - 1;
    ids.push(END);
    return ids;
  }

  /**
   * Encodes many texts into one pair of tensors.
   *
   * @param texts C texts.
   * @param maxLength Longest row, start and end tokens included; longer texts are cut off.
   * @param length Fixes L; where left out, L is the longest row's length.
   * @returns `tokens` and `mask`, both C × L.
   * @throws {OptionError} If `maxLength` or `length` is not an integer of at least 2.
   */
  encodeBatch(texts: readonly string[], maxLength: number, length?: number): TokenBatch {
    if (length !== undefined) checkLength("length", length);
    const limit = Math.min(maxLength, length ?? maxLength);
    const rows = texts.map((text) => this.encode(text, { maxLength: limit }));
    const columns = length ?? rows.reduce((longest, row) => Math.max(longest, row.length), 2);
    const tokens = new HostTensor("int64", [rows.length, columns]);
    const mask = new HostTensor("float32", [rows.length, columns]);
    // A fresh array is all zeros, and the padding id is zero.
    rows.forEach((row, c) => {
      row.forEach((id, l) => (tokens.data[c * columns + l] = BigInt(id)));
      mask.data.fill(1, c * columns, c * columns + row.length);
    });
    return { tokens, mask };
  }

  /**
   * The text behind ids: normalised, words separated by one space, special tokens left out. Bytes
   * that are not UTF-8 (a character cut in half) become U+FFFD.
   *
   * @throws {InputError} If an id is not of this vocabulary.
   */
  decode(ids: Iterable<number | bigint>): string {
    const bytes: number[] = [];
    for (const raw of ids) {
      const id = Number(raw);
      const piece = this.#bytes[id];
      if (!piece) {
        throw new InputError(
          `tokenizer: id ${raw} is not in the vocabulary; ids run from 0 to ${this.vocabSize - 1}`,
        );
      }
      for (const byte of piece) bytes.push(byte);
      if (id >= MERGES ? this.#endsWord[id - MERGES] : id >= LAST_BYTES) bytes.push(0x20);
    }
    // A byte order mark is text here, not a file's signature.
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes)).trimEnd();
  }

  #encodeWord(word: string): readonly number[] {
    const known = this.#cache.get(word);
    if (known) return known;
    let ids: number[] = baseIds(word);
    while (ids.length > 1) {
      let rank = Infinity;
      let at = 0;
      for (let i = 0; i + 1 < ids.length; i++) {
        const candidate = this.#ranks.get(keyOf(ids[i]!, ids[i + 1]!));
        if (candidate !== undefined && candidate < rank) {
          rank = candidate;
          at = i;
        }
      }
      if (rank === Infinity) break;
      ids = mergePair(ids, ids[at]!, ids[at + 1]!, rank);
    }
    // Bounded, so that a long-running service fed with arbitrary text does not grow without end.
    if (this.#cache.size >= MAX_VOCABULARY) this.#cache.clear();
    this.#cache.set(word, ids);
    return ids;
  }
}

function checkLength(name: string, length: number): void {
  if (!Number.isInteger(length) || length < 2) {
    throw new OptionError(
      `tokenizer: ${name} is ${length}; it must be an integer of at least 2 (start and end token)`,
    );
  }
}

function checkModel(model: unknown): BpeModel {
  const candidate = model as Partial<BpeModel> | null;
  if (
    typeof candidate !== "object" || candidate === null || candidate.type !== "byte-bpe" ||
    candidate.version !== 1 || !Array.isArray(candidate.merges) ||
    candidate.merges.length % 2 !== 0 || candidate.merges.length / 2 > MAX_VOCABULARY - MERGES
  ) {
    throw new ModelError(
      'tokenizer: not a tokenizer of this project; expected {"type":"byte-bpe","version":1,"merges":[…]}',
    );
  }
  return candidate as BpeModel;
}
