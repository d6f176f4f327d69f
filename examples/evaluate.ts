/**
 * Scores a model on a data set and writes a report: on a folder of your own (`images/val`,
 * `annotations/val` and `classes.txt`, such as `examples/train_decoder.ts` makes), or, without one,
 * on scenes that are rendered:
 *
 *     deno run -A examples/evaluate.ts shapes --models shapes/run/models --out out/shapes
 *
 * @module
 */
import { join, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { acquireDevice, modelSource, openPipeline, ovsnetDocument } from "@ovstage/ovstage";
import { openDataset } from "@ovstage/ovstage/datasets";
import { evaluate, namedFigures, watchModels, writeReport } from "@ovstage/ovstage/evaluation";

const usage =
  "usage: deno run -A examples/evaluate.ts [FOLDER] [--models DIR] [--out DIR] [--limit N]";
function parse() {
  try {
    const string = { type: "string" } as const;
    const options = { models: string, out: string, limit: string };
    return parseArgs({ allowPositionals: true, options });
  } catch (error) {
    console.error(`${(error as Error).message}\n${usage}`);
    process.exit(2);
  }
}
const { positionals: [folder], values: { models, out = "out/evaluation", limit = "20" } } = parse();

const dataset = folder === undefined
  ? await openDataset("emoji-scenes", { split: "far" })
  : await openDataset("folder", { path: folder, classes: join(folder, "classes.txt") });

await using device = await acquireDevice("auto");
const document = ovsnetDocument();
// Remembers the digests of what is read, so that no run goes on with another model.
const watched = watchModels(modelSource(models && pathToFileURL(resolve(models))));
await using pipeline = await openPipeline(document, { device, models: watched });

const { result } = await evaluate(pipeline, dataset, {
  limit: Number(limit),
  folder: {
    path: out,
    pipeline: { document, models: watched.digests(), plugins: [], device: device.kind },
    resume: true, // an interrupted run goes on where it stood
  },
  onProgress({ done, total, score }) {
    console.log(`${done} of ${total}: mIoU ${score?.toFixed(1) ?? "–"} so far`);
  },
});
await writeReport(out);

for (const [name, value] of namedFigures(result)) {
  console.log(`${name}: ${value === null ? "–" : `${value.toFixed(1)} %`}`);
}
console.log(`the report, with the best and the worst images: ${join(out, "report.html")}`);
