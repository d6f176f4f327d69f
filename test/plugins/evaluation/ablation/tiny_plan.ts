/**
 * An ablation that is over in seconds: networks of a few channels on a folder of small pictures.
 *
 * @module
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { builtinRegistry } from "../../../../plugins/builtin.ts";
import {
  type AblationPlan,
  readAblationPlan,
} from "../../../../plugins/evaluation/ablation/ablation_plan.ts";
import { Registry } from "../../../../lib/stages/registry.ts";
import { sha256 } from "../../../../plugins/evaluation/pipeline_identity.ts";
import { writeTinyModels } from "../../commands/tiny_models.ts";
import { tinyClasses, writeTinyFolder } from "../../training/tiny_runs.ts";
import { filesOf } from "../tiny_run.ts";

/** A JSON document that may be changed. */
export type Json = Record<string, unknown>;

/** Writes towers, pictures and a recipe; the recipe. */
export async function writeTinyWorld(root: string): Promise<Json> {
  mkdirSync(root, { recursive: true });
  writeTinyModels(join(root, "towers"));
  await writeTinyFolder(join(root, "data"), ["images", "annotations"], { train: 3, val: 2 });
  const recipe = {
    stage: "ovsnet",
    out: join(root, "recipe-run"),
    seed: 7,
    batch: 1,
    schedule: [{ kind: "cosine", steps: 9, peak: 1e-3 }],
    encoder: join(root, "towers"),
    data: {
      kind: "folder",
      path: join(root, "data"),
      classes: tinyClasses,
      size: 32,
      maxSegments: 4,
    },
    network: { numQueries: 6, width: 16, heads: 2, pixelDepth: 1, depth: 1, maskWidth: 8 },
    log: { every: 1 },
    checkpoint: { every: 1 },
    threads: 1,
  };
  writeFileSync(join(root, "recipe.json"), JSON.stringify(recipe));
  return recipe;
}

/** A plan with everything in it; each call gives a new document. */
export function tinyPlan(root: string, out = join(root, "out")): Json {
  return {
    out,
    seeds: [1, 2],
    recipe: join(root, "recipe.json"),
    changes: { schedule: [{ kind: "cosine", steps: 3, peak: 1e-3 }] },
    variants: [
      { name: "baseline", loss: { proxyQuery: 0, proxyClip: 0 } },
      { name: "pc" },
      { name: "cross", fuser: { kind: "cross_attention", heads: 2 } },
    ],
    fusions: [
      { name: "query", fuser: "query" },
      // What leans on CLIP differs from image to image even in networks that know nothing.
      { name: "gfa", fuser: "gfa", options: { output: "clip" } },
      {
        name: "geometric",
        fuser: "query",
        classifier: "geometric_ensemble",
        classifierOptions: { alpha: 0.9 },
      },
      { name: "cross", fuser: "cross_attention" },
    ],
    evaluation: {
      dataset: "folder",
      options: { path: join(root, "data"), classes: [...tinyClasses] },
      splits: ["val", "train"],
    },
    tables: [{
      title: "Parts | and <more>",
      rows: [
        { label: "baseline", variant: "baseline", fusion: "query" },
        { label: "+ GFA", variant: "baseline", fusion: "gfa" },
        { label: "+ PC", variant: "pc", fusion: "query" },
        { label: "geometric", variant: "baseline", fusion: "geometric" },
        { label: "cross", variant: "cross", fusion: "cross" },
      ],
    }],
    sweeps: [
      {
        title: "ω",
        parameter: "omega",
        values: [0.5, 0.9],
        lines: [{ label: "GFA", variant: "baseline", fusion: "gfa" }],
      },
      {
        title: "γ",
        parameter: "gamma",
        values: [2, 4],
        lines: [{ label: "PC", variant: "pc", fusion: "query" }],
      },
    ],
  };
}

/** {@linkcode tinyPlan}, checked. */
export function readTinyPlan(root: string, out?: string, changes: Json = {}): AblationPlan {
  return readAblationPlan({ ...tinyPlan(root, out), ...changes }, "plan.json");
}

/** The digests of all files of an ablation but those that say how long things took. */
export function lastingFiles(folder: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(filesOf(folder))
      .filter(([name]) => !/(pace\.json|metrics\.jsonl|plot\.svg|config\.json)$/.test(name))
      .map(([name, bytes]) => [name, sha256(bytes)]),
  );
}

/** The stages of this package, which count how often each role runs. */
export function countingRegistry(runs: Record<string, number>): Registry {
  return new Registry(
    builtinRegistry().plugins().map((plugin) => ({
      ...plugin,
      async create(options, environment) {
        const body = await plugin.create(options, environment);
        return {
          run(inputs, context) {
            runs[plugin.role] = (runs[plugin.role] ?? 0) + 1;
            return body.run(inputs, context);
          },
          dispose: () => body.dispose?.(),
        };
      },
    })),
  );
}
