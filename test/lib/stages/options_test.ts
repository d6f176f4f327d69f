import assert from "node:assert/strict";
import fc from "fast-check";
import { OptionError } from "../../../lib/errors.ts";
import {
  formatDomain,
  optionFromText,
  optionsToJsonSchema,
  readOptions,
} from "../../../lib/stages/options.ts";
import { nearest } from "../../../lib/stages/suggest.ts";

const schema = {
  omega: {
    type: "number",
    description: "how far fusion goes",
    default: 0.5,
    exclusiveMinimum: 0,
    exclusiveMaximum: 1,
  },
  steps: { type: "integer", description: "steps", default: 3, minimum: 1 },
  output: { type: "string", description: "which", default: "clip", enum: ["clip", "query"] },
  quick: { type: "boolean", description: "sooner", default: false },
  templates: {
    type: "strings",
    description: "prompts",
    default: ["{}"],
    minItems: 1,
    contains: "{}",
  },
} as const;

const owner = 'fuser "gfa"';

Deno.test("defaults fill what is left out, and the types follow from the schema", () => {
  const values = readOptions(schema, { omega: 0.25 }, owner);
  const omega: number = values.omega;
  const output: "clip" | "query" = values.output;
  const templates: readonly string[] = values.templates;
  assert.deepEqual({ omega, output, templates }, {
    omega: 0.25,
    output: "clip",
    templates: ["{}"],
  });
  // @ts-expect-error: there is no such option
  assert.equal(values.lambda, undefined);
});

Deno.test("a value outside its domain names option, value and domain", () => {
  const cases: [Record<string, unknown>, string][] = [
    [{ omega: 1.5 }, "omega is 1.5; it must be a finite number above 0 and below 1"],
    [{ omega: NaN }, "omega is NaN; it must be a finite number above 0 and below 1"],
    [{ omega: 0 }, "omega is 0; it must be a finite number above 0 and below 1"],
    [{ omega: "0.5" }, 'omega is "0.5"; it must be a finite number above 0 and below 1'],
    [{ steps: 2.5 }, "steps is 2.5; it must be a whole number at least 1"],
    [{ output: "both" }, 'output is "both"; it must be one of clip, query'],
    [{ quick: 1 }, "quick is 1; it must be true or false"],
    [
      { templates: [] },
      "templates is []; it must be a list of strings, at least 1 of them, each with {} in it",
    ],
    [
      { templates: ["a photo"] },
      'templates is ["a photo"]; it must be a list of strings, at least 1 of them, each with {} in it',
    ],
  ];
  for (const [values, message] of cases) {
    assert.throws(() => readOptions(schema, values, owner), {
      name: "OptionError",
      message: `${owner}: ${message}`,
    });
  }
  assert.throws(
    () => readOptions(schema, { omgea: 0.5 }, owner),
    /fuser "gfa" has no option "omgea"; did you mean "omega"\? known: omega, steps/,
  );
  assert.throws(() => readOptions({}, { omega: 1 }, 'fuser "mean"'), /"omega"; there are none/);
  assert.throws(() => readOptions(schema, { toString: 1 }, owner), OptionError);
});

Deno.test("whatever is given, the values read are in their domains or an OptionError", () => {
  fc.assert(fc.property(
    fc.record({ omega: fc.anything(), steps: fc.anything(), output: fc.anything() }),
    (given) => {
      try {
        const { omega, steps, output } = readOptions(schema, given, owner);
        assert.ok(omega > 0 && omega < 1);
        assert.ok(Number.isInteger(steps) && steps >= 1);
        assert.ok(output === "clip" || output === "query");
      } catch (error) {
        assert.ok(error instanceof OptionError);
      }
    },
  ));
});

Deno.test("text from a command line becomes the option's type, and NaN stays outside", () => {
  const read = (name: keyof typeof schema, text: string) =>
    readOptions(schema, { [name]: optionFromText(schema[name], text) }, owner)[name];
  assert.equal(read("omega", "0.5"), 0.5);
  assert.equal(read("steps", "4"), 4);
  assert.equal(read("quick", "true"), true);
  assert.deepEqual(read("templates", "a {}, the {}"), ["a {}", "the {}"]);
  for (const bad of ["nan", "NaN", "", "0.5x", "Infinity", "-1"]) {
    assert.throws(() => read("omega", bad), OptionError, bad);
  }
});

Deno.test("a domain in words, and as JSON Schema", () => {
  assert.equal(formatDomain(schema.omega), "a finite number above 0 and below 1");
  assert.equal(formatDomain(schema.output), "one of clip, query");
  const json = optionsToJsonSchema(schema);
  assert.deepEqual(JSON.parse(JSON.stringify(json)).properties.omega, schema.omega);
  assert.deepEqual(
    (json["properties"] as Record<string, unknown>)["templates"],
    {
      type: "array",
      items: { type: "string", pattern: "\\{\\}" },
      description: "prompts",
      default: ["{}"],
      minItems: 1,
    },
  );
});

Deno.test("suggestions are near, and absent where nothing is", () => {
  assert.equal(nearest("gaf", ["gfa", "mean"]), "gfa");
  assert.equal(nearest("GFA", ["gfa", "mean"]), "gfa");
  assert.equal(nearest("quary", ["clip", "query"]), "query");
  assert.equal(nearest("transformer", ["clip", "query"]), null);
});
