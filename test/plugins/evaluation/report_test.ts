import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { drawChart, escapeHtml } from "../../../plugins/evaluation/charts.ts";
import { evaluate } from "../../../plugins/evaluation/evaluate.ts";
import { renderReport, writeReport } from "../../../plugins/evaluation/report.ts";
import { tinyDataset, tinyIdentity, tinyNames, tinyPipeline } from "./tiny_run.ts";

const root = mkdtempSync(join(tmpdir(), "ovs-report-"));
globalThis.addEventListener("unload", () => rmSync(root, { recursive: true, force: true }));

Deno.test("report: one file with everything in it, and nobody's name is markup", async () => {
  const path = join(root, "run");
  const hostile = '</script><img src=x onerror="alert(1)">';
  const names = [...tinyNames, hostile];
  const { result } = await evaluate(tinyPipeline(), tinyDataset({ names }), {
    folder: { path, pipeline: tinyIdentity() },
    pictures: 2,
    trained: ["dog", hostile],
    distractors: { counts: [3, 9], names: Array.from({ length: 9 }, (_, i) => `<i>${i}`) },
  });
  assert.equal(await writeReport(path), join(path, "report.html"));
  const html = readFileSync(join(path, "report.html"), "utf8");
  assert.equal(html, await renderReport(path), "the same evaluation gives the same bytes");

  // Nothing of the names, the ids or the trained vocabulary came through as it is.
  for (const text of [...names.filter((name) => name !== escapeHtml(name)), "<i>image", "<i>1"]) {
    assert.ok(!html.includes(text), text);
  }
  for (const name of names) assert.ok(html.includes(`<th scope="row">${escapeHtml(name)}</th>`));
  assert.equal(html.match(/<script/g)?.length, 1);
  // Nothing is fetched: the only addresses are names of XML namespaces.
  assert.deepEqual(
    [...new Set(html.match(/https?:[^"' )]*/g))].sort(),
    ["http://www.w3.org/1999/xlink", "http://www.w3.org/2000/svg"],
  );
  assert.doesNotMatch(html, /<link|@import|url\(/);

  assert.ok("mIoU" in result);
  assert.ok(html.includes(`<dt>mIoU</dt><dd>${result.mIoU!.toFixed(1)}</dd>`));
  const headings = [...html.matchAll(/<h2>(.*?)<\/h2>/g)].map(([, text]) => text);
  assert.deepEqual(headings, [
    "Irrelevant names in the vocabulary",
    "Similarity to the training vocabulary",
    "IoU by similarity",
    "IoU of the classes",
    "Classes",
    "Confusions",
    "Worst images",
    "Best images",
    "How it was made",
  ]);
  // Every chart says what it shows, and has its numbers beside it.
  const charts = html.match(/<svg role="img" aria-labelledby="([a-z-]+)-title \1-desc"/g);
  assert.equal(charts?.length, 4);
  assert.equal(html.match(/<title id=/g)?.length, 4);
  assert.equal(html.match(/<details><summary>The numbers:/g)?.length, 4);
  // Two best and two worst images: image, truth and prediction of each.
  assert.equal(html.match(/<img alt="[^"]+" src="data:image\/webp;base64,[\w+/=]+">/g)?.length, 12);
  assert.match(html, /@media print/);
  assert.match(html, /prefers-color-scheme: dark/);
  assert.equal(html.match(/<th scope="col"><button/g)?.length, 7 + 4);
});

Deno.test("report: only of a finished evaluation", async () => {
  await assert.rejects(renderReport(join(root, "none")), /holds no evaluation/);
  const path = join(root, "part");
  const stop = new AbortController();
  const dataset = tinyDataset({ onRead: (index) => index === 3 && stop.abort() });
  const folder = { path, pipeline: tinyIdentity() };
  await assert.rejects(evaluate(tinyPipeline(), dataset, { folder, signal: stop.signal }));
  await assert.rejects(
    renderReport(path),
    /the evaluation isn't finished; go on with ovs eval --r/,
  );
});

Deno.test("report: nothing scored, nothing trained, no picture", async () => {
  const path = join(root, "blank");
  const dataset = tinyDataset({ length: 1 });
  const read = async () => {
    const sample = await dataset.read(0);
    return { ...sample, labels: sample.labels.fill(-1) };
  };
  const { result } = await evaluate(tinyPipeline(), { ...dataset, read }, {
    folder: { path, pipeline: tinyIdentity() },
  });
  assert.ok("mIoU" in result);
  assert.equal(result.mIoU, null);
  const html = await renderReport(path);
  assert.match(html, /<dt>mIoU<\/dt><dd>–<\/dd>/);
  const body = html.slice(html.indexOf("<body>"), html.indexOf("<script>"));
  assert.deepEqual(body.match(/NaN|undefined|null|<img/g), null);
});

Deno.test("charts: title and description are text, and marks say nothing", async () => {
  const svg = await drawChart(
    { data: { values: [{ a: 1 }] }, mark: "bar", encoding: { x: { field: "a" } } } as never,
    { id: "one", title: "<b>1 & 2", description: '"3"' },
  );
  assert.match(svg, /^<svg role="img" aria-labelledby="one-title one-desc" /);
  assert.match(svg, /<title id="one-title">&#60;b&#62;1 &#38; 2<\/title>/);
  assert.match(svg, /<desc id="one-desc">&#34;3&#34;<\/desc>/);
  assert.equal(svg.match(/ (role|aria-[a-z]+)=/g)?.length, 2);
});
