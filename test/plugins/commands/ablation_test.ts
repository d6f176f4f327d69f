import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { OvsError } from "../../../lib/errors.ts";
import { ablation } from "../../../plugins/commands/ablation.ts";
import {
  type Json,
  lastingFiles,
  tinyPlan,
  writeTinyWorld,
} from "../evaluation/ablation/tiny_plan.ts";

const root = mkdtempSync(join(tmpdir(), "ovs-ablation-"));
globalThis.addEventListener("unload", () => rmSync(root, { recursive: true, force: true }));
const command = new URL("../../../plugins/commands/ablation.ts", import.meta.url).pathname;
const file = join(root, "plan.json");
await writeTinyWorld(root);
writeFileSync(file, JSON.stringify(tinyPlan(root)));

/** Starts the command, and sends a signal once the network of a name has begun. */
async function live(out: string, signal: Deno.Signal | null, began: string) {
  const child = new Deno.Command(process.execPath, {
    args: [
      ...["run", "-A", "--quiet", command, "--plan", file, "--out", out, "--seeds", "3"],
    ],
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const texts = Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  const poll = setInterval(() => {
    if (signal === null || !existsSync(join(out, began))) return;
    clearInterval(poll);
    child.kill(signal);
  }, 2);
  const [status, [stdout, stderr]] = await Promise.all([child.status, texts]);
  clearInterval(poll);
  return { code: status.code, signal: status.signal, stdout, stderr };
}

/** Runs the command here; what it prints. */
async function run(...args: string[]): Promise<string> {
  const { write } = process.stdout;
  let text = "";
  process.stdout.write = ((chunk: string, done: () => void) => {
    text += chunk;
    done();
    return true;
  }) as typeof write;
  try {
    await ablation(["--plan", file, ...args]);
  } finally {
    process.stdout.write = write;
  }
  return text;
}

Deno.test("deno task ablation: killed and asked to stop, it ends with the same bytes", async () => {
  const [whole, killed] = [join(root, "whole"), join(root, "killed")];
  const untouched = await live(whole, null, "");
  assert.equal(untouched.code, 0, untouched.stderr);
  assert.match(untouched.stdout, /report: .*whole\/report\.md\n$/);

  const first = await live(killed, "SIGKILL", "pc-3");
  assert.equal(first.signal, "SIGKILL", first.stderr);
  const second = await live(killed, "SIGTERM", "cross-3");
  assert.deepEqual([second.code, second.signal], [143, null], second.stderr);
  assert.match(second.stderr, /stopped; call it again and it goes on: .*killed\n$/);
  assert.ok(!existsSync(join(killed, "results.json")));
  const last = await live(killed, null, "");
  assert.equal(last.code, 0, last.stderr);

  assert.deepEqual(lastingFiles(killed), lastingFiles(whole));
  // Seed 4 is not trained: what is said of the phases is true of each alone.
  const evaluated = await run("--out", whole, "--seeds", "3,4", "--only", "evaluate");
  assert.match(evaluated, /^not trained yet, and left out: baseline-4, .*\nall networks that are /);
  assert.match(evaluated, /^all networks that are trained are measured: .*whole\n$/m);
  const trained = await run("--out", whole, "--seeds", "3", "--only", "train");
  assert.match(trained, /^all networks are trained: .*whole\n$/m);
  await assert.rejects(
    run("--out", whole, "--seeds", "4", "--only", "evaluate"),
    (error) =>
      error instanceof OvsError && /whole: no network is trained yet.*train/.test(error.message),
  );

  const results = readFileSync(join(whole, "results.json"), "utf8");
  assert.equal(await run("--out", whole, "--seeds", "3", "--only", "report", "--json"), results);

  const outlook = await run("--out", whole, "--seeds", "3,4", "--dry-run");
  assert.match(outlook, /^pc-gamma-4-3 +3 +3 +2 +2$/m);
  assert.match(outlook, /^pc-gamma-4-4 +0 +3 +0 +2$/m);
  assert.match(outlook, /^training left: \d+ s$/m);
  assert.match(outlook, /by the speed measured last: .* s a step, .* ms an image and/);
  assert.ok(!existsSync(join(whole, "pc-4")), "a dry run leaves nothing");
});

Deno.test("deno task ablation: a wrong command line is refused by name", async () => {
  const cases: [string[], RegExp][] = [
    [["--only", "trian"], /--only "trian" is unknown; did you mean "train"\?/],
    [["--seeds", "1,x"], /--seeds x: it must be a whole number from 0 to 4294967295/],
    [["--seeds", "1,1"], /--seeds 1,1: has a seed twice/],
    [["--limit", "0"], /--limit 0: it must be a whole number from 1/],
  ];
  for (const [args, message] of cases) await assert.rejects(run(...args), message);
  await assert.rejects(ablation(["--plan", join(root, "none.json")]), /none\.json: no such file/);
});

Deno.test("deno task ablation: a plan that says nonsense is refused by name", async () => {
  const base = tinyPlan(root);
  const first = (field: string, change: Json) => {
    const [head, ...rest] = base[field] as Json[];
    return { ...base, [field]: [{ ...head, ...change }, ...rest] };
  };
  const row = { label: "x", variant: "baseline", fusion: "query" };
  const cases: [unknown, RegExp][] = [
    ["{", /wrong\.json: is no valid JSON/],
    [{ ...base, sweep: [] }, /there is no field sweep; did you mean "sweeps"/],
    [{ ...base, seeds: [1, 1] }, /seeds: has 1 twice/],
    [{ ...base, seeds: [] }, /seeds is \[\]; it must be a list of at least 1/],
    [{ ...base, tables: [], sweeps: [] }, /tables and sweeps are both empty/],
    [first("variants", { name: "a/b" }), /variants\[0\]\.name is "a\/b"; it must be of letters/],
    [first("fusions", { name: "a, b" }), /fusions\[0\]\.name is "a, b"; it must be of letters/],
    [first("variants", { name: "pc" }), /variants: has "pc" twice/],
    [first("variants", { loss: { gama: 1 } }), /no field variants\[0\]\.loss\.gama; did you mean/],
    [
      first("variants", { loss: { gamma: 0 } }),
      /variants\[0\]\.loss\.gamma is 0; it must be a finite number above 0/,
    ],
    [
      { ...base, variants: [...base["variants"] as Json[], { name: "idle" }] },
      /variants\[3\], "idle", is in no table and no sweep/,
    ],
    [first("tables", { rows: [{ ...row, variant: "basline" }] }), /did you mean "baseline"\?/],
    [first("tables", { rows: [row, row] }), /tables\[0\]\.rows: has the label "x" twice/],
    [first("sweeps", { values: [0.5, 0.1] }), /sweeps\[0\]\.values is 0\.5, 0\.1; values must asc/],
    [{ ...base, changes: { seed: 4 } }, /changes\.seed can't be changed for all networks/],
    [
      { ...base, changes: { batch: 0 } },
      /recipe\.json with the changes of .*wrong\.json: batch is 0; it must be a whole number at/,
    ],
    [{ ...base, recipe: join(root, "no.json") }, /no\.json: no such file/],
    // What the registry and the data set know.
    [first("fusions", { fuser: "quary" }), /fusions\[0\], "query": .*quary.*did you mean "query"/],
    [
      first("fusions", { options: { omega: 1 } }),
      /fusions\[0\], "query": .*omega/,
    ],
    [first("fusions", { options: 3 }), /fusions\[0\]\.options is 3; it must be an object/],
    [
      first("fusions", { options: { omega: null } }),
      /fusions\[0\]\.options\.omega is null; it must be a finite number, or true or false/,
    ],
    [first("sweeps", { parameter: "omga" }), /no number "omga"; did you mean "omega"\?/],
    [first("sweeps", { values: [0.5, 1.5] }), /sweeps\[0\]\.lines\[0\]: .*omega is 1\.5/],
    [
      first("sweeps", { parameter: "gamma", values: [1, 2] }),
      /sweeps\[0\]\.lines\[0\]: "baseline" has no Proxy Calibration; gamma changes nothing/,
    ],
    [
      first("tables", {
        rows: [...(base["tables"] as { rows: Json[] }[])[0]!.rows, {
          ...row,
          fusion: "cross",
        }],
      }),
      /tables\[0\]\.rows\[5\]: the fuser "cross_attention" is learned, and the variant "baseline" /,
    ],
    [
      {
        ...base,
        variants: [...base["variants"] as Json[], { name: "pc-gamma-4", loss: { proxyClip: 2 } }],
        tables: [{
          title: "y",
          rows: [{ ...row, variant: "cross", fusion: "cross" }, {
            label: "y",
            variant: "pc-gamma-4",
            fusion: "geometric",
          }],
        }],
      },
      /sweeps\[1\]\.lines\[0\]: would train another network by the name "pc-gamma-4"; rename/,
    ],
    [first("variants", { loss: {} }), /variants\[1\], "pc", is the same network as "baseline"/],
    [
      { ...base, evaluation: { ...base["evaluation"] as Json, splits: ["vall"] } },
      /evaluation: folder: there is no split "vall"; did you mean "val"/,
    ],
    [
      { ...base, evaluation: { ...base["evaluation"] as Json, dataset: "emoji-scene" } },
      /evaluation: there is no data set "emoji-scene"; did you mean "emoji-scenes"/,
    ],
  ];
  const wrong = join(root, "wrong.json");
  for (const [document, message] of cases) {
    writeFileSync(wrong, typeof document === "string" ? document : JSON.stringify(document));
    await assert.rejects(ablation(["--plan", wrong, "--dry-run"]), (error) => {
      assert.ok(error instanceof OvsError, `${message}: ${(error as Error).stack}`);
      assert.match(error.message, message);
      return true;
    });
  }
});
