/**
 * The charts of a report, each with its numbers as a table.
 *
 * @module
 */
import { type ChartSpec, drawChart } from "./charts.ts";
import { type EvaluationResult, mainFigure, mainFigures, type Percent } from "./result.ts";
import { similarityHistogram } from "./similarity.ts";

/** A chart and what stands in it. */
export interface ReportChart {
  /** Its heading. */
  readonly heading: string;
  /** What is to be seen, in a sentence or two. */
  readonly text: string;
  /** An `svg` element. */
  readonly svg: string;
  /** Headings of the numbers. */
  readonly columns: readonly string[];
  /** The numbers. */
  readonly rows: readonly (readonly (string | number | null)[])[];
}

const width = 620;
const round = (value: Percent) => value === null ? null : Math.round(10 * value) / 10;

async function chart(
  id: string,
  { heading, text, columns, rows }: Omit<ReportChart, "svg">,
  spec: object,
): Promise<ReportChart> {
  const svg = await drawChart({ width, height: 240, ...spec } as ChartSpec, {
    id,
    title: heading,
    description: `${text} The numbers follow as a table.`,
  });
  return { heading, text, columns, rows, svg };
}

/** Numbers of classes by what lies from `from` to `to`. */
const bars = (step: number, x: object) => ({
  mark: { type: "bar", binSpacing: 1 },
  encoding: {
    x: { field: "from", bin: { binned: true, step }, type: "quantitative", ...x },
    x2: { field: "to" },
    y: { field: "classes", type: "quantitative", axis: { tickMinStep: 1, format: "d" } },
  },
});

/** How many classes reach which score. */
async function scoresOfClasses({ task, classes }: EvaluationResult): Promise<ReportChart> {
  const { perClass } = mainFigures[task];
  const scores = classes.flatMap(({ score }) => score === null ? [] : [score]);
  const bins = Array.from({ length: 20 }, (_, i) => ({ from: 5 * i, to: 5 * i + 5, classes: 0 }));
  for (const score of scores) bins[Math.min(19, Math.floor(score / 5))]!.classes++;
  const zero = scores.filter((score) => score === 0).length;
  return await chart(
    "scores",
    {
      heading: `${perClass} of the classes`,
      text: `${scores.length} classes by their ${perClass}; ${zero} of them have none at all.`,
      columns: [`${perClass} from (%)`, "to", "classes"],
      rows: bins.map(({ from, to, classes }) => [from, to, classes]),
    },
    {
      data: { values: bins },
      ...bars(5, { title: `${perClass} (%)`, scale: { domain: [0, 100] } }),
    },
  );
}

/** How similar the classes are to the training vocabulary. */
async function similarities({ classes, similarity }: EvaluationResult): Promise<ReportChart> {
  const all = classes.flatMap(({ nearest }) => nearest === null ? [] : [nearest.similarity]);
  const bins = similarityHistogram(all);
  // From 0.5 on, and from further left where there are classes.
  const first = bins.findIndex(({ count }) => count > 0);
  const shown = bins.slice(Math.max(0, Math.min(30, first - 1)))
    .map(({ from, to, count }) => ({ from, to, classes: count }));
  return await chart(
    "similarity",
    {
      heading: "Similarity to the training vocabulary",
      text: "Cosine of each class to the nearest training category, by the pipeline's own text " +
        `encoder; ${similarity!.toFixed(3)} on average over ${all.length} classes.`,
      columns: ["cosine from", "to", "classes"],
      rows: shown.map(({ from, to, classes }) => [from, to, classes]),
    },
    {
      data: { values: shown },
      ...bars(0.05, { title: "cosine to the nearest training category" }),
    },
  );
}

/** Whether classes far from the training vocabulary score less. */
async function scoreBySimilarity({ task, classes }: EvaluationResult): Promise<ReportChart> {
  const { perClass } = mainFigures[task];
  const points = classes.flatMap(({ name, score, nearest }) =>
    score === null || nearest === null
      ? []
      : [{ name, score, similarity: nearest.similarity, nearest: nearest.name }]
  );
  return await chart(
    "score-by-similarity",
    {
      heading: `${perClass} by similarity`,
      text: `Each of ${points.length} classes by its similarity to the training vocabulary and ` +
        `its ${perClass}. The table of classes has the numbers too.`,
      columns: ["class", "nearest training category", "cosine", `${perClass} (%)`],
      rows: points.map((point) => [
        point.name,
        point.nearest,
        Math.round(1000 * point.similarity) / 1000,
        round(point.score),
      ]),
    },
    {
      data: { values: points.map(({ score, similarity }) => ({ score, similarity })) },
      mark: "point",
      encoding: {
        x: {
          field: "similarity",
          type: "quantitative",
          title: "cosine to the nearest training category",
          scale: { zero: false },
        },
        y: {
          field: "score",
          type: "quantitative",
          title: `${perClass} (%)`,
          scale: { domain: [0, 100] },
        },
      },
    },
  );
}

/** The score as irrelevant names are added. */
async function distractorCurve(result: EvaluationResult): Promise<ReportChart> {
  const { whole } = mainFigures[result.task];
  const points = result.distractors!.map((level) => ({
    count: level.count,
    score: mainFigure(result.task, level),
  }));
  const [first, last] = [points[0]!, points.at(-1)!];
  return await chart(
    "distractors",
    {
      heading: "Irrelevant names in the vocabulary",
      text: `${whole} over the classes in the truth, as names that no image shows are added: ` +
        `${first.score?.toFixed(1) ?? "–"} with none, ${last.score?.toFixed(1) ?? "–"} with ` +
        `${last.count}.`,
      columns: ["irrelevant names", `${whole} (%)`],
      rows: points.map(({ count, score }) => [count, round(score)]),
    },
    {
      data: { values: points.filter(({ score }) => score !== null) },
      mark: { type: "line", point: true },
      encoding: {
        x: { field: "count", type: "quantitative", title: "irrelevant names" },
        y: {
          field: "score",
          type: "quantitative",
          title: `${whole} (%)`,
          scale: { zero: true },
        },
      },
    },
  );
}

/** The charts that a result has numbers for. */
export async function reportCharts(result: EvaluationResult): Promise<ReportChart[]> {
  const charts: ReportChart[] = [];
  if (result.distractors !== null && result.distractors.length > 1) {
    charts.push(await distractorCurve(result));
  }
  if (result.similarity !== null) {
    charts.push(await similarities(result), await scoreBySimilarity(result));
  }
  charts.push(await scoresOfClasses(result));
  return charts;
}
