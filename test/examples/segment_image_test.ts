import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { renderSceneOnDemand } from "../../plugins/datasets/emoji_scenes/scene.ts";
import { firstUnseenSeed } from "../../plugins/datasets/emoji_scenes/seeds.ts";
import { loadSplits } from "../../plugins/datasets/emoji_scenes/splits.ts";
import { SpriteStore } from "../../plugins/datasets/emoji_scenes/sprites.ts";

Deno.test("examples/segment_image.ts names what is in a picture", async () => {
  const dir = mkdtempSync(join(tmpdir(), "ovs-example-"));
  try {
    const { width, height, rgb, segments } = await renderSceneOnDemand(
      { seed: firstUnseenSeed, categories: loadSplits().seen },
      SpriteStore.onDemand(),
    );
    const path = join(dir, "scene.png");
    await sharp(rgb, { raw: { width, height, channels: 3 } }).png().toFile(path);
    const names = [...new Set(segments.map(({ category }) => category))];
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "examples/segment_image.ts", path, names.join(", ")],
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    const lines = new TextDecoder().decode(stdout).trim().split("\n");
    for (const line of lines) {
      assert.match(line, /^.+: score [\d.]+, \d+ pixels in \[\d+, \d+, \d+, \d+\]$/);
      assert.ok(names.includes(line.split(":")[0]!), line);
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
});
