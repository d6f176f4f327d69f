/**
 * What the compiler refuses. Every `@ts-expect-error` fails the type check when the line under it
 * compiles.
 *
 * @module
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { type Pipeline, pipeline, type PipelineResult } from "../../../lib/stages/pipeline.ts";
import type { Device } from "../../../lib/runtime.ts";
import type { Slots } from "../../../lib/stages/slots.ts";
import { defineStage, type Stage } from "../../../lib/stages/stage.ts";

type Encoder = Stage<["image"], ["features", "pyramid"]>;
type Decoder = Stage<["features", "pyramid"], ["maskLogits", "queryEmbeddings"]>;
type Pooler = Stage<["features", "maskLogits"], ["pooled"]>;
type Gfa = Stage<["pooled", "queryEmbeddings"], ["fused"]>;

/** Never called: the compiler is the test. */
export function orders(
  device: Device,
  encoder: Encoder,
  decoder: Decoder,
  pooler: Pooler,
  gfa: Gfa,
): void {
  pipeline(device).pipe(encoder).pipe(decoder).pipe(pooler).pipe(gfa);

  // @ts-expect-error: the decoder needs features, which nobody gives yet
  pipeline(device).pipe(decoder);
  // @ts-expect-error: GFA needs pooled
  pipeline(device).pipe(encoder).pipe(decoder).pipe(gfa);
  // @ts-expect-error: the pooler needs maskLogits, which the decoder gives later
  pipeline(device).pipe(encoder).pipe(pooler).pipe(decoder);
  // @ts-expect-error: this pipeline begins with words alone
  pipeline(device, ["vocabulary"]).pipe(encoder);
}

/** Never called. */
export async function outputs(
  masks: Pipeline<"image", "image" | "features" | "maskLogits", "maskLogits">,
  image: Slots["image"],
): Promise<void> {
  const result: PipelineResult<"maskLogits"> = await masks.run({ image });
  result.outputs.maskLogits.shape.length;
  // @ts-expect-error: features were not asked for
  result.outputs.features;
  (await masks.run({ image }, { outputs: ["features"] })).outputs.features;
  // @ts-expect-error: nobody gives text
  await masks.run({ image }, { outputs: ["text"] });
  // @ts-expect-error: the image is missing
  await masks.run({});
}

/** Never called. */
export function definitions(): void {
  defineStage({
    role: "fuser",
    name: "uses what it does not list",
    needs: ["pooled"],
    gives: ["fused"],
    // @ts-expect-error: queryEmbeddings is not among its needs
    run: ({ queryEmbeddings }) => ({ fused: queryEmbeddings }),
  });
  defineStage({
    role: "fuser",
    name: "gives less than it lists",
    needs: ["queryEmbeddings"],
    gives: ["fused", "pooled"],
    // @ts-expect-error: pooled is not given
    run: ({ queryEmbeddings }) => ({ fused: queryEmbeddings }),
  });
  defineStage({
    role: "fuser",
    name: "lists a slot that does not exist",
    // @ts-expect-error: no such slot
    needs: ["poold"],
    gives: ["fused"],
    run: () => assert.fail(),
  });
  const incomplete: Gfa = {
    role: "fuser",
    name: "lists fewer needs at run time than its type says",
    // @ts-expect-error: queryEmbeddings is missing
    needs: ["pooled"],
    gives: ["fused"],
    run: ({ queryEmbeddings }) => ({ fused: queryEmbeddings }),
  };
  assert.ok(incomplete);
}

const root = fileURLToPath(new URL("../../../", import.meta.url));

function check(body: string): { ok: boolean; output: string } {
  const folder = mkdtempSync(join(tmpdir(), "ovstage-types-"));
  try {
    const file = join(folder, "order.ts");
    const lib = new URL("../../../lib/stages/", import.meta.url).href;
    writeFileSync(
      file,
      `import { pipeline } from "${lib}pipeline.ts";
import type { Stage } from "${lib}stage.ts";
declare const device: import("${new URL("../runtime.ts", lib).href}").Device;
declare const encoder: Stage<["image"], ["features"]>;
declare const pooler: Stage<["features", "maskLogits"], ["pooled"]>;
${body}
`,
    );
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ["check", "--config", join(root, "deno.json"), file],
      { encoding: "utf8", env: { ...process.env, NO_COLOR: "1" } },
    );
    return { ok: status === 0, output: stdout + stderr };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

Deno.test("a right order compiles", () => {
  const { ok, output } = check("pipeline(device).pipe(encoder);");
  assert.ok(ok, output);
});

Deno.test("a wrong order does not compile, and the message names the slot", () => {
  const { ok, output } = check("pipeline(device).pipe(encoder).pipe(pooler);");
  assert.ok(!ok);
  assert.match(output, /no stage upstream gives the slot/);
  assert.match(output, /MissingSlot<"maskLogits">/);
});
