import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { builtinRegistry, checkDocument, parseDocument } from "@ovstage/ovstage";
import { explainsItself, Folder, linesOf, runExample, writeScene } from "./run_example.ts";

const program = "pipeline_from_json.ts";
const given = "examples/pipeline.json";

Deno.test(`examples/${program} runs a document, and what it writes out runs alike`, async () => {
  using folder = new Folder();
  const { path, names } = await writeScene(folder);
  const [whole, again] = [folder.at("whole.json"), folder.at("again.json")];
  const lines = await linesOf(program, given, path, names.join(), whole);
  for (const line of lines) {
    const [, name] = /^(.+): \d+ pixels$/.exec(line)!;
    assert.ok(names.includes(name!), line);
  }
  const document = parseDocument(readFileSync(whole, "utf8"));
  const stages = parseDocument(readFileSync(given, "utf8")).stages;
  assert.deepEqual(document.stages.map(({ name }) => name), stages.map(({ name }) => name));
  assert.deepEqual(checkDocument(document, builtinRegistry()), document);
  for (const [index, { options }] of stages.entries()) {
    assert.deepEqual({ ...document.stages[index]!.options, ...options }, {
      ...document.stages[index]!.options,
    });
  }
  assert.deepEqual(await linesOf(program, whole, path, names.join(), again), lines);
  assert.equal(readFileSync(again, "utf8"), readFileSync(whole, "utf8"));
});

Deno.test(`examples/${program} names what is wrong with a document`, async () => {
  using folder = new Folder();
  await explainsItself(program, given);
  const { path } = await writeScene(folder);
  const wrong = folder.at("wrong.json");
  const text = readFileSync(given, "utf8");
  for (
    const [document, message] of [
      [text.replace("0.2", "1.5"), /wrong\.json: fuser "gfa": .*omega/],
      [text.replace('"gfa"', '"gaf"'), /wrong\.json: unknown fuser "gaf".*gfa/],
      ["{", /wrong\.json: pipeline document: no JSON/],
    ] as const
  ) {
    writeFileSync(wrong, document);
    const { code, output } = await runExample(program, wrong, path, "dog");
    assert.equal(code, 1, output);
    assert.match(output, message);
  }
});
