/**
 * Runs the pipeline that a JSON file describes, and writes it out again with every option spelt
 * out, so that it means the same when defaults have changed:
 *
 *     deno run -A examples/pipeline_from_json.ts examples/pipeline.json photo.png "dog, guitar" \
 *       whole.json
 *
 * @module
 */
import { readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import {
  acquireDevice,
  builtinRegistry,
  checkDocument,
  formatDocument,
  openPipeline,
  OvsError,
  parseDocument,
  segments,
  vocabulary,
} from "@ovstage/ovstage";
import { readImage } from "@ovstage/ovstage/read-image";

const [file, path, classes, out] = process.argv.slice(2);
if (file === undefined || path === undefined || classes === undefined) {
  console.error(
    "usage: deno run -A examples/pipeline_from_json.ts PIPELINE.json IMAGE " +
      '"CLASS, CLASS, …" [OUT.json]',
  );
  process.exit(2);
}
const names = classes.split(",").map((name) => name.trim());
const image = await readImage(path);

/** Reads no model: a wrong name, option or order is known before anything is loaded. */
function check(text: string) {
  try {
    return checkDocument(parseDocument(text), builtinRegistry());
  } catch (error) {
    if (!(error instanceof OvsError)) throw error;
    console.error(`${file}: ${error.message}`);
    process.exit(1);
  }
}
const document = check(await readFile(file, "utf8"));
if (out !== undefined) await writeFile(out, formatDocument(document));

await using device = await acquireDevice("auto");
await using pipeline = await openPipeline(document, { device });
// What the document ends with is known only now, so the slot is asked for by name.
using result = await pipeline.run({ image, vocabulary: vocabulary(names) }, {
  outputs: ["segmentation"],
});
const { labels, scores } = result.outputs.segmentation;
const { width, height } = image;
const map = { width, height, labels: await labels.read(), scores: await scores.read() };
for (const { label, area } of segments(map, names)) console.log(`${label}: ${area} pixels`);
