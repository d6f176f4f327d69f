import assert from "node:assert/strict";
import fc from "fast-check";
import { ModelError, OvsError, PipelineError, RegistryError } from "../../../lib/errors.ts";
import {
  buildPipeline,
  checkDocument,
  formatDocument,
  parseDocument,
  type PipelineDocument,
} from "../../../lib/stages/document.ts";
import { modelsIn } from "../../../lib/stages/models.ts";
import { type AnyPlugin, openStage } from "../../../lib/stages/plugin.ts";
import { Registry } from "../../../lib/stages/registry.ts";
import { fakeDevice, slotValue } from "./fakes.ts";

let opened = 0;

const encoder: AnyPlugin = {
  role: "encoder",
  name: "plain",
  description: "text without an encoder",
  needs: ["vocabulary"],
  gives: ["text"],
  options: { scale: { type: "number", description: "scale", default: 1, minimum: 0 } },
  create() {
    opened++;
    return {
      run: () => ({ text: slotValue("text") }),
      dispose: () => {
        opened--;
      },
    };
  },
};

const fuser: AnyPlugin = {
  role: "fuser",
  name: "copy",
  description: "text as it is",
  needs: ["text"],
  gives: ["fused"],
  options: {},
  create: () => ({ run: () => ({ fused: slotValue("fused") }) }),
};

const broken: AnyPlugin = {
  ...fuser,
  name: "broken",
  create: () => Promise.reject(new Error("no model")),
};

const registry = () => new Registry([encoder, fuser, broken]);
const chain = (...names: [string, string][]): PipelineDocument => ({
  version: 1,
  stages: names.map(([role, name]) => ({ role, name })),
});
const environment = () => ({ registry: registry(), device: fakeDevice(), models: modelsIn({}) });

Deno.test("a document builds a pipeline that runs", async () => {
  await using pipeline = await buildPipeline(
    chain(["encoder", "plain"], ["fuser", "copy"]),
    environment(),
  );
  using result = await pipeline.run(
    { image: slotValue("image"), vocabulary: slotValue("vocabulary") },
    { outputs: ["fused"] },
  );
  assert.deepEqual(result.outputs.fused.shape, [3, 4]);
});

Deno.test("a document comes back from its text as it was", () => {
  const document = fc.record({
    version: fc.constant(1 as const),
    stages: fc.array(
      fc.record({
        role: fc.string(),
        name: fc.string(),
        options: fc.dictionary(
          fc.string(),
          fc.oneof(
            fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => x === 0 ? 0 : x),
            fc.boolean(),
            fc.string(),
            fc.array(fc.string()),
          ),
          { noNullPrototype: true },
        ),
      }, { requiredKeys: ["role", "name"], noNullPrototype: true }),
      { minLength: 1 },
    ),
    inputs: fc.array(fc.string()),
  }, { requiredKeys: ["version", "stages"], noNullPrototype: true });
  fc.assert(fc.property(document, (given) => {
    assert.deepEqual(
      JSON.parse(formatDocument(given)),
      JSON.parse(JSON.stringify(parseDocument(formatDocument(given)))),
    );
    assert.deepEqual(parseDocument(formatDocument(given)), given);
  }));
});

Deno.test("text that is no document is a PipelineError that says where", () => {
  const cases: [string, RegExp][] = [
    ["{", /pipeline document: no JSON/],
    ["[]", /it must be an object/],
    ['{"stages": []}', /version is undefined; this is version 1/],
    ['{"version": 2, "stages": []}', /version is 2/],
    ['{"version": 1, "stages": []}', /at least one stage/],
    ['{"version": 1, "stages": [3]}', /stages\[0\] must be an object/],
    ['{"version": 1, "stages": [{"role": "fuser"}]}', /stages\[0\]: "name" must be a string/],
    ['{"version": 1, "stages": [{"role": 1, "name": "gfa"}]}', /"role" must be a string/],
    [
      '{"version": 1, "stages": [{"role": "fuser", "name": "gfa", "omega": 1}]}',
      /stages\[0\] has "omega"; it takes role, name, options/,
    ],
    [
      '{"version": 1, "stages": [{"role": "fuser", "name": "gfa", "options": {"omega": null}}]}',
      /option "omega" must be a number/,
    ],
    ['{"version": 1, "stages": [{"role": "a", "name": "b"}], "inputs": [1]}', /list of slot names/],
  ];
  for (const [text, message] of cases) {
    assert.throws(
      () => parseDocument(text),
      (error: unknown) => error instanceof PipelineError && message.test(error.message),
      text,
    );
  }
  fc.assert(fc.property(fc.json(), (text) => {
    try {
      parseDocument(text);
    } catch (error) {
      assert.ok(error instanceof OvsError);
    }
  }));
});

Deno.test("checking writes defaults out, and names what is unknown", () => {
  const document: PipelineDocument = {
    version: 1,
    stages: [{ role: "encoder", name: "plain" }, { role: "fuser", name: "copy" }],
  };
  assert.deepEqual(checkDocument(document, registry()).stages[0]!.options, { scale: 1 });
  assert.deepEqual(checkDocument(document, registry()).inputs, ["image", "vocabulary"]);
  assert.throws(
    () => checkDocument(chain(["fusr", "copy"]), registry()),
    /unknown role "fusr"; did you mean "fuser"\? known: encoder, fuser/,
  );
  assert.throws(
    () => checkDocument(chain(["fuser", "cpoy"]), registry()),
    /unknown fuser "cpoy"; did you mean "copy"\? known: copy, broken/,
  );
  assert.throws(
    () => checkDocument(chain(["fuser", "copy"]), registry()),
    /fuser "copy" needs slot "text".*put one of these before it: encoder "plain"/,
  );
});

Deno.test("where one stage can't be opened, the others are closed again", async () => {
  await assert.rejects(
    buildPipeline(chain(["encoder", "plain"], ["fuser", "broken"]), environment()),
    { name: "PipelineError", message: 'fuser "broken" failed: no model' },
  );
  assert.equal(opened, 0);
});

Deno.test("what a plugin's create throws names its stage, unless it is a typed error", async () => {
  const open = (thrown: unknown) => {
    const create = () => {
      throw thrown;
    };
    return openStage({ ...fuser, create }, {}, { device: fakeDevice(), models: modelsIn({}) });
  };
  const boom = new Error("boom\nmore");
  await assert.rejects(open(boom), {
    name: "PipelineError",
    message: 'fuser "copy" failed: boom',
    cause: boom,
  });
  await assert.rejects(open("boom"), PipelineError);
  const typed = new ModelError("model a.onnx: no such file");
  await assert.rejects(open(typed), (error) => error === typed);
});

Deno.test("a role and name can be taken once, and clones don't share", () => {
  const first = registry();
  assert.throws(() => first.register(fuser), RegistryError);
  first.clone().register({ ...fuser, name: "other" });
  assert.deepEqual(first.names("fuser"), ["copy", "broken"]);
  assert.deepEqual(first.roles(), ["encoder", "fuser"]);
  assert.deepEqual(first.givers("fused"), ['fuser "copy"', 'fuser "broken"']);
  assert.deepEqual(first.names("nobody"), []);
});

Deno.test("an option of a type that nothing would check is refused with its plugin", () => {
  for (
    const [spec, type] of [[{ type: "colour" }, '"colour"'], [{}, "undefined"], [null, "undef"]]
  ) {
    const options = { shade: spec } as unknown as AnyPlugin["options"];
    assert.throws(
      () => new Registry([{ ...fuser, options }]),
      (error: unknown) =>
        error instanceof RegistryError &&
        error.message.startsWith(`fuser "copy": option "shade" has type ${type}`) &&
        error.message.endsWith("it must be one of number, integer, boolean, string, strings"),
    );
  }
});
