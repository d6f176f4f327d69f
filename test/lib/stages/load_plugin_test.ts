import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RegistryError } from "../../../lib/errors.ts";
import { loadPlugin } from "../../../lib/stages/load_plugin.ts";
import { Registry } from "../../../lib/stages/registry.ts";

const plugin = (name: string) =>
  `{ role: "fuser", name: "${name}", description: "d", needs: ["pooled"], gives: ["fused"], ` +
  `options: {}, create: () => ({ run: ({ pooled }) => ({ fused: pooled.embeddings }) }) }`;

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "ovstage plugin #1 %41 "));
  try {
    await body(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

Deno.test("a module brings one stage or several, by path or by URL", () =>
  inFolder(async (folder) => {
    const registry = new Registry();
    const file = join(folder, "one.js");
    writeFileSync(file, `export default ${plugin("one")};`);
    assert.deepEqual((await loadPlugin(file, registry)).map(({ name }) => name), ["one"]);
    const source = `export default [${plugin("two")}, ${plugin("three")}];`;
    await loadPlugin(`data:text/javascript,${encodeURIComponent(source)}`, registry);
    assert.deepEqual(registry.names("fuser"), ["one", "two", "three"]);
  }));

Deno.test("a module that was compiled to CommonJS brings its default export", () =>
  inFolder(async (folder) => {
    const registry = new Registry();
    const file = join(folder, "compiled.cjs");
    const mark = 'Object.defineProperty(exports, "__esModule", { value: true });';
    writeFileSync(file, `"use strict";\n${mark}\nexports.default = ${plugin("compiled")};`);
    await loadPlugin(file, registry);
    const plain = join(folder, "plain.cjs");
    writeFileSync(plain, `module.exports = [${plugin("plain")}];`);
    await loadPlugin(plain, registry);
    assert.deepEqual(registry.names("fuser"), ["compiled", "plain"]);
  }));

Deno.test("a path is taken from the working folder", async () => {
  const registry = new Registry();
  await loadPlugin("examples/plugins/median_fuser.ts", registry);
  assert.deepEqual(registry.names("fuser"), ["median"]);
});

Deno.test("what can't be loaded names the plugin and the cause, and adds nothing", () =>
  inFolder(async (folder) => {
    const cases: [string, string | null, RegExp][] = [
      ["missing.js", null, /missing\.js: no such file$/],
      [
        "inner.js",
        'import "./elsewhere.js"; export default 1;',
        /inner\.js can't be loaded: .*elsewhere/,
      ],
      ["syntax.js", "export default {", /syntax\.js can't be loaded: /],
      ["throws.js", 'throw new Error("at once");', /throws\.js can't be loaded: at once/],
      [
        "node20.js",
        // What Node 20 says of a .ts file.
        `throw Object.assign(new Error('Unknown file extension ".ts" for /a/fuser.ts'), ` +
        `{ code: "ERR_UNKNOWN_FILE_EXTENSION" });`,
        /node20\.js can't be loaded: Unknown .*fuser\.ts; this Node takes no TypeScript: compile it to JavaScript, or run it with Deno$/,
      ],
      ["nothing.js", "export const a = 1;", /nothing\.js: no default export/],
      ["empty.js", "export default [];", /empty\.js: no default export/],
      ["number.js", "export default 7;", /number\.js: the default export is no plugin/],
      ["half.js", 'export default { role: "fuser" };', /half\.js: the default export is no plugin/],
      [
        "taken.js",
        `export default ${plugin("taken")};`,
        /taken\.js: fuser "taken" is registered already/,
      ],
      [
        "twice.js",
        `export default [${plugin("new")}, ${plugin("taken")}];`,
        /twice\.js: fuser "taken" is registered already; give the second one another name/,
      ],
      [
        "colour.js",
        `export default ${
          plugin("new").replace("options: {}", 'options: { a: { type: "colour" } }')
        };`,
        /colour\.js: fuser "new": option "a" has type "colour"; it must be one of number, integer, boolean, string, strings$/,
      ],
    ];
    const registry = new Registry();
    const source = `export default ${plugin("taken")};`;
    await loadPlugin(`data:text/javascript,${encodeURIComponent(source)}`, registry);
    for (const [name, text, message] of cases) {
      const file = join(folder, name);
      if (text !== null) writeFileSync(file, text);
      await assert.rejects(
        loadPlugin(file, registry),
        (error: unknown) => {
          assert.ok(error instanceof RegistryError);
          assert.match(error.message, message);
          assert.ok(!error.message.includes("\n"));
          return true;
        },
      );
      assert.deepEqual(registry.names("fuser"), ["taken"], name);
    }
  }));
