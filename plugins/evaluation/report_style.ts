/**
 * How a report looks, and how its tables sort.
 *
 * @module
 */

/** CSS: light and dark by the reader's setting, and black on white in print. */
export const reportStyle = `
:root { --ink: #1f2328; --soft: #59636e; --paper: #ffffff; --raised: #f6f8fa; --line: #d0d7de; --accent: #0969da; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9aa4af; --paper: #0d1117; --raised: #161b22; --line: #3d444d; --accent: #58a6ff; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 64rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1, h3, dd { overflow-wrap: anywhere; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .5rem; font-weight: 600; }
p { margin: .25rem 0 1rem; color: var(--soft); max-width: 44rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; margin: 1.5rem 0; }
.tile { padding: .75rem 1rem; border: 1px solid var(--line); border-radius: .5rem; background: var(--raised); }
.tile dt { color: var(--soft); font-size: .85rem; }
.tile dd { margin: 0; font-size: 1.6rem; font-variant-numeric: tabular-nums; }
.tile.main { border-color: var(--accent); }
.tile.main dd { font-weight: 700; }
figure { margin: 0; }
.chart svg { max-width: 100%; height: auto; }
details { margin: .5rem 0; }
summary { cursor: pointer; color: var(--accent); }
.scroll { overflow-x: auto; max-height: 40rem; overflow-y: auto; border: 1px solid var(--line); border-radius: .5rem; }
.scroll:focus-visible, button:focus-visible, summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
caption { text-align: left; padding: .5rem .75rem; color: var(--soft); }
th, td { padding: .35rem .75rem; text-align: left; border-top: 1px solid var(--line); vertical-align: top; }
th[scope=row] { font-weight: 500; }
thead th { position: sticky; top: 0; background: var(--raised); border-top: 0; font-weight: 600; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; text-align: left; }
th button::after { content: " \\2195"; color: var(--soft); }
th[aria-sort=ascending] button::after { content: " \\2191"; color: var(--accent); }
th[aria-sort=descending] button::after { content: " \\2193"; color: var(--accent); }
.pictures { display: grid; grid-template-columns: repeat(3, 1fr); gap: .75rem; }
.pictures img { width: 100%; height: auto; display: block; border-radius: .25rem; }
.pictures figcaption, .score { color: var(--soft); font-size: .85rem; font-weight: 400; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: 0; margin: .5rem 0 0; font-size: .85rem; }
.swatch { display: inline-block; width: .85em; height: .85em; margin-right: .4em; border-radius: .2em; border: 1px solid #0003; print-color-adjust: exact; }
dl div { margin: .25rem 0; }
section > dl:not(.tiles) { font-size: .9rem; }
section > dl:not(.tiles) dt { color: var(--soft); }
section > dl:not(.tiles) dd { margin: 0; font-family: ui-monospace, monospace; font-size: .85em; }
@media (max-width: 36rem) { .pictures { grid-template-columns: 1fr; } }
@media print {
  :root { --ink: #000; --soft: #444; --paper: #fff; --raised: #fff; --line: #999; --accent: #004a9f; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  .scroll { max-height: none; overflow: visible; border: 0; }
  thead { display: table-header-group; }
  thead th { position: static; }
  tr, .image, .chart, .tile { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  details { display: none; }
  th button::after { content: none !important; }
}
`;

/** Sorting: without scripts the tables stay as they were written. What has no value goes last. */
export const reportScript = `
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const [body] = table.tBodies;
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const rows = [...body.rows];
    const isNumber = rows[0]?.cells[column].dataset.value !== undefined;
    const before = head.getAttribute("aria-sort");
    const sign = before === "ascending" || before === null && isNumber ? -1 : 1;
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", sign < 0 ? "descending" : "ascending");
    const value = (row) => {
      const { dataset, textContent } = row.cells[column];
      return isNumber ? dataset.value : textContent;
    };
    rows.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      return sign * (isNumber ? x - y : x.localeCompare(y));
    });
    body.append(...rows);
  }));
}
`;
