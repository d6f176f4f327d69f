/**
 * The report of an ablation: tables in Markdown, charts as SVG, and one page of HTML with both.
 *
 * @module
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { writeError, writeTextAtomically } from "../../training/run_files.ts";
import { escapeHtml } from "../charts.ts";
import { reportStyle } from "../report_style.ts";
import { type AblationChart, ablationCharts, standaloneChart } from "./ablation_charts.ts";
import type { AblationResults, SplitScore, SplitScores, Spread } from "./ablation_results.ts";

/** A table of text. */
interface TextTable {
  readonly id: string;
  readonly title: string;
  readonly note: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

const plusMinus = ({ mean, spread }: Spread, signed = false) => {
  const sign = signed && mean >= 0 ? "+" : "";
  const around = spread === null ? "" : ` ± ${spread.toFixed(1)}`;
  return `${sign}${mean.toFixed(1)}${around}`.replace("-", "−");
};

/** `41.2 ± 0.6 (+1.3 ± 0.4)`; where seeds are missing, how many there are. */
export function formatScore({ values, over, difference }: SplitScore): string {
  if (over === null) return "–";
  const there = values.filter((value) => value !== null).length;
  const notes = [
    ...(difference === null ? [] : [plusMinus(difference, true)]),
    ...(there === values.length ? [] : [`${there} of ${values.length} seeds`]),
  ];
  return plusMinus(over) + (notes.length === 0 ? "" : ` (${notes.join("; ")})`);
}

const cells = (scores: SplitScores) => Object.values(scores).map(formatScore);

/** All tables and sweeps as text. */
function textTables({ tables, sweeps, splits }: AblationResults): TextTable[] {
  const names = splits.map(({ split }) => split);
  return [
    ...tables.map(({ title, note, rows }, t): TextTable => ({
      id: `table-${t + 1}`,
      title,
      note,
      columns: ["", ...names],
      rows: rows.map(({ label, scores }) => [label, ...cells(scores)]),
    })),
    ...sweeps.map(({ title, note, parameter, lines }, s): TextTable => ({
      id: `sweep-${s + 1}`,
      title,
      note,
      columns: ["", parameter, ...names],
      rows: lines.flatMap(({ label, points }) =>
        points.map(({ value, scores }) => [label, String(value), ...cells(scores)])
      ),
    })),
  ];
}

/** What the figures are, in words. */
function preamble({ seeds, budget, dataset, splits, missing }: AblationResults): string[] {
  const images = splits.map(({ split, images }) => `${split} (${images})`).join(", ");
  const trained =
    `Every network was trained for ${budget.steps} steps, with batches of ${budget.batch}`;
  const over = seeds.length === 1
    ? `${trained}, with the seed ${seeds[0]}.`
    : `${trained}, once with each of the seeds ${seeds.join(", ")}: means over seeds ± their ` +
      "standard deviation.";
  return [
    `mIoU in percent on ${dataset}, by split, with the number of images: ${images}. ${over} In ` +
    "parentheses, the difference to a table's first row, seed by seed.",
    ...(missing.figures === 0
      ? []
      : [`${missing.figures} of ${missing.of} figures are not measured yet.`]),
  ];
}

/** The report as Markdown, with its charts as files in `charts`. */
export function renderMarkdown(
  results: AblationResults,
  charts: ReadonlyMap<string, AblationChart>,
): string {
  const escape = (text: string) => text.replace(/[\\|<>&*_`[\]]/g, "\\$&").replace(/\s+/g, " ");
  const row = (columns: readonly string[]) => `| ${columns.map(escape).join(" | ")} |`;
  const blocks = textTables(results).map(({ id, title, note, columns, rows }) => {
    const chart = charts.get(id);
    return [
      `## ${escape(title)}`,
      ...(note === "" ? [] : [escape(note)]),
      [row(columns), `|${columns.map(() => " --- |").join("")}`, ...rows.map(row)].join("\n"),
      ...(chart === undefined ? [] : [`![${escape(title)}](charts/${id}.svg)`]),
    ].join("\n\n");
  });
  return ["# Ablation", ...preamble(results).map(escape), ...blocks].join("\n\n") + "\n";
}

/** The report as one page that needs nothing else. */
export function renderHtml(
  results: AblationResults,
  charts: ReadonlyMap<string, AblationChart>,
): string {
  const sections = textTables(results).map(({ id, title, note, columns, rows }) => {
    const heads = columns.map((column) => `<th scope="col">${escapeHtml(column)}</th>`).join("");
    const body = rows.map(([label, ...others]) =>
      `<tr><th scope="row">${escapeHtml(label!)}</th>${
        others.map((text) => `<td class="number">${escapeHtml(text)}</td>`).join("")
      }</tr>`
    ).join("\n");
    const caption = escapeHtml(title);
    return `<section><h2>${caption}</h2>${note === "" ? "" : `<p>${escapeHtml(note)}</p>`}` +
      `<div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table>` +
      `<caption>mIoU in percent</caption><thead><tr>${heads}</tr></thead>` +
      `<tbody>${body}</tbody></table></div>` +
      `<figure class="chart">${charts.get(id)?.svg ?? ""}</figure></section>`;
  });
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Ablation on ${escapeHtml(results.dataset)}</title>
<style>${reportStyle}</style>
</head>
<body>
<header><h1>Ablation on ${escapeHtml(results.dataset)}</h1>
${preamble(results).map((text) => `<p>${escapeHtml(text)}</p>`).join("\n")}
</header>
<main>
${sections.join("\n")}
</main>
</body>
</html>
`;
}

/**
 * Writes `results.json`, `report.md`, `report.html` and `charts/*.svg`.
 *
 * @param folder Where to.
 * @param results What was found.
 * @returns The path of the Markdown.
 * @throws {OutputError} If something can't be written.
 */
export async function writeAblationReport(
  folder: string,
  results: AblationResults,
): Promise<string> {
  const charts = await ablationCharts(results);
  try {
    mkdirSync(join(folder, "charts"), { recursive: true });
  } catch (cause) {
    throw writeError(folder, cause);
  }
  writeTextAtomically(join(folder, "results.json"), JSON.stringify(results, null, 2) + "\n");
  for (const chart of charts.values()) {
    writeTextAtomically(join(folder, "charts", `${chart.id}.svg`), standaloneChart(chart));
  }
  writeTextAtomically(join(folder, "report.html"), renderHtml(results, charts));
  const path = join(folder, "report.md");
  writeTextAtomically(path, renderMarkdown(results, charts));
  return path;
}
