/**
 * Which fuser is best? Renders scenes, segments them by each fuser and compares with the truth; a
 * module with a fuser of your own joins in:
 *
 *     deno run -A examples/compare_fusers.ts 20 examples/plugins/median_fuser.ts
 *
 * What comes before the fuser runs once a scene; only fuser, classifier and segmenter run for each.
 *
 * @module
 */
import process from "node:process";
import {
  acquireDevice,
  builtinRegistry,
  ConfusionMatrix,
  loadPlugin,
  openPipeline,
  type PipelineDocument,
  vocabulary,
} from "@ovstage/ovstage";
import { openDataset } from "@ovstage/ovstage/datasets";

const [count = "20", module] = process.argv.slice(2);
if (!/^[1-9]\d*$/.test(count)) {
  console.error("usage: deno run -A examples/compare_fusers.ts [NUMBER_OF_SCENES] [FUSER.ts]");
  process.exit(2);
}
const fusers = ["gfa", "mean", "clip", "query"];
const registry = builtinRegistry();
if (module !== undefined) {
  for (const { role, name } of await loadPlugin(module, registry)) {
    if (role === "fuser") fusers.push(name);
  }
}

const trunk: PipelineDocument = {
  version: 1,
  stages: [
    { role: "image-encoder", name: "onnx" },
    { role: "text-encoder", name: "onnx" },
    { role: "decoder", name: "onnx" },
    { role: "pooler", name: "mask_pooling" },
  ],
};
const between = ["text", "maskLogits", "queryEmbeddings", "pooled"] as const;
const branch = (fuser: string): PipelineDocument => ({
  version: 1,
  inputs: ["image", "vocabulary", ...between],
  stages: [
    { role: "fuser", name: fuser },
    { role: "classifier", name: "query_void" },
    { role: "segmenter", name: "semantic" },
  ],
});

await using device = await acquireDevice("auto");
await using first = await openPipeline(trunk, { device });
await using rest = new AsyncDisposableStack();
const scenes = await openDataset("emoji-scenes", { split: "seen", scenes: Number(count) });
const words = vocabulary(scenes.classes.map(({ name }) => name));
const numClasses = words.names.length;
const rows = await Promise.all(fusers.map(async (fuser) => ({
  fuser,
  pipeline: rest.use(await openPipeline(branch(fuser), { device, registry })),
  truth: new ConfusionMatrix(numClasses, { ignoreLabel: -1 }),
  gfa: new ConfusionMatrix(numClasses, { ignoreLabel: -1 }),
})));

for (let index = 0; index < scenes.length; index++) {
  const { image, labels } = await scenes.read(index);
  using shared = await first.run({ image, vocabulary: words }, { outputs: between });
  let byGfa: Int32Array | undefined;
  for (const { pipeline, truth, gfa } of rows) {
    using result = await pipeline.run({ image, vocabulary: words, ...shared.outputs }, {
      outputs: ["segmentation"],
    });
    const found = await result.outputs.segmentation.labels.read();
    truth.add(labels, found);
    gfa.add(byGfa ??= found, found);
  }
}

// "Others" stands for whatever has no name here; nobody can be asked to find it.
const without = scenes.othersIndex === null ? [] : [scenes.othersIndex];
const percent = (share: number) => (100 * share).toFixed(1).padStart(8);
console.log(`${scenes.length} scenes, ${numClasses} classes, in percent`);
console.log(`${"fuser".padEnd(12)}    mIoU  pixels  as gfa`);
for (const { fuser, truth, gfa } of rows) {
  const figures = [truth.meanIou({ without }), truth.pixelAccuracy(), gfa.pixelAccuracy()];
  console.log(fuser.padEnd(12) + figures.map(percent).join(""));
}
