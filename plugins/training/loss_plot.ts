/**
 * The course of a run as a picture.
 *
 * @module
 */
import { scaleLinear, scaleLog } from "d3-scale";
import type { MetricsRecord } from "./metrics_log.ts";

/** A curve. */
interface Series {
  readonly name: string;
  readonly points: readonly (readonly [step: number, value: number])[];
  readonly colour: string;
}

/** One diagram of the picture. */
interface Panel {
  readonly title: string;
  readonly series: readonly Series[];
}

// Okabe and Ito's colours, which the colour-blind tell apart.
const colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const width = 720;
const height = 240;
const margin = { left: 64, right: 16, top: 36, bottom: 36 };

const escape = (text: string) =>
  text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]!);
const round = (value: number) => Number(value.toFixed(1));

/** The panels of a run: the loss, in training and validation, then one per validation figure. */
function panelsOf(records: readonly MetricsRecord[]): Panel[] {
  const training = records.flatMap(({ step, loss }) =>
    typeof loss === "number" ? [[step, loss] as const] : []
  );
  const figures = new Map<string, (readonly [number, number])[]>();
  for (const { step, validation } of records) {
    for (const [name, value] of Object.entries(validation ?? {})) {
      if (!Number.isFinite(value)) continue;
      figures.set(name, [...figures.get(name) ?? [], [step, value]]);
    }
  }
  const loss: Series[] = [{ name: "training", points: training, colour: colours[0]! }];
  const ofValidation = figures.get("loss");
  if (ofValidation !== undefined) {
    loss.push({ name: "validation", points: ofValidation, colour: colours[1]! });
  }
  figures.delete("loss");
  return [
    { title: "loss", series: loss },
    ...[...figures].map(([name, points], i) => ({
      title: `validation: ${name}`,
      series: [{ name, points, colour: colours[(i + 2) % colours.length]! }],
    })),
  ];
}

function drawPanel({ title, series }: Panel, top: number, lastStep: number): string {
  const values = series.flatMap(({ points }) => points.map(([, value]) => value));
  const x = scaleLinear([0, Math.max(1, lastStep)], [margin.left, width - margin.right]);
  const range = [top + height - margin.bottom, top + margin.top] as const;
  const [least, most] = [Math.min(...values), Math.max(...values)];
  // Losses fall over decades; everything else is read off best as it is.
  const isLog = title === "loss" && least > 0 && most > 10 * least;
  const pad = most > least ? 0 : Math.abs(most) * 0.1 || 1;
  const y = isLog
    ? scaleLog([least, most], range).nice()
    : scaleLinear([least - pad, most + pad], range).nice();
  const ticks = isLog
    ? y.ticks(4).filter((tick) => /^[125]/.test(tick.toExponential()))
    : y.ticks(5);
  const text = (px: number, py: number, anchor: string, words: string) =>
    `<text x="${round(px)}" y="${round(py)}" text-anchor="${anchor}">${escape(words)}</text>`;
  const right = width - margin.right;
  const bottom = range[0];
  return [
    `<text x="${margin.left}" y="${top + 20}" font-weight="bold">${escape(title)}${
      isLog ? " (logarithmic)" : ""
    }</text>`,
    ...ticks.map((tick) =>
      `<path d="M${margin.left} ${round(y(tick))}H${right}" stroke="#ddd"/>` +
      text(margin.left - 6, y(tick) + 4, "end", String(Number(tick.toPrecision(6))))
    ),
    ...x.ticks(8).filter(Number.isInteger).map((tick) =>
      `<path d="M${round(x(tick))} ${bottom}v5" stroke="#333"/>` +
      text(x(tick), bottom + 18, "middle", tick.toLocaleString("en"))
    ),
    `<path d="M${margin.left} ${bottom}H${right}" stroke="#333"/>`,
    ...series.map(({ points, colour }) => {
      const path = points.map(([step, value], i) =>
        `${i === 0 ? "M" : "L"}${round(x(step))} ${round(y(value))}`
      ).join("");
      const dots = points.length > 40
        ? ""
        : points.map(([step, value]) =>
          `<circle cx="${round(x(step))}" cy="${round(y(value))}" r="2.5" fill="${colour}"/>`
        ).join("");
      return `<path d="${path}" fill="none" stroke="${colour}" stroke-width="1.5"/>${dots}`;
    }),
    ...(series.length < 2 ? [] : series.map(({ name, colour }, i) => {
      const at = right - 90 * (series.length - i);
      return `<path d="M${at} ${top + 16}h16" stroke="${colour}" stroke-width="2"/>` +
        text(at + 20, top + 20, "start", name);
    })),
  ].join("\n");
}

/**
 * Draws the loss and the validation figures of a run over its steps.
 *
 * @param records Lines of the run's metrics file.
 * @param title What the run is called.
 * @returns An SVG document; one with a note alone where there is nothing to draw yet.
 */
export function lossPlot(records: readonly MetricsRecord[], title: string): string {
  const panels = panelsOf(records).filter(({ series }) =>
    series.some(({ points }) => points.length > 0)
  );
  const lastStep = Math.max(0, ...records.map(({ step }) => step));
  const total = 36 + Math.max(1, panels.length) * height;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${total}" width="${width}" ` +
    `height="${total}" font-family="sans-serif" font-size="12" fill="#222">`,
    `<title>${escape(title)}</title>`,
    `<rect width="${width}" height="${total}" fill="#fff"/>`,
    `<text x="${width / 2}" y="24" text-anchor="middle" font-size="15">${escape(title)} over ${
      lastStep.toLocaleString("en")
    } steps</text>`,
    ...panels.map((panel, i) => drawPanel(panel, 36 + i * height, lastStep)),
    ...(panels.length === 0
      ? [`<text x="${width / 2}" y="140" text-anchor="middle">nothing is logged yet</text>`]
      : []),
    "</svg>",
    "",
  ].join("\n");
}
