/**
 * What defines an ablation: one JSON document, and its schema.
 *
 * @module
 */
import { z } from "zod";
import { InputError } from "../../../lib/errors.ts";
import { knownNames } from "../../../lib/stages/suggest.ts";
import { configErrors } from "../../training/config_errors.ts";

const text = z.string().min(1);
const positive = z.number().gt(0);
const weight = z.number().min(0);
const count = z.int().min(1).max(2 ** 31 - 1);
const optionValue = z.union([z.number(), z.boolean(), text, z.array(text)]);
const options = z.record(z.string(), optionValue).default({});

const variant = z.strictObject({
  name: text.describe("a name for folders: letters, digits, `_`, `-` and `.`"),
  loss: z.strictObject({
    fused: weight.optional().describe("weight of the fused embeddings' class cross-entropy"),
    proxyQuery: weight.optional().describe("weight of L_PQ; 0 leaves it out"),
    proxyClip: weight.optional().describe("weight of L_PC; 0 leaves it out"),
    gamma: positive.optional().describe("γ of Beta(γ, γ)"),
  }).default({}).describe("what differs from the recipe's losses"),
  fuser: z.strictObject({
    kind: z.enum(["self_attention", "cross_attention", "gfa"]).describe(
      "the fuser that is trained with the decoder",
    ),
    depth: count.optional().describe("attention: blocks"),
    heads: count.optional().describe("attention: heads of each block"),
    omega: positive.lt(1).optional().describe("gfa: how far fusion goes"),
    lambda: positive.optional().describe("gfa: how sharp the affinity is"),
  }).optional().describe("a fuser that is trained; none if left out"),
});

const fusion = z.strictObject({
  name: text.describe("what rows and lines call it: letters, digits, `_`, `-` and `.`"),
  fuser: text.describe("name of the fuser"),
  options: options.describe("the fuser's options that differ from their defaults"),
  classifier: text.optional().describe("name of the classifier; the evaluation's if left out"),
  classifierOptions: options.describe("the classifier's options that differ"),
});

const measured = {
  label: text.describe("what people read"),
  variant: text.describe("which network"),
  fusion: text.describe("how it is used"),
};

const planSchema = z.strictObject({
  out: text.default("runs/ablation").describe("folder of the networks, figures and report"),
  seeds: z.array(z.int().min(0).max(2 ** 32 - 1)).min(1).default([1, 2, 3]).describe(
    "every network is trained once with each",
  ),
  recipe: text.describe("the config that all networks are trained by"),
  changes: z.record(z.string(), z.unknown()).default({}).describe(
    "fields of the recipe that differ, for all networks alike",
  ),
  variants: z.array(variant).min(1).describe("the networks, and what sets them apart"),
  fusions: z.array(fusion).min(1).describe("the ways of using a network"),
  evaluation: z.strictObject({
    dataset: text.default("emoji-scenes").describe("kind of the data set"),
    options: options.describe("how it is opened, `split` apart"),
    splits: z.array(text).min(1).describe("its splits"),
    images: count.default(200).describe("the first so many images of each"),
    classifier: text.default("query_void").describe("name of the classifier"),
  }).describe("what is measured on"),
  tables: z.array(z.strictObject({
    title: text.describe("heading"),
    note: text.optional().describe("what to know about it"),
    rows: z.array(z.strictObject(measured)).min(1).describe(
      "rows; the others are compared with the first",
    ),
  })).default([]).describe("tables of the report"),
  sweeps: z.array(z.strictObject({
    title: text.describe("heading"),
    note: text.optional().describe("what to know about it"),
    parameter: text.describe(
      "gamma, for which networks are trained, or an option of the lines' fusers",
    ),
    values: z.array(z.number()).min(2).describe("the parameter's values, ascending"),
    lines: z.array(z.strictObject(measured)).min(1).describe("lines of the chart"),
  })).default([]).describe("what is measured over a range of a parameter"),
});

/** A checked plan, every field filled in; `docs/ablation.md` says what each is. */
export type AblationPlan = z.output<typeof planSchema>;
/** One network's difference from the recipe. */
export type VariantPlan = AblationPlan["variants"][number];
/** One way of using a network. */
export type FusionPlan = AblationPlan["fusions"][number];
/** A row of a table or a line of a chart. */
export type MeasuredPlan = AblationPlan["tables"][number]["rows"][number];
/** A sweep. */
export type SweepPlan = AblationPlan["sweeps"][number];

/** The parameter that networks are trained for; all others are options of a fuser. */
export const trainedParameter = "gamma";

/** The plan's JSON Schema. */
export function ablationJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(planSchema, { io: "input" }) as Record<string, unknown>;
}

/** The first value that occurs twice. */
function repeated<T>(values: readonly T[]): T | undefined {
  return values.find((value, i) => values.indexOf(value) < i);
}

/** What no single field can say. */
function* relations(plan: AblationPlan): Generator<string> {
  const { seeds, variants, fusions, evaluation: { splits }, changes } = plan;
  const lists: [string, readonly (string | number)[]][] = [
    ["seeds", seeds],
    ["evaluation.splits", splits],
    ["variants", variants.map(({ name }) => name)],
    ["fusions", fusions.map(({ name }) => name)],
  ];
  for (const [field, values] of lists) {
    const twice = repeated(values);
    if (twice !== undefined) yield `${field}: has ${JSON.stringify(twice)} twice; once is right`;
  }
  for (const [field, list] of [["variants", variants], ["fusions", fusions]] as const) {
    for (const [i, { name }] of list.entries()) {
      // Folders are named after variants; what sweeps add has a name with a comma.
      if (/^[a-z0-9][a-z0-9._-]*$/i.test(name)) continue;
      yield `${field}[${i}].name is ${JSON.stringify(name)}; it must be of letters, digits, ` +
        '"_", "-" and "."';
    }
  }
  for (const field of ["out", "seed", "fuser", "stage"]) {
    if (field in changes) {
      yield `changes.${field} can't be changed for all networks; ${
        field === "fuser" ? "it is for variants to say" : "it is the plan's to say"
      }`;
    }
  }
  if (plan.tables.length + plan.sweeps.length === 0) {
    yield "tables and sweeps are both empty; one of them must say what is measured";
  }
  const used = new Set<string>();
  const groups = [
    ...plan.tables.map(({ rows }, i): [string, readonly MeasuredPlan[]] => [
      `tables[${i}].rows`,
      rows,
    ]),
    ...plan.sweeps.map(({ lines }, i): [string, readonly MeasuredPlan[]] => [
      `sweeps[${i}].lines`,
      lines,
    ]),
  ];
  for (const [where, rows] of groups) {
    const label = repeated(rows.map(({ label }) => label));
    if (label !== undefined) {
      yield `${where}: has the label ${JSON.stringify(label)} twice; once is right`;
    }
    for (const [i, row] of rows.entries()) {
      yield* reference(`${where}[${i}].variant`, row.variant, variants);
      yield* reference(`${where}[${i}].fusion`, row.fusion, fusions);
      used.add(`variant ${row.variant}`).add(`fusion ${row.fusion}`);
    }
  }
  for (const [i, { values }] of plan.sweeps.entries()) {
    if (values.some((value, at) => at > 0 && value <= values[at - 1]!)) {
      yield `sweeps[${i}].values is ${values.join(", ")}; values must ascend`;
    }
  }
  // What nobody looks at would be trained for hours.
  for (const [i, { name }] of variants.entries()) {
    if (!used.has(`variant ${name}`)) {
      yield `variants[${i}], "${name}", is in no table and no sweep; take it out`;
    }
  }
  for (const [i, { name }] of fusions.entries()) {
    if (!used.has(`fusion ${name}`)) {
      yield `fusions[${i}], "${name}", is in no table and no sweep; take it out`;
    }
  }
}

function* reference(
  field: string,
  name: string,
  list: readonly { readonly name: string }[],
): Generator<string> {
  const known = list.map(({ name }) => name);
  if (known.includes(name)) return;
  yield `${field} is ${JSON.stringify(name)}, which the plan doesn't have; ${
    knownNames(name, known)
  }`;
}

/**
 * Checks a document and fills in its defaults.
 *
 * @param document What a JSON file holds.
 * @param where What to call it in messages, such as its path.
 * @throws {InputError} If a field is unknown, missing or outside its domain; names every such field.
 *
 * @example
 * ```ts
 * import { readAblationPlan } from "./ablation_plan.ts";
 * const plan = readAblationPlan({
 *   recipe: "models/recipes/ovsnet.json",
 *   variants: [{ name: "baseline", loss: { proxyQuery: 0, proxyClip: 0 } }],
 *   fusions: [{ name: "queries", fuser: "query" }],
 *   evaluation: { splits: ["seen", "far"] },
 *   tables: [{
 *     title: "The baseline",
 *     rows: [{ label: "baseline", variant: "baseline", fusion: "queries" }],
 *   }],
 * }, "plan.json");
 * console.log(plan.seeds); // [1, 2, 3]
 * ```
 */
export function readAblationPlan(document: unknown, where: string): AblationPlan {
  const { success, data, error } = planSchema.safeParse(document);
  const faults = success
    ? [...relations(data)]
    : configErrors(error.issues, document, ablationJsonSchema());
  if (faults.length > 0) throw new InputError(`${where}: ${faults.join("; ")}`);
  return data!;
}

/**
 * Reads a plan from JSON text; see {@linkcode readAblationPlan}.
 *
 * @throws {InputError} If the text is no JSON, or as {@linkcode readAblationPlan}.
 */
export function parseAblationPlan(text: string, where: string): AblationPlan {
  return readAblationPlan(parseJson(text, where), where);
}

/** JSON as a value. */
export function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new InputError(`${where}: is no valid JSON: ${(cause as Error).message}`, { cause });
  }
}
