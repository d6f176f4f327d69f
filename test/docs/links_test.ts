import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { root } from "../../scripts/setup.ts";

/** Markdown without what stands in it as code. */
function withoutBlocks(markdown: string): string {
  return markdown.replace(/^( *)```[\s\S]*?^\1```$/gm, "");
}

/** The anchors of a page's headings, as GitHub makes them. */
function anchors(markdown: string): Set<string> {
  const found = new Set<string>();
  for (const [, heading] of withoutBlocks(markdown).matchAll(/^#{1,6} +(.+)$/gm)) {
    const slug = heading!.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase()
      .replace(/[^\p{L}\p{N}\p{M} _-]/gu, "").replaceAll(" ", "-");
    let name = slug;
    for (let n = 1; found.has(name); n++) name = `${slug}-${n}`;
    found.add(name);
  }
  return found;
}

/** The targets of links and images; those of other sites left out. */
function targets(markdown: string): string[] {
  const text = withoutBlocks(markdown).replace(/`[^`\n]*`/g, "");
  return [...text.matchAll(/\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|<img[^>]*\ssrc="([^"]+)"/g)]
    .map(([, link, image]) => link ?? image!)
    .filter((target) => !/^[a-z]+:/i.test(target));
}

/** What is wrong with the links of a page. */
async function brokenLinks(page: string): Promise<string[]> {
  const broken: string[] = [];
  for (const target of targets(await readFile(join(root, page), "utf8"))) {
    const [path = "", anchor] = target.split("#");
    const file = path === "" ? page : join(dirname(page), decodeURIComponent(path));
    if (!existsSync(join(root, file))) broken.push(`${page}: ${target}: no such file`);
    else if (
      anchor !== undefined && !anchors(await readFile(join(root, file), "utf8")).has(anchor)
    ) {
      broken.push(`${page}: ${target}: no such heading`);
    }
  }
  return broken;
}

Deno.test("links and images of the documentation lead somewhere", async () => {
  const docs = (await readdir(join(root, "docs"))).filter((name) => name.endsWith(".md"));
  const pages = ["README.md", "models/README.md", "examples/README.md"].filter((page) =>
    existsSync(join(root, page))
  );
  const broken = await Promise.all(
    [...pages, ...docs.map((name) => `docs/${name}`)].map(brokenLinks),
  );
  assert.deepEqual(broken.flat(), []);
});

Deno.test("the anchors of headings are GitHub's", () => {
  const page = "# A `b-c`: d, e\n## Twice\n## Twice\n```sh\n# no heading\n```\n### N_Q × N_Q\n";
  assert.deepEqual([...anchors(page)], ["a-b-c-d-e", "twice", "twice-1", "n_q--n_q"]);
  assert.deepEqual(
    targets("[`x`](a.md#b) ![y](p.png) [z](https://example.org)\n```md\n[q](none.md)\n```"),
    ["a.md#b", "p.png"],
  );
});
