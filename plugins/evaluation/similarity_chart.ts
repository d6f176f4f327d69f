/**
 * The histogram of similarities as a picture.
 *
 * @module
 */
import { type ChartSpec, drawChart } from "./charts.ts";
import type { VocabularySimilarity } from "./similarity.ts";

/**
 * Draws a histogram: how many test categories lie at which similarity to their nearest training
 * category, and the average. Empty bins at either end are left out.
 *
 * @param similarity What was measured.
 * @param title What stands above.
 * @returns An SVG document that any viewer shows.
 */
export async function similarityChart(
  { histogram, average }: Pick<VocabularySimilarity, "histogram" | "average">,
  title: string,
): Promise<string> {
  const first = histogram.findIndex(({ count }) => count > 0);
  const last = histogram.findLastIndex(({ count }) => count > 0);
  const values = histogram.slice(first, last + 1);
  const label = `average ${average.toFixed(3)}`;
  const spec = {
    title: { text: title, anchor: "start" },
    width: 560,
    height: 240,
    padding: 10,
    layer: [
      {
        data: { values },
        mark: { type: "bar", binSpacing: 1 },
        encoding: {
          x: {
            field: "from",
            type: "quantitative",
            bin: { binned: true, step: 0.05 },
            title: "cosine to the nearest training category",
          },
          x2: { field: "to" },
          y: { field: "count", type: "quantitative", title: "test categories" },
        },
      },
      {
        data: { values: [{ average, label }] },
        encoding: { x: { field: "average", type: "quantitative" } },
        layer: [
          { mark: { type: "rule", color: "#d55e00", strokeWidth: 2 } },
          {
            mark: { type: "text", align: "right", baseline: "bottom", dx: 30, color: "#a14600" },
            encoding: { y: { value: -3 }, text: { field: "label" } },
          },
        ],
      },
    ],
  };
  const description = "Histogram of cosine similarities in bins of 0.05: " +
    values.filter(({ count }) => count > 0).map(({ from, to, count }) =>
      `${count} from ${from} to ${to}`
    ).join(", ") + `; ${label}.`;
  const svg = await drawChart(spec as ChartSpec, { id: "similarity", title, description });
  // Outside of a page nobody sets the colours, and not every viewer knows variables.
  return svg.replace(/var\([^,()]+, (#\w+)\)/g, "$1")
    .replace("<svg ", '<svg style="background:#fff" ') + "\n";
}
