/**
 * The report: one HTML file that needs nothing else.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { classColours, toHex } from "../../lib/image/palette.ts";
import { InputError } from "../../lib/errors.ts";
import { writeTextAtomically } from "../training/run_files.ts";
import { escapeHtml } from "./charts.ts";
import { type ReportChart, reportCharts } from "./report_charts.ts";
import { reportScript, reportStyle } from "./report_style.ts";
import {
  type ClassResult,
  countImages,
  type EvaluationResult,
  type ImageScore,
  mainFigure,
  mainFigures,
  namedFigures,
} from "./result.ts";
import {
  type EvaluationIdentity,
  type ImageRecord,
  pictureKinds,
  RunFolder,
} from "./run_folder.ts";
import { taskOf } from "./tasks/task_of.ts";
import type { Task } from "./tasks/task.ts";

const percent = (value: number | null | undefined, digits = 1) =>
  value === null || value === undefined ? "–" : value.toFixed(digits);

/** A cell of a table; numbers go right, and sort by their value. */
function cell(value: string | number | null, digits?: number): string {
  if (typeof value === "string") return `<td>${escapeHtml(value)}</td>`;
  const text = value === null ? "–" : digits === undefined ? String(value) : value.toFixed(digits);
  return `<td class="number" data-value="${value ?? ""}">${text}</td>`;
}

function table(
  caption: string,
  columns: readonly string[],
  rows: readonly string[],
  sortable = false,
): string {
  const heads = columns.map((column) => {
    const text = escapeHtml(column);
    return sortable
      ? `<th scope="col"><button type="button">${text}</button></th>`
      : `<th scope="col">${text}</th>`;
  });
  return `<div class="scroll" tabindex="0" role="region" aria-label="${escapeHtml(caption)}">` +
    `<table${sortable ? " data-sortable" : ""}><caption>${escapeHtml(caption)}</caption>` +
    `<thead><tr>${heads.join("")}</tr></thead>` +
    `<tbody>${rows.map((row) => `<tr>${row}</tr>`).join("\n")}</tbody></table></div>`;
}

const detailTitles: Readonly<Record<string, string>> = {
  accuracy: "accuracy (%)",
  truePixels: "true pixels",
  predictedPixels: "predicted pixels",
  SQ: "SQ (%)",
  RQ: "RQ (%)",
  matches: "matched segments",
  falseAlarms: "false alarms",
  misses: "missed segments",
  AP50: "AP50 (%)",
  AP75: "AP75 (%)",
  objects: "objects",
};

function classTable({ task, classes }: EvaluationResult): string {
  const details = Object.keys(classes[0]?.details ?? {});
  const hasNearest = classes.some(({ nearest }) => nearest !== null);
  const columns = [
    "class",
    `${mainFigures[task].perClass} (%)`,
    ...details.map((name) => detailTitles[name] ?? name),
    ...(hasNearest ? ["nearest training category", "cosine"] : []),
  ];
  const row = ({ name, score, details: own, nearest }: ClassResult) =>
    `<th scope="row">${escapeHtml(name)}</th>` + cell(score, 1) +
    details.map((key) => cell(own[key]!, detailTitles[key]?.includes("%") ? 1 : undefined)).join(
      "",
    ) +
    (hasNearest
      ? cell(nearest?.name ?? "–") + cell(nearest === null ? null : nearest.similarity, 3)
      : "");
  const sorted = [...classes].sort((a, b) => (b.score ?? -1) - (a.score ?? -1));
  return table(`The ${classes.length} classes`, columns, sorted.map(row), true);
}

function confusionTable({ confusions }: EvaluationResult): string {
  if (confusions.length === 0) return "";
  const rows = confusions.map(({ truth, prediction, pixels, share }) =>
    cell(truth) + cell(prediction ?? "(none)") + cell(pixels) + cell(share, 1)
  );
  return `<section><h2>Confusions</h2><p>Pixels of one class that were given to another, the ` +
    `commonest first.</p>${
      table(
        "The commonest confusions",
        [
          "true class",
          "taken for",
          "pixels",
          "of the true class (%)",
        ],
        rows,
        true,
      )
    }</section>`;
}

function chartSection({ heading, text, svg, columns, rows }: ReportChart): string {
  const numbers = table(
    heading,
    columns,
    rows.map((row) => row.map((value) => cell(value)).join("")),
  );
  return `<section><h2>${escapeHtml(heading)}</h2><p>${escapeHtml(text)}</p>` +
    `<figure class="chart">${svg}</figure>` +
    `<details><summary>The numbers: ${escapeHtml(heading)}</summary>${numbers}</details></section>`;
}

/** An image, its truth and the prediction. */
function imageRow(
  folder: RunFolder,
  { index, id, score }: ImageScore,
  record: ImageRecord | undefined,
  identity: EvaluationIdentity,
  task: Task,
): string {
  const titles = { image: "image", truth: "truth", prediction: "prediction" };
  const pictures = pictureKinds.map((kind) => {
    let bytes: string;
    try {
      bytes = readFileSync(folder.picture(index, kind)).toString("base64");
    } catch {
      return "";
    }
    const alt = escapeHtml(`${id}: ${titles[kind]}`);
    return `<figure><img alt="${alt}" src="data:image/webp;base64,${bytes}">` +
      `<figcaption>${titles[kind]}</figcaption></figure>`;
  });
  const present = record === undefined ? [] : task.present(record.levels[0]!);
  const colours = classColours(identity.classes.length, present);
  const legend = present.slice(0, 24).map((label) =>
    `<li><span class="swatch" style="background:${toHex(colours[label]!)}"></span>${
      escapeHtml(identity.classes[label]!.name)
    }</li>`
  );
  if (present.length > 24) legend.push(`<li>and ${present.length - 24} more</li>`);
  const figure = mainFigures[identity.task].whole;
  return `<article class="image"><h3>${escapeHtml(id)} <span class="score">${figure} ${
    percent(score)
  }</span></h3><div class="pictures">${pictures.join("")}</div>` +
    `<ul class="legend" aria-label="Classes in the pictures">${legend.join("")}</ul></article>`;
}

async function imageSections(
  folder: RunFolder,
  identity: EvaluationIdentity,
  { best, worst }: EvaluationResult,
): Promise<string> {
  const task = taskOf(identity);
  const wanted = new Set([...best, ...worst].map(({ index }) => index));
  const records = new Map<number, ImageRecord>();
  for await (const record of folder.records(identity)) {
    if (wanted.has(record.index)) records.set(record.index, record);
  }
  const section = (heading: string, images: readonly ImageScore[]) =>
    images.length === 0
      ? ""
      : `<section><h2>${heading}</h2>${
        images.map((image) => imageRow(folder, image, records.get(image.index), identity, task))
          .join("\n")
      }</section>`;
  return section("Worst images", worst) + section("Best images", best);
}

function origin({ pipeline, dataset, version, distractors, trained }: EvaluationIdentity): string {
  const stages = pipeline.document.stages.map(({ role, name, options }) =>
    cell(role) + cell(name) +
    cell(
      Object.entries(options ?? {}).map(([key, value]) => `${key} ${JSON.stringify(value)}`)
        .join(", "),
    )
  );
  const facts: [string, string][] = [
    ["data set", `${dataset.name}, ${countImages(dataset.images)}`],
    ["its fingerprint", dataset.fingerprint],
    ["computed on", pipeline.device],
    ["ovstage", version],
    ...Object.entries(pipeline.models).map(([name, sum]): [string, string] => [
      name,
      `SHA-256 ${sum}`,
    ]),
    ...(trained === null
      ? []
      : [["training vocabulary", `${trained.length} names`] as [string, string]]),
    ...(distractors === null
      ? []
      : [["irrelevant names", `${distractors.names.length} drawn`] as [string, string]]),
  ];
  return `<section><h2>How it was made</h2>${
    table("The pipeline", ["role", "stage", "options"], stages)
  }<dl>${
    facts.map(([term, text]) =>
      `<div><dt>${escapeHtml(term)}</dt><dd>${escapeHtml(text)}</dd></div>`
    )
      .join("")
  }</dl></section>`;
}

/**
 * Lays out the report of a finished evaluation.
 *
 * @param path The folder.
 * @returns HTML with everything in it: styles, charts, pictures.
 * @throws {InputError} If the folder holds no finished evaluation.
 */
export async function renderReport(path: string): Promise<string> {
  const folder = new RunFolder(path);
  const identity = folder.identity();
  const result = folder.readResult();
  if (result === null) {
    throw new InputError(`${path}: the evaluation isn't finished; go on with ovs eval --resume`);
  }
  const { task, dataset, images, shard, similarity } = result;
  const title = `${dataset}, ${task} segmentation`;
  const tiles = namedFigures(result).map(([name, value], i) =>
    `<div class="tile${i === 0 ? " main" : ""}"><dt>${escapeHtml(name)}</dt><dd>${
      percent(value)
    }</dd></div>`
  );
  if (similarity !== null) {
    tiles.push(
      `<div class="tile"><dt>similarity to training</dt><dd>${similarity.toFixed(3)}</dd></div>`,
    );
  }
  const scored = result.classes.filter(({ score }) => score !== null).length;
  const charts = await reportCharts(result);
  const figure = mainFigures[task].whole;
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(title)}: ${figure} ${percent(mainFigure(task, result))}</title>
<style>${reportStyle}</style>
</head>
<body>
<header>
<h1>${escapeHtml(title)}</h1>
<p>${countImages(images)}, ${scored} of ${result.classes.length} classes occur${
    shard === null ? "" : `; shard ${escapeHtml(shard)} only`
  }. Figures are in percent.</p>
</header>
<main>
<section aria-label="Scores"><dl class="tiles">${tiles.join("")}</dl></section>
${charts.map(chartSection).join("\n")}
<section><h2>Classes</h2>${classTable(result)}</section>
${confusionTable(result)}
${await imageSections(folder, identity, result)}
${origin(identity)}
</main>
<script>${reportScript}</script>
</body>
</html>
`;
}

/**
 * Writes `report.html` into the folder of a finished evaluation.
 *
 * @param path The folder.
 * @returns The file's path.
 * @throws {InputError} If the folder holds no finished evaluation.
 * @throws {OutputError} If the file can't be written.
 */
export async function writeReport(path: string): Promise<string> {
  const file = new RunFolder(path).at("report.html");
  writeTextAtomically(file, await renderReport(path));
  return file;
}
