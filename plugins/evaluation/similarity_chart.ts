/**
 * The histogram of similarities as a picture.
 *
 * @module
 */
import type { TopLevelSpec } from "vega-lite";
import type { HistogramBin } from "./similarity.ts";

/**
 * A Vega-Lite chart of a similarity histogram: how many test categories lie at which similarity to
 * their nearest training category. Empty bins at either end are left out.
 *
 * @param histogram Bins in order.
 * @param average The mean similarity; a line marks it.
 * @param title What stands above.
 */
export function similarityChart(
  histogram: readonly HistogramBin[],
  average: number,
  title: string,
): TopLevelSpec {
  const first = histogram.findIndex(({ count }) => count > 0);
  const last = histogram.findLastIndex(({ count }) => count > 0);
  const values = histogram.slice(first, last + 1);
  const label = `average ${average.toFixed(3)}`;
  return {
    title: { text: title, anchor: "start" },
    description: `${title}: histogram of cosine similarities, ${label}`,
    width: 560,
    height: 240,
    layer: [
      {
        data: { values },
        mark: { type: "bar", color: "#0072b2", binSpacing: 1 },
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
            mark: { type: "text", align: "right", baseline: "top", dx: -6, color: "#a14600" },
            encoding: { y: { value: 2 }, text: { field: "label" } },
          },
        ],
      },
    ],
  };
}
