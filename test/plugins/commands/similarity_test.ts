import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { OvsError } from "../../../lib/errors.ts";
import { float32 } from "../../../lib/tensor.ts";
import { curateCommand } from "../../../plugins/commands/curate.ts";
import { knownVocabularies, readVocabulary } from "../../../plugins/commands/read_vocabulary.ts";
import {
  formatSimilarity,
  similarity,
  type SimilarityDocument,
} from "../../../plugins/commands/similarity.ts";
import { encodeEmbeddingFile } from "../../../plugins/evaluation/embedding_file.ts";
import { writeTinyModels } from "./tiny_models.ts";

const main = fileURLToPath(new URL("../../../plugins/commands/main.ts", import.meta.url));
const dir = mkdtempSync(join(tmpdir(), "ovstage-similarity-"));
globalThis.addEventListener("unload", () => rmSync(dir, { recursive: true, force: true }));
const at = (...path: string[]) => join(dir, ...path);

/** Runs `ovs` as a user would, in a process of its own. */
function ovs(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ["run", "-A", "--quiet", main, ...args],
      { cwd: dir, maxBuffer: 2 ** 26, encoding: "utf8" },
      (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    );
  });
}

writeTinyModels(at("models"));
writeFileSync(at("train.txt"), "dog\ncar\n");
writeFileSync(at("test.json"), '["Dog", "puppy", "van"]');
writeFileSync(at("empty.txt"), "");
const names = ["dog", "car", "Dog", "puppy", "van"];
const rows = float32([5, 2], Float32Array.of(1, 0, 0, 1, 2, 0, 4, 3, -3, 4));
writeFileSync(at("own.safetensors"), encodeEmbeddingFile(names, rows));
const vocabularies = ["--train", at("train.txt"), "--test", at("test.json")];

Deno.test("ovs similarity: embeddings of one's own, as JSON and as a chart", async () => {
  const own = ["--embeddings", at("own.safetensors")];
  const run = await ovs("similarity", ...vocabularies, ...own, "--json", "--svg", "chart.svg");
  assert.equal(run.code, 0, run.stderr);
  assert.equal(run.stderr, "");
  const document: SimilarityDocument = JSON.parse(run.stdout);
  const found = document.nearest.map((
    { name, nearest, similarity },
  ) => [name, nearest, similarity]);
  assert.deepEqual(found, [["Dog", "dog", 1], ["puppy", "dog", 0.8], ["van", "car", 0.8]]);
  assert.ok(Math.abs(document.average - 2.6 / 3) < 1e-12);
  assert.deepEqual(document.sameName, ["Dog"]);
  assert.deepEqual(document.train, { vocabulary: at("train.txt"), categories: 2 });
  const svg = readFileSync(at("chart.svg"), "utf8");
  assert.match(svg, /^<svg [\s\S]*<\/svg>\n$/);
  assert.match(svg, /average 0\.867/);
  assert.match(svg, /cosine to the nearest training category/);

  const shown = formatSimilarity(document);
  assert.match(shown, /0\.80 to 0\.85 +2 +█+\n(.* 0\n){2}0\.95 to 1\.00 +1 +█+/);
  assert.match(
    shown,
    /of one name with a training category: 1 of 3; average of the other 2: 0\.800/,
  );
  assert.match(shown, /\naverage 0\.867, median 0\.800\n$/);
});

Deno.test("ovs similarity: a text encoder, prompts and synonyms", async () => {
  const models = ["--models", at("models")];
  const run = await ovs(
    "similarity",
    ...["--train", "voc20", "--test", "cityscapes19"],
    ...models,
    ...["--prompts", "vild", "--synonyms", "--pairs", "2", "--json"],
  );
  assert.equal(run.code, 0, run.stderr);
  const document: SimilarityDocument = JSON.parse(run.stdout);
  assert.equal(document.nearest.length, 19);
  assert.deepEqual([document.closest.length, document.farthest.length], [2, 2]);
  assert.ok(document.sameName.includes("car") && document.synonyms);
  assert.equal(document.nearest.find(({ name }) => name === "car")!.similarity, 1);
  assert.match(document.encoder, /^text-encoder "onnx" of file:/);
});

Deno.test("ovs similarity: more names than a label file has labels", async () => {
  const many = Array.from({ length: 70_000 }, (_, i) => `thing ${i}`);
  writeFileSync(at("many.txt"), many.join("\n"));
  const directions = Float32Array.from({ length: 2 * 70_002 }, (_, i) => 1 + i % 3);
  writeFileSync(
    at("many.safetensors"),
    encodeEmbeddingFile([...many, "dog", "car"], float32([70_002, 2], directions)),
  );
  const run = await ovs(
    "similarity",
    ...["--train", "train.txt", "--test", "many.txt", "--embeddings", "many.safetensors"],
  );
  assert.equal(run.code, 0, run.stderr);
  assert.match(run.stdout, /many\.txt \(70000 categories\) against train\.txt \(2\)/);
});

Deno.test("ovs curate: paths are relative to where it runs, not to the config", async () => {
  mkdirSync(at("configs"));
  const base = { name: "t", out: "bench", sources: [{ dataset: "ade150" }] };
  writeFileSync(at("configs", "c.json"), JSON.stringify({ ...base, training: "train.txt" }));
  const { code, stderr } = await ovs("curate", join("configs", "c.json"));
  // The vocabulary was found; the data set comes next.
  assert.deepEqual([code, stderr], [2, "ovs: data set ade150: path is missing; it is needed\n"]);
});

Deno.test("ovs similarity and ovs curate: what can't be is refused by name", async () => {
  const config = at("c.json");
  writeFileSync(
    config,
    JSON.stringify({
      name: "t",
      out: at("bench"),
      training: "vox20",
      sources: [{ dataset: "ade15", options: {} }],
    }),
  );
  const other = (changes: object) => {
    const file = at(`c${Math.abs(JSON.stringify(changes).length)}.json`);
    const base = JSON.parse(readFileSync(config, "utf8"));
    writeFileSync(file, JSON.stringify({ ...base, training: "voc20", ...changes }));
    return file;
  };
  const own = ["--embeddings", at("own.safetensors")];
  const refused: [() => Promise<void>, RegExp][] = [
    [() => similarity(["--test", "voc20"]), /^--train is missing; name a vocabulary/],
    [() => similarity(["--train", "voc20"]), /^--test is missing/],
    [
      () => similarity(["--train", "voc2", "--test", "voc20"]),
      /--train voc2: no such file, and no built-in vocabulary; did you mean "voc20"\?/,
    ],
    [() => similarity(["--train", at("empty.txt"), "--test", "voc20"]), /empty\.txt: no classes/],
    [() => similarity([...vocabularies, "--pairs", "-1"]), /--pairs -1: it must be a whole number/],
    [() => similarity([...vocabularies, "--prompts", "vilds"]), /prompts is "vilds".*vild/],
    [
      () => similarity([...vocabularies, "--encoder", "onx"]),
      /unknown text-encoder "onx"; did you mean "onnx"/,
    ],
    [
      () => similarity([...vocabularies, ...own, "--prompts", "vild"]),
      /--embeddings and --prompts are both given/,
    ],
    [
      () => similarity(["--train", "voc20", "--test", at("test.json"), ...own]),
      /own\.safetensors: has no embedding of "aeroplane", "bicycle", "bird" and 1\d more/,
    ],
    [() => similarity([...vocabularies, "--embeddings", at("gone")]), /gone: no such file/],
    [
      () => similarity([...vocabularies, ...own, "--svg", at("gone", "h.svg")]),
      /h\.svg: can't be written/,
    ],
    [() => curateCommand([at("gone.json")]), /gone\.json: no such file/],
    [() => curateCommand([at("train.txt")]), /train\.txt: is no valid JSON/],
    [() => curateCommand([config]), /c\.json: training vox20: no such file.*did you mean "voc20"/],
    [() => curateCommand([other({})]), /there is no data set "ade15"; did you mean "ade150"/],
    [
      () => curateCommand([other({ sources: [{ dataset: "ade150" }] })]),
      /data set ade150: path is missing/,
    ],
    [() => curateCommand([other({ training: ["a", "A"] })]), /training: "A" is there twice/],
  ];
  for (const [run, message] of refused) {
    await assert.rejects(
      run(),
      (error) => error instanceof OvsError && message.test(error.message),
      String(message),
    );
  }
  assert.ok(!existsSync(at("bench")));
});

Deno.test("vocabularies: built-in ones by name, files in any case by a path", async () => {
  const counts: Record<string, number> = {};
  for (const name of knownVocabularies) {
    const classes = await readVocabulary(name, "--test");
    assert.equal(new Set(classes.map(({ name }) => name)).size, classes.length, name);
    assert.ok(classes.every(({ name, synonyms }) => synonyms[0] === name));
    counts[name] = classes.length;
  }
  const { "emoji-universe": all, "emoji-seen": seen, "emoji-near": near, "emoji-far": far } =
    counts;
  assert.deepEqual([seen, near, far], [171, 150, 286]);
  assert.ok(all! > 1500);
  assert.deepEqual([counts["voc20"], counts["ade847"], counts["pc459"]], [20, 847, 459]);
  const file = await readVocabulary(at("train.txt"), "--test");
  assert.deepEqual(file, [{ name: "dog", synonyms: ["dog"] }, { name: "car", synonyms: ["car"] }]);
});
