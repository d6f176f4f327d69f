/**
 * Programs that stand in the documentation.
 *
 * @module
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { root } from "../../scripts/setup.ts";

/** A fenced block of a page. */
export interface Snippet {
  /** The heading above it. */
  readonly heading: string;
  /** What stands after the fence: `ts ignore`. */
  readonly info: string;
  /** What it holds. */
  readonly text: string;
}

/** The fenced blocks of a page of `docs/`, in order. */
export async function readSnippets(page: string): Promise<Snippet[]> {
  const markdown = await readFile(join(root, "docs", page), "utf8");
  const snippets: Snippet[] = [];
  let heading = "";
  for (const [, title, info, text] of markdown.matchAll(/^#+ (.+)$|^```(.+)\n([\s\S]*?)^```$/gm)) {
    if (title !== undefined) heading = title;
    else snippets.push({ heading, info: info!, text: text! });
  }
  return snippets;
}
