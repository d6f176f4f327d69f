import assert from "node:assert/strict";
import fc from "fast-check";
import {
  ablationCharts,
  standaloneChart,
} from "../../../../plugins/evaluation/ablation/ablation_charts.ts";
import {
  formatScore,
  renderHtml,
  renderMarkdown,
} from "../../../../plugins/evaluation/ablation/ablation_report.ts";
import {
  type AblationResults,
  type SplitScores,
  spreadOf,
} from "../../../../plugins/evaluation/ablation/ablation_results.ts";

const percents = fc.double({ min: 0, max: 100, noNaN: true });
const splits = ["seen", "near", "far", "seen-held-out", "near-held-out", "far-held-out"];

/** A score of what seeds found. */
function score(values: readonly (number | null)[], difference: readonly number[] = []) {
  const there = values.filter((value) => value !== null);
  return { values, over: spreadOf(there), difference: spreadOf(difference) };
}

/** Results of a table of two rows and a sweep of two lines. */
function results(of: (row: number, split: number, seed: number) => number | null): AblationResults {
  const scores = (row: number): SplitScores =>
    Object.fromEntries(
      splits.map((split, s) => [split, score([0, 1, 2].map((seed) => of(row, s, seed)))]),
    );
  const points = (row: number) =>
    [1, 3, 10, 30].map((value, i) => ({
      variant: "pc",
      measurement: "gfa",
      value,
      scores: scores(row + i),
    }));
  return {
    format: "ovstage ablation 1",
    version: "0",
    seeds: [1, 2, 3],
    budget: { steps: 100, batch: 8 },
    dataset: "emoji-scenes",
    splits: splits.map((split) => ({ split, images: 50, fingerprint: "0" })),
    missing: { figures: 0, of: 1 },
    tables: [{
      title: "The parts",
      note: "with a note",
      rows: ["baseline", '+ <b>"GFA"</b> | both'].map((label, r) => ({
        label,
        variant: "pc",
        measurement: "gfa",
        scores: scores(r),
      })),
    }],
    sweeps: [{
      title: "λ of GFA",
      note: "",
      parameter: "lambda",
      lines: ["fused queries, without PC", "fused queries, with PC"].map((label, l) => ({
        label,
        points: points(10 * l),
      })),
    }],
  };
}

/** As three seeds might have it. */
const example = results((row, split, seed) => 60 - 8 * split + row + 0.7 * ((seed * 7 + row) % 3));

Deno.test("spread: mean and sample deviation, of one value none", () => {
  assert.deepEqual(spreadOf([]), null);
  assert.deepEqual(spreadOf([4]), { mean: 4, spread: null });
  const { mean, spread } = spreadOf([2, 4, 4, 4, 5, 5, 7, 9])!;
  assert.equal(mean, 5);
  assert.ok(Math.abs(spread! - Math.sqrt(32 / 7)) < 1e-12);
  fc.assert(fc.property(
    fc.array(percents, { minLength: 2, maxLength: 6 }),
    fc.double({ min: -5, max: 5, noNaN: true }),
    (values, by) => {
      const plain = spreadOf(values)!;
      const moved = spreadOf(values.map((value) => value + by))!;
      assert.ok(plain.mean >= Math.min(...values) - 1e-9);
      assert.ok(plain.mean <= Math.max(...values) + 1e-9);
      assert.ok(Math.abs(moved.mean - plain.mean - by) < 1e-9);
      assert.ok(Math.abs(moved.spread! - plain.spread!) < 1e-6);
      const pairs = values.flatMap((a) => values.map((b) => (a - b) ** 2));
      const n = values.length;
      const variance = pairs.reduce((a, b) => a + b, 0) / (2 * n * (n - 1));
      assert.ok(Math.abs(plain.spread! ** 2 - variance) < 1e-6 * (1 + variance));
    },
  ));
});

Deno.test("scores as text: what is missing is said, what is negative has a minus", () => {
  assert.equal(formatScore(score([null, null])), "–");
  assert.equal(formatScore(score([41.26, null])), "41.3 (1 of 2 seeds)");
  assert.equal(formatScore(score([40, 42])), "41.0 ± 1.4");
  assert.equal(formatScore(score([40, 42], [1, 3])), "41.0 ± 1.4 (+2.0 ± 1.4)");
  assert.equal(formatScore(score([40], [-1.25])), "40.0 (−1.3)");
  assert.equal(formatScore(score([40, null], [-1.25])), "40.0 (−1.3; 1 of 2 seeds)");
});

Deno.test("report: the tables say what the results say", () => {
  fc.assert(
    fc.property(
      fc.infiniteStream(fc.option(percents, { freq: 5 })),
      (stream) => {
        const drawn = new Map<string, number | null>();
        const found = results((...key) => {
          const name = key.join();
          if (!drawn.has(name)) drawn.set(name, stream.next().value!);
          return drawn.get(name)!;
        });
        const rows = renderMarkdown(found, new Map()).split("\n")
          .filter((line) => line.startsWith("| "))
          .map((line) => line.slice(2, -2).split(" | "));
        const inBody = rows.filter(([label]) => label !== "" && label !== "---")
          .map((row) => row.slice(-6));
        const all = [
          ...found.tables[0]!.rows.map(({ scores }) => scores),
          ...found.sweeps[0]!.lines.flatMap(({ points }) => points.map(({ scores }) => scores)),
        ];
        assert.equal(inBody.length, all.length);
        all.forEach((scores, i) => {
          splits.forEach((split, s) => {
            const { over } = scores[split]!;
            const text = inBody[i]![s]!;
            if (over === null) return assert.equal(text, "–");
            const [mean, spread] = text.split(" (")[0]!.split(" ± ").map(Number);
            assert.ok(Math.abs(mean! - over.mean) <= 0.05 + 1e-9);
            if (over.spread === null) assert.equal(spread, undefined);
            else assert.ok(Math.abs(spread! - over.spread) <= 0.05 + 1e-9);
          });
        });
      },
    ),
    { numRuns: 20 },
  );
});

Deno.test("report: one page with a chart for every table, and charts as files", async () => {
  const charts = await ablationCharts(example);
  assert.deepEqual([...charts.keys()], ["table-1", "sweep-1"]);
  const html = renderHtml(example, charts);
  assert.equal(html.match(/<svg /g)!.length, 2);
  assert.ok(!html.includes("<b>"));
  assert.ok(!/(src|href)="(?!#)/.test(html), "it needs nothing from outside");
  assert.match(html, /batches of 8, once with each of the seeds 1, 2, 3/);
  for (const chart of charts.values()) {
    for (const split of splits) assert.ok(chart.svg.includes(`>${split}<`), split);
    const alone = standaloneChart(chart);
    assert.ok(!alone.includes("var("));
    assert.match(alone, /^<svg role="img" [^>]*xmlns="http:\/\/www\.w3\.org\/2000\/svg"/);
  }
  const markdown = renderMarkdown(example, charts);
  assert.match(markdown, /!\[The parts\]\(charts\/table-1\.svg\)/);
  assert.match(markdown, /\| \+ \\<b\\>"GFA"\\<\/b\\> \\\| both \|/);

  // Without a figure there is nothing to draw.
  const empty = results(() => null);
  assert.equal((await ablationCharts(empty)).size, 0);
});
