/**
 * Segments an image file: `deno run -A examples/segment_image.ts photo.png "dog, guitar"`.
 *
 * @module
 */
import process from "node:process";
import { acquireDevice, openOvsnet, segments, vocabulary } from "@ovstage/ovstage";
import { readImage } from "@ovstage/ovstage/read-image";

const [path = "scene.png", classes = "dog, guitar, slice of pizza"] = process.argv.slice(2);
const names = classes.split(",").map((name) => name.trim());
const image = await readImage(path);

await using device = await acquireDevice("auto");
await using ovsnet = await openOvsnet({ device });
using result = await ovsnet.run({ image, vocabulary: vocabulary(names) });
const { labels, scores } = result.outputs.segmentation;
const { width, height } = image;
const map = { width, height, labels: await labels.read(), scores: await scores.read() };
for (const { label, score, area, bbox } of segments(map, names)) {
  console.log(`${label}: score ${score.toFixed(2)}, ${area} pixels in [${bbox.join(", ")}]`);
}
