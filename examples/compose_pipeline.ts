/**
 * OVSNet put together by hand, with a stage of one's own in the middle:
 *
 *     deno run -A examples/compose_pipeline.ts photo.png "dog, guitar"
 *
 * Every `.pipe` is checked: move one before a stage that gives what it needs, and the program does
 * not compile.
 *
 * @module
 */
import process from "node:process";
import {
  acquireDevice,
  defineStage,
  float32,
  gfaFuser,
  imageEncoder,
  maskDecoder,
  maskPooling,
  modelSource,
  openAll,
  openStage,
  pipeline,
  segments,
  semanticSegmenter,
  textEncoder,
  trainedWordsClassifier,
  vocabulary,
} from "@ovstage/ovstage";
import { readImage } from "@ovstage/ovstage/read-image";

const [path, classes] = process.argv.slice(2);
if (path === undefined || classes === undefined) {
  console.error('usage: deno run -A examples/compose_pipeline.ts IMAGE "CLASS, CLASS, …"');
  process.exit(2);
}
const names = classes.split(",").map((name) => name.trim());
const image = await readImage(path);

/** Wipes masks that cover less than a share of the image, so that no specks are left. */
const dropSpecks = (share: number) =>
  defineStage({
    role: "filter",
    name: "drop specks",
    needs: ["maskLogits"],
    gives: ["maskLogits"], // anew: whoever comes later sees these, not the decoder's
    async run({ maskLogits }) {
      const kept = float32(maskLogits.shape, (await maskLogits.read()).slice());
      const pixels = kept.data.length / kept.shape[0]!;
      for (let at = 0; at < kept.data.length; at += pixels) {
        const mask = kept.data.subarray(at, at + pixels);
        if (mask.filter((logit) => logit > 0).length < share * pixels) mask.fill(-100);
      }
      return { maskLogits: kept };
    },
  });

await using device = await acquireDevice("auto");
const environment = { device, models: modelSource() };
const [encode, embed, decode, pool, fuse, classify, segment] = await openAll([
  openStage(imageEncoder, { inputSize: 160 }, environment),
  openStage(textEncoder, { templates: ["{}", "a drawing of a {}"] }, environment),
  openStage(maskDecoder, {}, environment),
  openStage(maskPooling, {}, environment),
  openStage(gfaFuser, { omega: 0.2 }, environment),
  openStage(trainedWordsClassifier, {}, environment),
  openStage(semanticSegmenter, {}, environment),
]);
await using ovsnet = pipeline(device)
  .pipe(encode).pipe(embed).pipe(decode).pipe(dropSpecks(0.01))
  .pipe(pool).pipe(fuse).pipe(classify).pipe(segment);

// Any slot of the chain can be asked for, not only the last one.
using result = await ovsnet.run({ image, vocabulary: vocabulary(names) }, {
  outputs: ["segmentation", "pooled"],
});
const { segmentation: { labels, scores }, pooled } = result.outputs;
const empty = (await pooled.empty.read()).filter((flag) => flag === 1).length;
console.log(`${pooled.empty.shape[0]} masks, ${empty} of them without a pixel`);
for (const { role, name, milliseconds } of result.timings) {
  console.log(`${role} "${name}": ${milliseconds.toFixed(1)} ms`);
}
const { width, height } = image;
const map = { width, height, labels: await labels.read(), scores: await scores.read() };
for (const { label, area } of segments(map, names)) console.log(`${label}: ${area} pixels`);
