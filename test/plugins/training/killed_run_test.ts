import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Rng } from "../../../lib/rng.ts";
import { readMetrics } from "../../../plugins/training/metrics_log.ts";
import { trainOvsnet } from "../../../plugins/training/ovsnet.ts";
import { tinyOvsnet } from "./tiny_runs.ts";

const command = new URL("../../../plugins/commands/main.ts", import.meta.url).pathname;

/** One life of a run. */
interface Life {
  /** Exit code; null where a signal ended it. */
  readonly code: number | null;
  /** Lines of progress that it wrote. */
  readonly lines: number;
  /** All that it wrote. */
  readonly text: string;
}

/**
 * Starts `ovs train` and sends a signal.
 *
 * @param after Lines of progress to wait for; Infinity lets it live.
 * @param delay Milliseconds to wait then; with `after` 0, the first line ends the wait.
 */
async function live(
  args: string[],
  signal: Deno.Signal,
  after: number,
  delay: number,
): Promise<Life> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", command, "train", ...args],
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let text = "";
  let timer: ReturnType<typeof setTimeout> | undefined;
  const count = () => text.match(/^ovsnet \d+\//gm)?.length ?? 0;
  const kill = () => {
    try {
      child.kill(signal);
    } catch {
      // It has ended by itself; its exit code tells.
    }
  };
  const aim = () => {
    if (after === 0 && count() > 0) kill();
    if (count() >= after) timer ??= setTimeout(kill, delay);
  };
  const listen = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      text += decoder.decode(chunk, { stream: true });
      aim();
    }
  };
  aim();
  const [status] = await Promise.all([child.status, listen(child.stdout), listen(child.stderr)]);
  clearTimeout(timer);
  return { code: status.signal === null ? status.code : null, lines: count(), text };
}

Deno.test("a run that is killed at 20 random moments ends with the weights of an undisturbed one", async () => {
  const root = mkdtempSync(join(tmpdir(), "ovs-killed-"));
  try {
    const changes = {
      schedule: [{ kind: "cosine" as const, steps: 200, peak: 1e-3, warmup: 5 }],
      checkpoint: { every: 2 },
      log: { every: 1 },
    };
    const whole = await tinyOvsnet(root, { ...changes, out: join(root, "whole") });
    const { checkpoint } = await trainOvsnet(whole);
    const config = join(root, "run.json");
    writeFileSync(config, JSON.stringify({ ...whole, out: join(root, "killed") }));
    const rng = new Rng(20);
    let kills = 0;
    for (; kills < 20; kills++) {
      // Sometimes before the first step, mostly in the midst of a few.
      const after = rng.integer(5);
      const delay = after === 0 ? rng.integer(1200) : rng.integer(25);
      const life = await live([config, "--resume"], "SIGKILL", after, delay);
      assert.equal(life.code, null, `finished before kill ${kills}: ${life.text}`);
    }
    const last = await live([config, "--resume"], "SIGKILL", Infinity, 0);
    assert.equal(last.code, 0, last.text);
    assert.ok(last.lines < 200, "it went on, and did not start anew");
    assert.deepEqual(
      readFileSync(checkpoint.replace("/whole/", "/killed/")),
      readFileSync(checkpoint),
    );
    const losses = (name: string) =>
      readMetrics(join(root, name, "metrics.jsonl")).map(({ step, loss }) => [step, loss]);
    assert.deepEqual(losses("killed"), losses("whole"));
  } finally {
    rmSync(root, { recursive: true });
  }
});

Deno.test("SIGTERM saves the step under way, and says how to go on", async () => {
  const root = mkdtempSync(join(tmpdir(), "ovs-killed-"));
  try {
    const whole = await tinyOvsnet(root, {
      schedule: [{ kind: "cosine", steps: 5000, peak: 1e-3 }],
    });
    const config = join(root, "run.json");
    writeFileSync(config, JSON.stringify(whole));
    const { code, text } = await live([config], "SIGTERM", 2, 3);
    assert.equal(code, 143, text);
    const step = Number(/stopped after step (\d+); go on with --resume/.exec(text)?.[1]);
    assert.ok(step >= 2 && step < 5000, text);
    assert.match(text, new RegExp(`checkpoint-0*${step}\\.safetensors`));
    // Without --resume the checkpoint is in the way.
    const again = await live([config], "SIGKILL", Infinity, 0);
    assert.equal(again.code, 2);
    assert.match(again.text, /has a checkpoint of step \d+; resume that run \(--resume\)/);
  } finally {
    rmSync(root, { recursive: true });
  }
});
