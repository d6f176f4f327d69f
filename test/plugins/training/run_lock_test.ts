import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pid } from "node:process";
import { OutputError } from "../../../lib/errors.ts";
import { trainOvsnet } from "../../../plugins/training/ovsnet.ts";
import { lockRun } from "../../../plugins/training/run_lock.ts";
import { tinyOvsnet } from "./tiny_runs.ts";

async function inFolder(body: (folder: string) => Promise<void> | void): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "ovs-lock-"));
  try {
    await body(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const refused = (folder: string, process: number) => (error: unknown) => {
  assert(error instanceof OutputError, String(error));
  assert(error.message.startsWith(`${folder}: process ${process} works there`), error.message);
  return true;
};

Deno.test("a folder is locked for one run, and free after it", () =>
  inFolder((folder) => {
    for (let run = 0; run < 2; run++) {
      using _lock = lockRun(folder);
      assert.throws(() => lockRun(folder), refused(folder, pid));
      assert.deepEqual(readdirSync(folder), ["running.json"]);
    }
    assert.deepEqual(readdirSync(folder), []);
  }));

Deno.test("another process is named while it lives, and its lock is nothing once it was killed", () =>
  inFolder(async (folder) => {
    const module = new URL("../../../plugins/training/run_lock.ts", import.meta.url).href;
    const program = `
      const { lockRun } = await import(${JSON.stringify(module)});
      lockRun(${JSON.stringify(folder)});
      console.log("locked");
      setInterval(() => {}, 1000);`;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["eval", program],
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.getReader();
    await reader.read();
    assert.throws(() => lockRun(folder), refused(folder, child.pid));
    child.kill("SIGKILL");
    await child.status;
    await reader.cancel();
    assert.deepEqual(readdirSync(folder), ["running.json"]);
    lockRun(folder)[Symbol.dispose]();
    assert.deepEqual(readdirSync(folder), []);
  }));

Deno.test("a lock that is cut short, or of a process that began at another time, is nothing", () =>
  inFolder((folder) => {
    const path = join(folder, "running.json");
    const texts = ["", '{"pid": 1', '{"pid": -1}', "[]"];
    // Where the system tells when processes began, a number that was given out again is seen.
    if (Deno.build.os === "linux") texts.push(JSON.stringify({ pid, began: "1" }));
    for (const text of texts) {
      writeFileSync(path, text);
      using _lock = lockRun(folder);
      assert.equal(JSON.parse(readFileSync(path, "utf8")).pid, pid);
    }
  }));

Deno.test("two runs of training at once in one folder: the second is refused, the first goes on", () =>
  inFolder(async (folder) => {
    const config = await tinyOvsnet(folder, {
      schedule: [{ kind: "cosine", steps: 4, peak: 1e-3 }],
    });
    let second: unknown;
    const { finished } = await trainOvsnet(config, {
      async onProgress({ step }) {
        if (step !== 1) return;
        second = await trainOvsnet(config, { resume: true }).catch((error) => error);
      },
    });
    assert(finished);
    while (second === undefined) await new Promise((resolve) => setTimeout(resolve, 20));
    refused(config.out, pid)(second);
    assert(!readdirSync(config.out).includes("running.json"));
  }));
