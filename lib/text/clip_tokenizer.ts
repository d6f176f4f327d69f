/**
 * The tokenizer of CLIP's text encoders, from the files that published models come with.
 *
 * @module
 */
import { InputError, ModelError, OptionError } from "../errors.ts";
import { HostTensor } from "../tensor.ts";
import type { EncodeOptions, TokenBatch } from "./bpe.ts";

/** Tokens of CLIP's text encoders in one row, start and end included. */
export const clipContextLength = 77;

const START = "<|startoftext|>";
const END = "<|endoftext|>";
/** Marks tokens that end a word. */
const SUFFIX = "</w>";
/** Ids stay below it, so that a pair of them is one exact integer key. */
const MAX_VOCABULARY = 2 ** 24;
const MAX_CACHED_WORDS = 65536;
/** Longer words are rare, and not worth their memory. */
const MAX_CACHED_LENGTH = 64;

// Unicode's white space. JavaScript's \s has U+FEFF in place of U+0085.
const space = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const SPACES = new RegExp(`[${space}]+`, "gu");
const WORD = new RegExp(
  `<\\|startoftext\\|>|<\\|endoftext\\|>|'(?:s|t|re|ve|m|ll|d)|\\p{L}+|\\p{N}|[^${space}\\p{L}\\p{N}]+`,
  "gu",
);
/** A special token's name that isn't one, since it lies inside of a word, falls in these parts. */
const NAME_PARTS = /<\||\w+|\|>/g;
const SPECIAL = /(<\|startoftext\|>|<\|endoftext\|>)/;

const utf8 = new TextEncoder();

/** GPT-2's printable stand-in for every byte. */
const byteChars: readonly string[] = (() => {
  const printable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
  let next = 256;
  return Array.from(
    { length: 256 },
    (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++),
  );
})();
const charBytes = new Map(byteChars.map((char, byte) => [char, byte]));

/** What a {@linkcode ClipTokenizer} is made of. */
export interface ClipVocabulary {
  /** Ids by token, from 0 on without gaps. */
  readonly vocab: Readonly<Record<string, number>>;
  /** Pairs of tokens to join, the most important first. */
  readonly merges: readonly (readonly [left: string, right: string])[];
  /** The token that rows are filled up with; `<|endoftext|>` where left out. */
  readonly padToken?: string;
  /**
   * Whether special tokens are looked for after lower-casing (`<|EndOfText|>` counts) and not
   * before; published `tokenizer.json` files differ.
   */
  readonly normalizedSpecials?: boolean;
}

/** The merges of a word, once found. */
interface Candidate {
  readonly rank: number;
  readonly at: number;
  readonly left: number;
  readonly right: number;
}

/**
 * CLIP's tokenizer (Radford et al., 2021), as `transformers.CLIPTokenizer` computes it: NFC, white
 * space collapsed, lower case letter by letter, words split, bytes joined by ranked merges, all
 * between a start and an end token. Texts that hold a special token's name get that token.
 *
 * @example
 * ```ts
 * import { ClipTokenizer } from "@ovstage/ovstage";
 * const tokens = ["a", "c", "t", "a</w>", "c</w>", "t</w>", "ca", "cat</w>"];
 * const all = [...tokens, "<|startoftext|>", "<|endoftext|>"];
 * const tokenizer = new ClipTokenizer({
 *   vocab: Object.fromEntries(all.map((token, id) => [token, id])),
 *   merges: [["c", "a"], ["ca", "t</w>"]],
 * });
 * console.log(tokenizer.encode("A cat")); // [8, 3, 7, 9]
 * ```
 */
export class ClipTokenizer {
  /** Number of distinct ids; every id is below it. */
  readonly vocabSize: number;
  /** Id of the padding that {@linkcode ClipTokenizer.encodeBatch} fills rows up with. */
  readonly padId: number;
  /** Id of the token that opens every sequence. */
  readonly startId: number;
  /** Id of the token that closes every sequence; also stands for bytes outside of the vocabulary. */
  readonly endId: number;
  readonly #tokens: string[] = [];
  readonly #bytes: Uint32Array;
  readonly #lastBytes: Uint32Array;
  /** Of each pair: its rank and what it becomes. */
  readonly #merges = new Map<number, { readonly rank: number; readonly id: number }>();
  readonly #normalizedSpecials: boolean;
  readonly #cache = new Map<string, readonly number[]>();

  /**
   * Checks the vocabulary and indexes it.
   *
   * @param vocabulary Tokens and merges; see also {@linkcode ClipTokenizer.fromFiles} and
   *   {@linkcode ClipTokenizer.fromJSON}.
   * @throws {ModelError} If ids aren't 0, 1, 2 …, a special token is missing, or a merge joins or
   *   makes a token that the vocabulary lacks.
   */
  constructor(vocabulary: ClipVocabulary) {
    const { vocab, merges, padToken = END, normalizedSpecials = false } = vocabulary;
    const ids = new Map(Object.entries(vocab));
    this.vocabSize = ids.size;
    for (const [token, id] of ids) {
      if (!Number.isInteger(id) || id < 0 || id >= ids.size || this.#tokens[id] !== undefined) {
        throw new ModelError(
          `CLIP tokenizer: token ${JSON.stringify(token)} has the id ${id}; the ${ids.size} ids ` +
            "must be 0, 1, 2 … without gaps",
        );
      }
      this.#tokens[id] = token;
    }
    if (ids.size > MAX_VOCABULARY) {
      throw new ModelError(`CLIP tokenizer: ${ids.size} tokens; ${MAX_VOCABULARY} are the most`);
    }
    const idOf = (token: string, use: string) => {
      const id = ids.get(token);
      if (id !== undefined) return id;
      throw new ModelError(
        `CLIP tokenizer: the vocabulary lacks ${JSON.stringify(token)}, ${use}`,
      );
    };
    this.startId = idOf(START, "which opens every text");
    this.endId = idOf(END, "which closes every text");
    this.padId = idOf(padToken, "which is to fill rows up");
    this.#normalizedSpecials = normalizedSpecials;
    this.#bytes = Uint32Array.from(byteChars, (char) => ids.get(char) ?? this.endId);
    this.#lastBytes = Uint32Array.from(byteChars, (char) => ids.get(char + SUFFIX) ?? this.endId);
    for (const [rank, [left, right]] of merges.entries()) {
      const use = `of merge ${rank}`;
      const key = idOf(left, use) * MAX_VOCABULARY + idOf(right, use);
      // Of a pair that is listed twice, the later rank counts, as in the reference.
      this.#merges.set(key, { rank, id: idOf(left + right, use) });
    }
  }

  /**
   * Reads the two files `vocab.json` and `merges.txt`.
   *
   * @param vocab The text of `vocab.json`.
   * @param merges The text of `merges.txt`: a version line, then two tokens a line.
   * @param options `padToken` as some models set it in `tokenizer_config.json` (`"!"`).
   * @throws {ModelError} If one of them isn't such a file.
   */
  static fromFiles(
    vocab: string,
    merges: string,
    options: { readonly padToken?: string } = {},
  ): ClipTokenizer {
    const pairs = merges.split("\n")
      .map((line) => line.replace(/\r$/, ""))
      .filter((line) => line !== "" && !line.startsWith("#version"))
      .map((line, i) => pairOf(line.split(" "), i));
    return new ClipTokenizer({
      vocab: checkVocab(parseJson(vocab, "vocab.json"), "vocab.json"),
      merges: pairs,
      ...options,
    });
  }

  /**
   * Reads a `tokenizer.json`.
   *
   * @param json The text of the file.
   * @param options `padToken` where the file names none.
   * @throws {ModelError} If it isn't a CLIP tokenizer's.
   */
  static fromJSON(json: string, options: { readonly padToken?: string } = {}): ClipTokenizer {
    const file = "tokenizer.json";
    const { model, added_tokens: added = [], padding } = objectOf(parseJson(json, file), file);
    const where = `${file}: "model"`;
    const { type = "BPE", vocab, merges, end_of_word_suffix: suffix } = objectOf(model, where);
    if (type !== "BPE" || suffix !== SUFFIX || !Array.isArray(merges)) {
      throw new ModelError(
        `${where} must be a BPE with merges whose words end in "${SUFFIX}", as CLIP's is`,
      );
    }
    const ids = new Map(Object.entries(checkVocab(vocab, where)));
    let normalizedSpecials = false;
    if (!Array.isArray(added)) throw new ModelError(`${file}: "added_tokens" must be a list`);
    for (const token of added) {
      const { content, id, normalized } = objectOf(token, `${file}: "added_tokens"`);
      if (typeof content !== "string" || typeof id !== "number") {
        throw new ModelError(`${file}: "added_tokens" must have "content" and "id"`);
      }
      ids.set(content, id);
      if (content === END) normalizedSpecials = normalized === true;
    }
    const named = typeof padding === "object" && padding !== null && "pad_token" in padding
      ? String(padding.pad_token)
      : END;
    return new ClipTokenizer({
      vocab: Object.fromEntries(ids),
      merges: merges.map((pair, i) => pairOf(typeof pair === "string" ? pair.split(" ") : pair, i)),
      padToken: options.padToken ?? named,
      normalizedSpecials,
    });
  }

  /**
   * Encodes one text, between a start and an end token.
   *
   * @param text Any string, the empty one included.
   * @param options `maxLength` cuts the text off and keeps the end token; 77 where left out.
   * @returns Ids below {@linkcode ClipTokenizer.vocabSize}.
   * @throws {OptionError} If `maxLength` is not an integer of at least 2.
   */
  encode(text: string, options: EncodeOptions = {}): number[] {
    const { maxLength = clipContextLength } = options;
    if (maxLength !== Infinity) checkLength("maxLength", maxLength);
    const ids = [this.startId];
    const limit = maxLength - 1;
    const wellFormed = text.toWellFormed();
    const pieces = this.#normalizedSpecials
      ? normalize(wellFormed).split(SPECIAL)
      : wellFormed.split(SPECIAL);
    for (const piece of pieces) {
      if (ids.length >= limit) break;
      if (piece === START || piece === END) ids.push(piece === START ? this.startId : this.endId);
      else this.#encodePiece(this.#normalizedSpecials ? piece : normalize(piece), ids, limit);
    }
    if (ids.length > limit) ids.length = limit;
    ids.push(this.endId);
    return ids;
  }

  /**
   * Encodes many texts into one pair of tensors.
   *
   * @param texts C texts.
   * @param maxLength Longest row, start and end tokens included; longer texts are cut off. 77 where
   *   left out.
   * @param length Fixes L; where left out, L is the longest row's length.
   * @returns `tokens` and `mask`, both C × L.
   * @throws {OptionError} If `maxLength` or `length` is not an integer of at least 2.
   */
  encodeBatch(
    texts: readonly string[],
    maxLength: number = clipContextLength,
    length?: number,
  ): TokenBatch {
    if (length !== undefined) checkLength("length", length);
    const limit = Math.min(maxLength, length ?? maxLength);
    const rows = texts.map((text) => this.encode(text, { maxLength: limit }));
    const columns = length ?? rows.reduce((longest, row) => Math.max(longest, row.length), 2);
    const tokens = new HostTensor("int64", [rows.length, columns]);
    const mask = new HostTensor("float32", [rows.length, columns]);
    tokens.data.fill(BigInt(this.padId));
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
      const token = this.#tokens[Number(raw)];
      if (token === undefined) {
        throw new InputError(
          `CLIP tokenizer: id ${raw} is not in the vocabulary; ids run from 0 to ${
            this.vocabSize - 1
          }`,
        );
      }
      if (token === START || token === END) continue;
      const endsWord = token.endsWith(SUFFIX);
      const chars = endsWord ? token.slice(0, -SUFFIX.length) : token;
      for (const char of chars) bytes.push(charBytes.get(char) ?? 0x3f);
      if (endsWord) bytes.push(0x20);
    }
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes)).trim();
  }

  #encodePiece(text: string, ids: number[], limit: number): void {
    for (const match of text.matchAll(WORD)) {
      if (ids.length >= limit) return;
      const word = match[0];
      const parts = SPECIAL.test(word) ? word.match(NAME_PARTS)! : [word];
      for (const part of parts) {
        for (const id of this.#encodeWord(part)) ids.push(id);
      }
    }
  }

  #encodeWord(word: string): readonly number[] {
    const known = this.#cache.get(word);
    if (known) return known;
    const ids = this.#merge(word);
    if (word.length <= MAX_CACHED_LENGTH) {
      // Bounded, so that a long-running service fed with arbitrary text does not grow without end.
      if (this.#cache.size >= MAX_CACHED_WORDS) this.#cache.clear();
      this.#cache.set(word, ids);
    }
    return ids;
  }

  /** Joins pairs, of all those in the word the best ranked first and of equals the leftmost. */
  #merge(word: string): number[] {
    const bytes = utf8.encode(word);
    const last = bytes.length - 1;
    const ids = Array.from(bytes, (byte, i) => (i === last ? this.#lastBytes : this.#bytes)[byte]!);
    // The symbols are a linked list; a joined pair lives on at its left half's place.
    const next = ids.map((_, i) => i + 1);
    const previous = ids.map((_, i) => i - 1);
    const heap = new CandidateHeap();
    const offer = (at: number) => {
      const right = next[at]!;
      if (right >= ids.length) return;
      const merge = this.#merges.get(ids[at]! * MAX_VOCABULARY + ids[right]!);
      if (merge) heap.push({ rank: merge.rank, at, left: ids[at]!, right: ids[right]! });
    };
    for (let i = 0; i < last; i++) offer(i);
    for (let best = heap.pop(); best !== null; best = heap.pop()) {
      const { at, left, right } = best;
      const from = next[at]!;
      // One of the two may have been joined with something else meanwhile.
      if (ids[at] !== left || from >= ids.length || ids[from] !== right) continue;
      ids[at] = this.#merges.get(left * MAX_VOCABULARY + right)!.id;
      ids[from] = -1;
      next[at] = next[from]!;
      if (next[at]! < ids.length) previous[next[at]!] = at;
      if (previous[at]! >= 0) offer(previous[at]!);
      offer(at);
    }
    return ids.filter((id) => id >= 0);
  }
}

/** A binary heap of merges, so that a word of many thousand letters takes no quadratic time. */
class CandidateHeap {
  readonly #items: Candidate[] = [];

  push(item: Candidate): void {
    const items = this.#items;
    let i = items.length;
    items.push(item);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(item, items[parent]!)) break;
      items[i] = items[parent]!;
      i = parent;
    }
    items[i] = item;
  }

  pop(): Candidate | null {
    const items = this.#items;
    const top = items[0];
    const item = items.pop();
    if (top === undefined || item === undefined) return null;
    if (items.length === 0) return top;
    let i = 0;
    while (true) {
      let child = 2 * i + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && before(items[child + 1]!, items[child]!)) child++;
      if (!before(items[child]!, item)) break;
      items[i] = items[child]!;
      i = child;
    }
    items[i] = item;
    return top;
  }
}

function before(a: Candidate, b: Candidate): boolean {
  return a.rank !== b.rank ? a.rank < b.rank : a.at < b.at;
}

/** NFC, white space collapsed, lower case. */
function normalize(text: string): string {
  const collapsed = text.normalize("NFC").replace(SPACES, " ");
  // Letter by letter: JavaScript would write a final sigma at the ends of Greek words. Which letters
  // have cases is a matter of the runtime's Unicode version, as it is of the reference's.
  // deno-lint-ignore no-control-regex
  if (/^[\x00-\x7f]*$/.test(collapsed)) return collapsed.toLowerCase();
  return Array.from(collapsed, (char) => char.toLowerCase()).join("");
}

function checkLength(name: string, length: number): void {
  if (!Number.isInteger(length) || length < 2) {
    throw new OptionError(
      `CLIP tokenizer: ${name} is ${length}; it must be an integer of at least 2 (start and end token)`,
    );
  }
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ModelError(`${file} is not JSON`, { cause });
  }
}

function objectOf(value: unknown, where: string): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new ModelError(`${where} must be an object`);
}

function checkVocab(value: unknown, where: string): Record<string, number> {
  const vocab = objectOf(value, `${where}: the vocabulary`);
  for (const [token, id] of Object.entries(vocab)) {
    if (typeof id !== "number") {
      throw new ModelError(`${where}: the id of ${JSON.stringify(token)} must be a number`);
    }
  }
  return vocab as Record<string, number>;
}

function pairOf(parts: unknown, index: number): [string, string] {
  if (Array.isArray(parts) && parts.length === 2 && parts.every((p) => typeof p === "string")) {
    return parts as [string, string];
  }
  throw new ModelError(
    `CLIP tokenizer: merge ${index} is ${JSON.stringify(parts)}; it must be two tokens`,
  );
}
