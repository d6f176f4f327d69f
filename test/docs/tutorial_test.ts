import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runProcess } from "../../scripts/process.ts";
import { root } from "../../scripts/setup.ts";
import { runOvs } from "../plugins/commands/run_ovs.ts";
import { readSnippets } from "./snippets.ts";

Deno.test("the files of docs/tutorial.md do what it says", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "ovs-tutorial-"));
  try {
    const names: string[] = [];
    for (const { info, text } of await readSnippets("tutorial.md")) {
      const name = /^(?:ts ignore|json) (\S+)$/.exec(info)?.[1];
      if (name === undefined) continue;
      names.push(name);
      await writeFile(join(folder, name), text);
    }
    const expected = ["first.ts", "second.ts", "agreement.ts", "agreement_test.ts", "mine.json"];
    assert.deepEqual(names, expected);

    const deno = async (command: readonly string[], ...files: readonly string[]) => {
      const paths = files.map((name) => join(folder, name));
      const { code, output } = await runProcess(
        Deno.execPath(),
        [...command, "--config", join(root, "deno.json"), ...paths],
        { cwd: root, timeout: 600_000, env: { NO_COLOR: "1" } },
      );
      assert.equal(code, 0, output);
      return output;
    };
    await t.step("types", async () => {
      await deno(["check"], "first.ts", "second.ts", "agreement_test.ts");
    });
    await t.step("programs", async () => {
      const run = ["run", "-A", "--no-check"];
      assert.match(await deno(run, "first.ts"), /^fuser "gfa": \d+ ms$/m);
      assert.match(await deno(run, "second.ts"), /^query: cow [\d.]+ %/m);
    });
    await t.step("the fuser's laws", async () => {
      const output = await deno(["test", "-A", "--no-check"], "agreement_test.ts");
      assert.match(output, /^holds: fuser "agreement": permutation/m);
      assert.doesNotMatch(output, /left out/);
    });
    await t.step("--plugin and --pipeline", async () => {
      const image = join(root, "docs", "scene.png");
      const args = ["segment", image, "--classes", "cow, foliage", "--plugin", "./agreement.ts"];
      const { code, stderr } = await runOvs(folder, ...args, "--pipeline", "mine.json");
      assert.equal(code, 0, stderr);
      const { classes } = JSON.parse(await readFile(join(folder, "out", "scene.json"), "utf8"));
      assert.deepEqual(classes, ["cow", "foliage"]);
    });
  } finally {
    await rm(folder, { recursive: true });
  }
});
