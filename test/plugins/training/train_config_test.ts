import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { InputError } from "../../../lib/errors.ts";
import {
  parseTrainConfig,
  readTrainConfig,
  totalSteps,
  type TrainConfigInput,
  trainJsonSchema,
} from "../../../plugins/training/train_config.ts";
import { scheduleOf } from "../../../plugins/training/trainer.ts";

const common = {
  out: "runs/x",
  seed: 1,
  batch: 16,
  schedule: [{ kind: "cosine" as const, steps: 10, peak: 1e-3 }],
};
const clip: TrainConfigInput = { ...common, stage: "clip" };
const ovsnet: TrainConfigInput = { ...common, stage: "ovsnet", data: { kind: "emoji-scenes" } };

function faultOf(document: unknown): string {
  try {
    readTrainConfig(document, "run.json");
  } catch (error) {
    assert.ok(error instanceof InputError);
    return error.message;
  }
  assert.fail(`took ${JSON.stringify(document)}`);
}

Deno.test("configs: every fault names the field, its value and what would be right", () => {
  const cases: [unknown, RegExp][] = [
    [5, /the document is 5; it must be an object of stage "clip", or .* "ovsnet"/],
    [{}, /stage is missing; it must be one of "clip", "clip-text", "clip-image", "ovsnet"/],
    [
      { ...clip, stage: "clpi" },
      /stage is "clpi"; it must be one of "clip", "clip-text", "clip-image", "ovsnet"/,
    ],
    [{ ...clip, sed: 1 }, /there is no field sed; did you mean "seed"\?/],
    [{ ...clip, seed: -1 }, /seed is -1; it must be a whole number at least 0/],
    [{ ...clip, schedule: [] }, /schedule is \[\]; it must be a list of at least 1/],
    [{ ...clip, schedule: [{ kind: "cosin" }] }, /schedule\[0\]\.kind is "cosin"; .*"cosine"/],
    [
      { ...clip, schedule: [{ kind: "cosine", steps: 5, peak: 1, warmup: 6 }] },
      /schedule\[0\]\.warmup is 6; it must be at most its steps, 5/,
    ],
    [
      { ...clip, schedule: [{ kind: "cosine", steps: 5, peak: 1, final: 2 }] },
      /schedule\[0\]\.final is 2; it must be at most its peak, 1/,
    ],
    [{ ...clip, optimizer: { betas: [0.9, 2] } }, /optimizer\.betas\[1\] is 2; .*below 1/],
    [
      { ...clip, network: { text: { widht: 3 } } },
      /there is no field network\.text\.widht; did you mean "width"\?/,
    ],
    [{ ...clip, network: { text: { width: 30 } } }, /network\.text\.width is 30; .*heads, 4/],
    [{ ...clip, microBatches: 3 }, /microBatches is 3; it must divide batch, 16/],
    [{ ...clip, data: { kind: "emoji-mosaics", captionLength: 99 } }, /captionLength is 99/],
    [{ ...ovsnet, data: { kind: "folder" } }, /data\.path is missing.*data\.classes is missing/],
    [
      { ...ovsnet, data: { kind: "folder", path: "a", classes: 3 } },
      /data\.classes is 3; .*string/,
    ],
    [{ ...ovsnet, data: { kind: "emoji-scenes", size: 100 } }, /data\.size is 100; .*of 16/],
    [{ ...ovsnet, network: { numQueries: 3 } }, /network\.numQueries is 3; .*maxSegments, 12/],
    [{ ...ovsnet, fuser: { kind: "gfa", omega: 2 } }, /fuser\.omega is 2; .*below 1/],
    [{ ...ovsnet, kernels: "gpu" }, /kernels is "gpu"; it must be one of cpu, webgpu, auto/],
    [{ ...ovsnet, loss: { gamma: 0 } }, /loss\.gamma is 0; it must be a finite number above 0/],
  ];
  for (const [document, message] of cases) {
    const fault = faultOf(document);
    assert.match(fault, message);
    assert.match(fault, /^run\.json: /);
  }
  assert.throws(
    () => parseTrainConfig("{", "run.json"),
    (error: unknown) => error instanceof InputError && /run\.json: is no valid/.test(error.message),
  );
});

Deno.test("configs: what is read reads as itself again", () => {
  for (const document of [clip, ovsnet]) {
    const config = readTrainConfig(document, "run.json");
    assert.deepEqual(readTrainConfig(JSON.parse(JSON.stringify(config)), "again"), config);
  }
});

Deno.test("recipes: they are whole, and their schedules are those that were chosen", () => {
  const folder = new URL("../../../models/recipes/", import.meta.url);
  const stages = ["clip.json", "clip_image.json", "clip_text.json", "ovsnet.json"];
  assert.deepEqual(readdirSync(folder).sort(), ["ablation.json", ...stages]);
  const read = (name: string) =>
    parseTrainConfig(readFileSync(new URL(name, folder), "utf8"), name);
  assert.equal(totalSteps(read("clip.json")), 8000);
  assert.equal(totalSteps(read("clip_text.json")), 1500);
  assert.equal(totalSteps(read("clip_image.json")), 8000);
  const ovsnet = read("ovsnet.json");
  assert.equal(totalSteps(ovsnet), 8000);
  const rate = scheduleOf(ovsnet.schedule);
  assert.equal(rate(199), 8e-4);
  assert.ok(Math.abs(rate(7999) - 8e-6) < 1e-12);
});

/** Every field, as docs/training.md calls it. */
function fieldsOf(schema: Record<string, unknown>, path = ""): string[] {
  const branches = (schema["oneOf"] ?? schema["anyOf"] ?? []) as Record<string, unknown>[];
  const properties = Object.entries(
    (schema["properties"] ?? {}) as Record<string, Record<string, unknown>>,
  );
  return [
    ...branches.flatMap((branch) => fieldsOf(branch, path)),
    ...(schema["items"] ? fieldsOf(schema["items"] as Record<string, unknown>, `${path}[]`) : []),
    ...properties.flatMap(([name, property]) => {
      const field = path === "" ? name : `${path}.${name}`;
      const inner = fieldsOf(property, field);
      return inner.length > 0 ? inner : [field];
    }),
  ];
}

Deno.test("configs: docs/training.md names every field", () => {
  const text = readFileSync(new URL("../../../docs/training.md", import.meta.url), "utf8");
  const fields = [...new Set(fieldsOf(trainJsonSchema()))];
  assert.ok(fields.length > 60, `${fields.length} fields`);
  const missing = fields.filter((field) => !text.includes(`\`${field}\``));
  assert.deepEqual(missing, []);
});
