import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  acquireDevice,
  builtinRegistry,
  Image,
  loadPlugin,
  openPipeline,
  parseDocument,
  vocabulary,
} from "../../mod.ts";
import { runProcess } from "../../scripts/process.ts";
import { root } from "../../scripts/setup.ts";
import { readSnippets } from "./snippets.ts";

const snippets = await readSnippets("plugins.md");

Deno.test("the plugins of docs/plugins.md are a system together", async () => {
  const folder = await mkdtemp(join(tmpdir(), "ovs-docs-"));
  try {
    const registry = builtinRegistry();
    for (const [index, { text }] of snippets.entries()) {
      if (!text.includes("export default")) continue;
      const path = join(folder, `plugin${index}.ts`);
      await writeFile(path, text);
      await loadPlugin(path, registry);
    }
    const document = parseDocument(
      snippets.find(({ heading, info }) => heading === "All together" && info === "json")!.text,
    );
    // Red on the left, blue on the right.
    const image = new Image(64, 24);
    for (let at = 0; at < 64 * 24; at++) image.rgb[3 * at + (at % 64 < 32 ? 0 : 2)] = 255;
    await using device = await acquireDevice("cpu");
    await using system = await openPipeline(document, { device, registry });
    using result = await system.run(
      { image, vocabulary: vocabulary(["blue", "green", "red"]) },
      { outputs: ["segmentation"] },
    );
    assert.deepEqual(
      [...await result.outputs.segmentation.labels.read()],
      Array.from({ length: 64 * 24 }, (_, at) => at % 64 < 32 ? 2 : 0),
    );
    await assert.rejects(
      system.run({ image, vocabulary: vocabulary(["dog"]) }),
      /text-encoder "colour": knows no "dog"; it knows red,green,blue/,
    );
  } finally {
    await rm(folder, { recursive: true });
  }
});

Deno.test("a slot of one's own", async () => {
  // `deno test --doc` puts snippets into functions, where no module can be augmented.
  const { text } = snippets.find(({ info }) => info === "ts ignore program")!;
  const folder = await mkdtemp(join(tmpdir(), "ovs-docs-"));
  try {
    const path = join(folder, "slot.ts");
    await writeFile(path, text);
    const { code, output } = await runProcess(
      Deno.execPath(),
      ["run", "-A", "--check", "--config", join(root, "deno.json"), path],
      { cwd: folder, timeout: 600_000, env: { NO_COLOR: "1" } },
    );
    assert.equal(code, 0, output);
    assert.match(output, /^\[ 2, 3 \]$/m);
  } finally {
    await rm(folder, { recursive: true });
  }
});
