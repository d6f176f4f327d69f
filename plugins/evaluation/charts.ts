/**
 * Charts as SVG text, drawn by Vega-Lite without a screen.
 *
 * @module
 */
import { parse, View } from "vega";
import { compile, type TopLevelSpec } from "vega-lite";

/** A Vega-Lite specification without what all charts have in common. */
export type ChartSpec = Omit<TopLevelSpec, "$schema" | "config" | "background">;

// Colours are the page's variables, so that a chart follows its light and dark.
const [ink, line, accent] = [
  "var(--ink, #1f2328)",
  "var(--line, #d0d7de)",
  "var(--accent, #0969da)",
];

const config = {
  aria: false,
  font: "system-ui, sans-serif",
  axis: {
    labelColor: ink,
    titleColor: ink,
    gridColor: line,
    domainColor: line,
    tickColor: line,
    labelFontSize: 12,
    titleFontSize: 12,
    titleFontWeight: "normal" as const,
    titlePadding: 8,
  },
  view: { stroke: null },
  bar: { color: accent },
  line: { color: accent, strokeWidth: 2 },
  point: { color: accent, filled: true, size: 60, opacity: 0.85 },
};

/** Escapes text for HTML, SVG and their attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}

/** What a chart says to those who don't see it. */
export interface ChartWords {
  /** Its name, unique on its page: letters, digits and hyphens. */
  readonly id: string;
  /** What it shows, in a few words. */
  readonly title: string;
  /** What is to be seen in it. */
  readonly description: string;
}

/**
 * Draws a chart.
 *
 * @param spec What to draw.
 * @param words What it says to a screen reader.
 * @returns An `svg` element. It needs nothing from outside; on a page, the CSS variables `--ink`,
 * `--line` and `--accent` are its colours.
 */
export async function drawChart(spec: ChartSpec, words: ChartWords): Promise<string> {
  const { id, title, description } = words;
  const full = { ...spec, config, background: "transparent" } as TopLevelSpec;
  const view = new View(parse(compile(full).spec), { renderer: "none" });
  const svg = await view.toSVG();
  view.finalize();
  return svg
    // A screen reader hears title and description, not a thousand marks.
    .replace(/ (role|aria-roledescription|aria-hidden|aria-label)="[^"]*"/g, "")
    .replace(
      /^<svg ([^>]*)>/,
      (_, attributes: string) =>
        `<svg role="img" aria-labelledby="${id}-title ${id}-desc" ${attributes}>` +
        `<title id="${id}-title">${escapeHtml(title)}</title>` +
        `<desc id="${id}-desc">${escapeHtml(description)}</desc>`,
    );
}
