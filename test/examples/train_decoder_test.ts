import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readMetrics } from "@ovstage/ovstage/training";

Deno.test("examples/train_decoder.ts makes a folder, trains on it, and segments with what it trained", async () => {
  const root = mkdtempSync(join(tmpdir(), "ovs-example-"));
  try {
    const folder = join(root, "shapes");
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "examples/train_decoder.ts", folder, "6"],
    }).output();
    const text = new TextDecoder().decode(stdout);
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    assert.match(text, /^step 6: loss [\d.]+, 0 s left$/m);
    assert.match(text, /^(wall|red circle|blue square|yellow heart): \d+ pixels$/m);
    assert.equal(readdirSync(join(folder, "images", "train")).length, 60);
    const { validation } = readMetrics(join(folder, "run", "metrics.jsonl")).at(-1)!;
    assert.ok(validation!["mIoU"]! >= 0);
  } finally {
    rmSync(root, { recursive: true });
  }
});
