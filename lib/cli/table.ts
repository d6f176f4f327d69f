/**
 * Tables on a terminal.
 *
 * @module
 */
import type { Rgb } from "../image/palette.ts";
import { printable, shorten, textWidth } from "./text.ts";

/** A column of {@linkcode formatTable}. */
export interface Column {
  /** Its heading. */
  readonly title: string;
  /** Numbers go right; left where left out. */
  readonly align?: "left" | "right";
}

/** The longest cell; more would break the line on most terminals. */
const MAX_CELL = 48;

/**
 * Lays out a table. Cells are made harmless (no control characters) and shortened to 48 cells of
 * the terminal; wide characters are counted as two.
 *
 * @param columns Headings and alignment.
 * @param rows One text per column.
 * @param prefixes One text per row that stands before it, as a swatch; empty for none.
 * @returns Lines of text, with a newline at the end.
 */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  prefixes: readonly string[] = [],
): string {
  const cells = rows.map((row) => row.map((cell) => shorten(printable(cell), MAX_CELL)));
  const widths = columns.map(({ title }, c) =>
    Math.max(textWidth(title), ...cells.map((row) => textWidth(row[c] ?? "")))
  );
  const line = (row: readonly string[]) =>
    columns.map(({ align }, c) => {
      const cell = row[c] ?? "";
      const space = " ".repeat(widths[c]! - textWidth(cell));
      return align === "right" ? space + cell : cell + space;
    }).join("  ").trimEnd();
  const indent = prefixes.length > 0 ? "   " : "";
  return [
    indent + line(columns.map(({ title }) => title)),
    ...cells.map((row, r) => (prefixes[r] ?? indent) + line(row)),
  ].join("\n") + "\n";
}

/**
 * A block of colour for a terminal, three cells with the space after it.
 *
 * @param colour The colour.
 * @param isTerminal Elsewhere the block is blank: escape codes don't belong into files.
 */
export function swatch([red, green, blue]: Rgb, isTerminal: boolean): string {
  return isTerminal ? `\x1b[48;2;${red};${green};${blue}m  \x1b[0m ` : "   ";
}
