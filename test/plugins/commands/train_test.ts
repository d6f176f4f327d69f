import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatDuration } from "../../../plugins/commands/train.ts";
import { tinyOvsnet } from "../training/tiny_runs.ts";

async function ovs(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const command = new URL("../../../plugins/commands/main.ts", import.meta.url).pathname;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", command, "train", ...args],
  }).output();
  return { code, out: new TextDecoder().decode(stdout), err: new TextDecoder().decode(stderr) };
}

Deno.test("ovs train: help and schema", async () => {
  const help = await ovs("--help");
  assert.equal(help.code, 0);
  assert.match(help.out, /^Usage: ovs train CONFIG \[FLAGS\]/);
  for (const line of help.out.split("\n")) assert.ok(line.length <= 80, line);
  const schema = JSON.parse((await ovs("--schema")).out);
  assert.equal(schema.oneOf.length, 4);
});

Deno.test("ovs train: a config becomes a run's folder, in plain lines where there is no terminal", async () => {
  const root = mkdtempSync(join(tmpdir(), "ovs-train-"));
  try {
    const path = join(root, "run.json");
    const refused = async (fault: RegExp, ...args: string[]) => {
      const { code, err, out } = await ovs(path, ...args);
      assert.equal(code, 2, out + err);
      assert.match(err, fault);
      assert.equal(err.trim().split("\n").length, 1, err);
    };
    await refused(/run\.json: no such file/);
    writeFileSync(path, "{");
    await refused(/run\.json: is no valid JSON/);
    const config = await tinyOvsnet(root, { validation: { every: 2, size: 1 } });
    writeFileSync(path, JSON.stringify({ ...config, steps: 3 }));
    await refused(/run\.json: there is no field steps/);
    writeFileSync(path, JSON.stringify(config));
    await refused(/--kernels "gpu" is unknown; it must be cpu, webgpu or auto/, "--kernels", "gpu");

    const out = join(root, "elsewhere");
    const run = await ovs(path, "--out", out);
    assert.equal(run.code, 0, run.err);
    assert.match(run.err, /^ovsnet 4\/4 · loss [\d.]+ · [\d.]+ samples\/s · 0 s left$/m);
    assert.match(run.out, /^done: 4 steps; the models are in .*elsewhere\/models$/m);
    assert.deepEqual(readdirSync(out).sort(), [
      "checkpoint-000004.safetensors",
      "config.json",
      "metrics.jsonl",
      "models",
      "plot.svg",
    ]);
    assert.deepEqual(readdirSync(join(out, "models")).sort(), [
      "image_encoder.onnx",
      "mask_decoder.onnx",
      "ovsnet.json",
      "text_encoder.onnx",
      "tokenizer.json",
    ]);
    // Finished already: there is nothing to do but the models.
    const again = await ovs(path, "--out", out, "--resume");
    assert.match(again.out, /^done: 4 steps/m);
  } finally {
    rmSync(root, { recursive: true });
  }
});

Deno.test("durations, as people say them", () => {
  const cases: [number, string][] = [
    [0.4, "0 s"],
    [89, "89 s"],
    [120, "2 min"],
    [5399, "1 h 30 min"],
    [7500, "2 h 05 min"],
  ];
  for (const [seconds, text] of cases) assert.equal(formatDuration(seconds), text);
});
