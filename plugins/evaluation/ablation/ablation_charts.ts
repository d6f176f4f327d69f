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
const legend = { title: null, labelColor: ink, orient: "bottom", columns: 2, labelLimit: 400 };
const score = { title: "mIoU (%)", type: "quantitative", scale: { zero: false } };

/** What is marked in a panel. */
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

/** A panel for each split, with a scale of its own: the splits lie far apart. */
function panels(
  { splits }: AblationResults,
  points: readonly Point[],
  panel: (column: number) => object,
): ChartSpec {
  return {
    columns,
    concat: splits.map(({ split }, i) => ({
      title: { text: split, color: ink, fontSize: 13, fontWeight: "normal" },
      data: { values: points.filter((point) => point.split === split) },
      ...panel(i % columns),
    })),
    resolve: { scale: { color: "shared" } },
  } as unknown as ChartSpec;
}

async function tableChart(results: AblationResults, t: number): Promise<AblationChart | null> {
  const { title, rows } = results.tables[t]!;
  const points = rows.flatMap(({ scores, label }) => pointsOf(scores, label));
  if (points.length === 0) return null;
  const id = `table-${t + 1}`;
  const labels = rows.map(({ label }) => label);
  const spec = panels(results, points, (column) => {
    const y = {
      field: "label",
      type: "nominal",
      scale: { domain: labels },
      title: null,
      // Vega has no canvas to measure text with, and takes it for too wide: no limit.
      axis: { labelLimit: 0, labels: column === 0 },
    };
    return {
      width: 200,
      height: { step: 22 },
      layer: [
        {
          mark: { type: "rule", color: ink },
          encoding: { y, x: { field: "low", ...score }, x2: { field: "high" } },
        },
        { mark: "point", encoding: { y, x: { field: "mean", ...score } } },
      ],
    };
  });
  const svg = await drawChart(spec, {
    id,
    title,
    description: "Mean mIoU over seeds by split, with the standard deviation as a bar. The " +
      "numbers are in the table.",
  });
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
    scale: isWide ? { type: "log", nice: false } : { zero: false },
    axis: { values, format: "~g" },
  };
  const color = {
    field: "label",
    type: "nominal",
    scale: { domain: lines.map(({ label }) => label), range: colours },
    legend,
  };
  const spec = panels(results, points, (column) => {
    const y = { ...score, title: column === 0 ? score.title : null };
    return {
      width: 190,
      height: 150,
      layer: [
        {
          mark: { type: "rule" },
          encoding: { x, y: { field: "low", ...y }, y2: { field: "high" }, color },
        },
        {
          mark: { type: "line", point: { size: 36 } },
          encoding: { x, y: { field: "mean", ...y }, color },
        },
      ],
    };
  });
  const svg = await drawChart(spec, {
    id,
    title,
    description: `Mean mIoU over seeds as ${parameter} varies, by split, with the standard ` +
      "deviation as a bar. The numbers are in the table.",
  });
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
