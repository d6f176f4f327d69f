/**
 * The charts of an ablation.
 *
 * @module
 */
import { type ChartSpec, drawChart } from "../charts.ts";
import type { AblationResults, SplitScores } from "./ablation_results.ts";

/** A chart. */
export interface AblationChart {
  /** Its file's name without `.svg`, unique. */
  readonly id: string;
  /** What it shows. */
  readonly title: string;
  /** An `svg` element. */
  readonly svg: string;
}

const ink = "var(--ink, #1f2328)";
/** Colours that can be told apart, also by those who see few of them (Okabe and Ito, 2008). */
const colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const columns = 3;
const legend = { labelColor: ink, titleColor: ink, orient: "bottom", columns: 2, labelLimit: 400 };
const header = { labelColor: ink, titleColor: ink, labelFontSize: 13 };
const score = { title: "mIoU (%)", type: "quantitative", scale: { zero: false } };

/** A mark of Vega-Lite in the spec of a chart with one panel for each split. */
interface Point {
  readonly split: string;
  readonly label: string;
  readonly value?: number;
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

function pointsOf(scores: SplitScores, label: string, value?: number): Point[] {
  return Object.entries(scores).flatMap(([split, { over }]) => {
    if (over === null) return [];
    const { mean, spread } = over;
    const by = spread ?? 0;
    const at = value === undefined ? {} : { value };
    return [{ split, label, ...at, mean, low: mean - by, high: mean + by }];
  });
}

/** A panel for each split; its own scale each, for the splits lie far apart. */
function facets(results: AblationResults, values: readonly Point[], inner: object): ChartSpec {
  const splits = results.splits.map(({ split }) => split);
  return {
    data: { values },
    facet: { field: "split", type: "nominal", sort: splits, title: null, header },
    columns,
    spec: inner,
    resolve: { scale: { y: "independent", x: "independent" } },
  } as unknown as ChartSpec;
}

async function tableChart(results: AblationResults, t: number): Promise<AblationChart | null> {
  const { title, rows } = results.tables[t]!;
  const points = rows.flatMap(({ scores, label }) => pointsOf(scores, label));
  if (points.length === 0) return null;
  const id = `table-${t + 1}`;
  const y = {
    field: "label",
    type: "nominal",
    sort: rows.map(({ label }) => label),
    title: null,
    axis: { labelLimit: 260 },
  };
  const svg = await drawChart(
    facets(results, points, {
      width: 200,
      height: { step: 22 },
      layer: [
        {
          mark: { type: "rule", color: ink },
          encoding: { y, x: { field: "low", ...score }, x2: { field: "high" } },
        },
        { mark: "point", encoding: { y, x: { field: "mean", ...score } } },
      ],
    }),
    {
      id,
      title,
      description: "Mean mIoU over seeds by split, with the standard deviation as a bar. The " +
        "numbers are in the table.",
    },
  );
  return { id, title, svg };
}

async function sweepChart(results: AblationResults, s: number): Promise<AblationChart | null> {
  const { title, parameter, lines } = results.sweeps[s]!;
  const points = lines.flatMap(({ label, points }) =>
    points.flatMap(({ value, scores }) => pointsOf(scores, label, value))
  );
  if (points.length === 0) return null;
  const id = `sweep-${s + 1}`;
  const values = lines[0]!.points.map(({ value }) => value);
  // Over more than a decade, steps are factors.
  const isWide = values[0]! > 0 && values.at(-1)! / values[0]! > 15;
  const x = {
    field: "value",
    type: "quantitative",
    title: parameter,
    scale: { type: isWide ? "log" : "linear", zero: false },
    axis: { values, format: "~g" },
  };
  const color = {
    field: "label",
    type: "nominal",
    title: null,
    sort: lines.map(({ label }) => label),
    scale: { range: colours },
    legend,
  };
  const svg = await drawChart(
    facets(results, points, {
      width: 190,
      height: 150,
      layer: [
        {
          mark: { type: "rule" },
          encoding: { x, y: { field: "low", ...score }, y2: { field: "high" }, color },
        },
        {
          mark: { type: "line", point: { size: 36 } },
          encoding: { x, y: { field: "mean", ...score }, color },
        },
      ],
    }),
    {
      id,
      title,
      description: `Mean mIoU over seeds as ${parameter} varies, by split, with the standard ` +
        "deviation as a bar. The numbers are in the table.",
    },
  );
  return { id, title, svg };
}

/** The charts of all tables and sweeps that have figures, by their ids. */
export async function ablationCharts(
  results: AblationResults,
): Promise<ReadonlyMap<string, AblationChart>> {
  const charts: (AblationChart | null)[] = [];
  for (const t of results.tables.keys()) charts.push(await tableChart(results, t));
  for (const s of results.sweeps.keys()) charts.push(await sweepChart(results, s));
  return new Map(charts.flatMap((chart) => chart === null ? [] : [[chart.id, chart]]));
}

/** A chart as a file of its own: what stands alone has no page to take its colours from. */
export function standaloneChart({ svg }: AblationChart): string {
  return svg.replace(/var\(--[a-z]+, (#[0-9a-f]+)\)/g, "$1")
    .replace(/(<desc [^>]*>[^<]*<\/desc>)/, '$1<rect width="100%" height="100%" fill="#ffffff"/>') +
    "\n";
}
