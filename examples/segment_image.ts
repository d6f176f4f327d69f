/**
 * Segments an image file by words of your own, and draws the result where a third argument says:
 *
 *     deno run -A examples/segment_image.ts photo.png "dog, guitar" overlay.png
 *
 * @module
 */
import process from "node:process";
import sharp from "sharp";
import {
  acquireDevice,
  classColours,
  openOvsnet,
  overlay,
  segments,
  vocabulary,
} from "@ovstage/ovstage";
import { readImage } from "@ovstage/ovstage/read-image";

const [path, classes, out] = process.argv.slice(2);
if (path === undefined || classes === undefined) {
  console.error('usage: deno run -A examples/segment_image.ts IMAGE "CLASS, CLASS, …" [OUT.png]');
  process.exit(2);
}
const names = classes.split(",").map((name) => name.trim());
const image = await readImage(path);

await using device = await acquireDevice("auto");
await using ovsnet = await openOvsnet({ device });
using result = await ovsnet.run({ image, vocabulary: vocabulary(names) });
const { labels, scores } = result.outputs.segmentation;
const { width, height } = image;
const map = { width, height, labels: await labels.read(), scores: await scores.read() };
const found = segments(map, names);
for (const { label, score, area, bbox } of found) {
  console.log(`${label}: score ${score.toFixed(2)}, ${area} pixels in [${bbox.join(", ")}]`);
}

if (out !== undefined) {
  const colours = classColours(names.length, found.map(({ index }) => index));
  const { rgb } = overlay(image, map.labels, colours);
  await sharp(rgb, { raw: { width, height, channels: 3 } }).toFile(out);
}
