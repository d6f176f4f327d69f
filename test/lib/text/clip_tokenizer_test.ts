import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
import process from "node:process";
import fc from "fast-check";
import { InputError, ModelError, OptionError } from "../../../lib/errors.ts";
import { Rng } from "../../../lib/rng.ts";
import { ClipTokenizer } from "../../../lib/text/clip_tokenizer.ts";
import { mutate } from "../weights/mutate.ts";

const folder = new URL("../../fixtures/clip_tokenizer/", import.meta.url);
const text = (file: string) => readFile(new URL(file, folder), "utf8");
const zipped = async (file: string) =>
  new TextDecoder().decode(gunzipSync(await readFile(new URL(file, folder))));

const [vocab, merges, json] = await Promise.all([
  text("vocab.json"),
  text("merges.txt"),
  zipped("tokenizer.json.gz"),
]);
/** What transformers.CLIPTokenizer says. */
const cases: {
  strings: string[];
  ids: number[][];
  bracketed: string[];
  normalized: number[][];
  decoded: string[];
} = JSON.parse(await zipped("cases.json.gz"));
const tokenizer = ClipTokenizer.fromFiles(vocab, merges);

Deno.test("CLIP tokenizer: the ids of transformers for 10,000 strings", () => {
  assert.equal(cases.strings.length, 10_000);
  const wrong = cases.strings.filter((string, i) =>
    tokenizer.encode(string).join() !== cases.ids[i]!.join()
  );
  assert.deepEqual(wrong, []);
});

Deno.test("CLIP tokenizer: special tokens in the normalised text, as tokenizer.json asks", () => {
  const normalizing = ClipTokenizer.fromJSON(json);
  assert.ok(cases.bracketed.length > 300);
  let differ = 0;
  for (const [i, string] of cases.bracketed.entries()) {
    assert.deepEqual(normalizing.encode(string), cases.normalized[i], JSON.stringify(string));
    if (tokenizer.encode(string).join() !== cases.normalized[i]!.join()) differ++;
  }
  assert.ok(differ > 0);
  const plain = cases.strings.filter((string) => !string.includes("<")).slice(0, 1000);
  for (const string of plain) {
    assert.deepEqual(normalizing.encode(string), tokenizer.encode(string));
  }
});

Deno.test("CLIP tokenizer: decodes as transformers does", () => {
  // Python strips some control characters, too.
  // deno-lint-ignore no-control-regex
  const strip = (s: string) => s.replace(/^[\s\x1c-\x1f\x85]+|[\s\x1c-\x1f\x85]+$/g, "");
  assert.equal(cases.decoded.length, 300);
  for (const [i, expected] of cases.decoded.entries()) {
    assert.equal(strip(tokenizer.decode(cases.ids[i]!)), strip(expected));
  }
});

Deno.test("CLIP tokenizer: rows of 77, cut off behind an end token, padded with the pad token", () => {
  const long = "dog ".repeat(100);
  const { tokens, mask } = tokenizer.encodeBatch(["", "cat", long], 77, 77);
  assert.deepEqual([tokens.shape, mask.shape], [[3, 77], [3, 77]]);
  const row = (c: number) => [...tokens.data.subarray(c * 77, c * 77 + 77)].map(Number);
  assert.deepEqual(row(0), [tokenizer.startId, ...new Array(76).fill(tokenizer.endId)]);
  assert.equal(row(2)[76], tokenizer.endId);
  assert.equal(row(2).filter((id) => id === tokenizer.endId).length, 1);
  const lengths = [0, 1, 2].map((c) => mask.data.subarray(c * 77, c * 77 + 77).indexOf(0));
  assert.deepEqual(lengths, [2, tokenizer.encode("cat").length, -1]);

  const other = ClipTokenizer.fromFiles(vocab, merges, { padToken: "!" });
  assert.equal(other.encodeBatch(["a"], 77, 77).tokens.data[76], BigInt(other.padId));
  assert.equal(other.padId, JSON.parse(vocab)["!"]);
});

/** Any code points, lone surrogates included. */
const anyString = fc.array(fc.integer({ min: 0, max: 0x10ffff }), { maxLength: 12 })
  .map((codes) => String.fromCodePoint(...codes));

Deno.test("CLIP tokenizer: any string encodes, and longer limits only add", () =>
  fc.assert(
    fc.property(anyString, fc.integer({ min: 2, max: 30 }), (s, max) => {
      const whole = tokenizer.encode(s, { maxLength: Infinity });
      assert.ok(whole.every((id) => id >= 0 && id < tokenizer.vocabSize));
      const cut = tokenizer.encode(s, { maxLength: max });
      assert.ok(cut.length <= max);
      assert.deepEqual(cut.slice(0, -1), whole.slice(0, cut.length - 1));
      assert.equal(cut.at(-1), tokenizer.endId);
      assert.deepEqual(tokenizer.encode(tokenizer.decode(whole), { maxLength: Infinity }), whole);
    }),
  ));

Deno.test("CLIP tokenizer: the best rank first, then the leftmost, also where merges feed others", () => {
  const tokens = ["a", "b", "c</w>", "c", "ab", "bc", "abc", "abc</w>", "bc</w>", "abcab"];
  const all = [...tokens, "<|startoftext|>", "<|endoftext|>"];
  const small = new ClipTokenizer({
    vocab: Object.fromEntries(all.map((token, id) => [token, id])),
    // "abc" + "ab" outranks what makes a second "abc".
    merges: [["a", "b"], ["abc", "ab"], ["ab", "c"], ["ab", "c</w>"]],
  });
  assert.deepEqual(small.encode("abcabc"), [10, 9, 2, 11]);
  // Bytes outside of the vocabulary become the end token.
  assert.deepEqual(small.encode("z"), [10, 11, 11]);
});

Deno.test("CLIP tokenizer: a word of 100,000 letters is no trouble", () => {
  const ids = tokenizer.encode("ab".repeat(50_000), { maxLength: Infinity });
  assert.equal(tokenizer.decode(ids).length, 100_000);
});

Deno.test("CLIP tokenizer: files of another kind are refused", () => {
  const refuses = (make: () => unknown, message: RegExp) =>
    assert.throws(make, (error) => {
      assert.ok(error instanceof ModelError, String(error));
      assert.match(error.message, message);
      return true;
    });
  refuses(() => ClipTokenizer.fromFiles("{", merges), /vocab\.json is not JSON/);
  refuses(() => ClipTokenizer.fromFiles("[]", merges), /must be an object/);
  refuses(() => ClipTokenizer.fromFiles('{"a":"b"}', merges), /the id of "a"/);
  refuses(() => ClipTokenizer.fromFiles('{"a":1}', ""), /"a" has the id 1/);
  refuses(() => ClipTokenizer.fromFiles('{"a":0}', ""), /lacks "<\|startoftext\|>"/);
  refuses(() => ClipTokenizer.fromFiles(vocab, "a b c"), /merge 0 is \["a","b","c"\]/);
  refuses(() => ClipTokenizer.fromFiles(vocab, "a nothing"), /lacks "nothing", of merge 0/);
  refuses(() => ClipTokenizer.fromFiles(vocab, merges, { padToken: "[PAD]" }), /lacks "\[PAD\]"/);
  refuses(() => ClipTokenizer.fromJSON('{"model":{"type":"WordPiece"}}'), /must be a BPE/);
  refuses(() => ClipTokenizer.fromJSON("null"), /tokenizer\.json must be an object/);
  assert.throws(() => tokenizer.encode("a", { maxLength: 1 }), OptionError);
  assert.throws(() => tokenizer.decode([99999]), InputError);
});

Deno.test("CLIP tokenizer: damaged files make a tokenizer or a typed error", () => {
  const tokens = ["a", "b", "c", "a</w>", "b</w>", "c</w>", "ab", "abc</w>", "🐼"];
  const all = [...tokens, "<|startoftext|>", "<|endoftext|>"];
  const small = Object.fromEntries(all.map((token, id) => [token, id]));
  const pairs = [["a", "b"], ["ab", "c</w>"]];
  const full = JSON.parse(json);
  Object.assign(full.model, { vocab: small, merges: pairs });
  full.added_tokens = all.slice(-2).map((content) => ({ content, id: small[content] }));
  const encode = (text: string) => new TextEncoder().encode(text);
  const files = [
    JSON.stringify(small),
    pairs.map((p) => p.join(" ")).join("\n"),
    JSON.stringify(full),
  ];
  const bytes = files.map(encode);
  const rng = new Rng(21);
  const cases = Number(process.env.OVS_FUZZ_CASES ?? 2000);
  let refused = 0;
  for (let i = 0; i < cases; i++) {
    const which = rng.integer(3);
    const damaged = new TextDecoder().decode(mutate(bytes[which]!, bytes, rng.fork(i)));
    try {
      const made = which === 2
        ? ClipTokenizer.fromJSON(damaged)
        : ClipTokenizer.fromFiles(which === 0 ? damaged : files[0]!, which ? damaged : files[1]!);
      made.decode(made.encode("abc ab <|endoftext|> 🐼"));
    } catch (error) {
      if (!(error instanceof ModelError)) throw new Error(`case ${i}: ${error}`, { cause: error });
      refused++;
    }
  }
  assert.ok(refused > cases / 4 && refused < cases);
});
