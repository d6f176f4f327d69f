import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { InputError } from "../../../lib/errors.ts";
import {
  checkClasses,
  parseClasses,
  readClassesFile,
  readNamesFile,
} from "../../../plugins/commands/class_list.ts";

const dir = mkdtempSync(join(tmpdir(), "ovstage-classes-"));
globalThis.addEventListener("unload", () => rmSync(dir, { recursive: true, force: true }));

Deno.test("classes: trimmed, in order, in any script", () => {
  assert.deepEqual(parseClasses(" dog ,slice of pizza,狗, 🍕 "), [
    "dog",
    "slice of pizza",
    "狗",
    "🍕",
  ]);
  const many = Array.from({ length: 20000 }, (_, i) => `thing ${i}`);
  assert.equal(checkClasses(many, "list").length, 20000);
});

Deno.test("classes: none, empty, twice, too many", async () => {
  const cases: [string, RegExp][] = [
    ["", /no classes/],
    ["  ", /no classes/],
    ["dog,", /name 2 of 2 is empty/],
    [" ,dog", /name 1 of 2 is empty/],
    ["Dog, cat,dog", /"dog" is there twice \(name 1 and name 3\)/],
    ["slice of pizza, slice  OF pizza", /twice/],
    ["caf\u00e9, cafe\u0301", /twice/],
  ];
  for (const [text, message] of cases) {
    assert.throws(
      () => parseClasses(text),
      (error) => error instanceof InputError && message.test(error.message),
    );
  }
  const many = Array.from({ length: 65536 }, (_, i) => `thing ${i}`);
  assert.throws(() => checkClasses(many, "list.txt"), /list\.txt: 65536 classes; at most 65535/);
  // Names that label no pixel may be any number.
  const file = join(dir, "many.txt");
  writeFileSync(file, many.join("\n"));
  await assert.rejects(readClassesFile(file), /many\.txt: 65536 classes; at most 65535 fit in a/);
  assert.deepEqual(await readNamesFile(file), many);
});

Deno.test("classes: whatever is taken is trimmed, not empty and there once", () => {
  fc.assert(fc.property(fc.array(fc.string({ unit: "grapheme", maxLength: 3 })), (names) => {
    let taken: string[];
    try {
      taken = checkClasses(names, "list");
    } catch (error) {
      return assert.ok(error instanceof InputError);
    }
    assert.deepEqual(taken, names.map((name) => name.trim()));
    assert.equal(new Set(taken).size, names.length);
    assert.ok(taken.every((name) => name !== ""));
  }));
});

Deno.test("a class list's file: lines or a JSON array, and no other JSON is taken for names", async () => {
  const read = (name: string, text: string) => {
    writeFileSync(join(dir, name), text);
    return readClassesFile(join(dir, name));
  };
  for (
    const [name, text] of [
      ["a.txt", "dog\nslice of pizza\n"],
      ["a.txt", ' ["dog", "slice of pizza"]'],
      ["a.json", '\n["dog",\n"slice of pizza"]\n'],
    ] as const
  ) assert.deepEqual(await read(name, text), ["dog", "slice of pizza"]);
  // Nothing but its beginning makes a text JSON: quotes are part of a name.
  assert.deepEqual(await read("a.txt", '"Dog" the band\n'), ['"Dog" the band']);

  const refused: [name: string, text: string, message: RegExp][] = [
    ["b.json", '{\n  "names": [\n    "dog"\n  ]\n}\n', /b\.json: is JSON of another form/],
    [
      "b.txt",
      ' {"a":1}',
      /b\.txt: is JSON of another form; it must be a JSON array of class names/,
    ],
    ["b.txt", "{dog}", /b\.txt: is no valid JSON: .*; it must be a JSON array/],
    ["b.json", '"just"', /b\.json: is JSON of another form/],
    ["B.JSON", "dog\ncat\n", /B\.JSON: is no valid JSON: [^]*; it must be a JSON array/],
    ["b.json", "", /b\.json: is no valid JSON/],
    ["b.json", '["dog", 1]', /b\.json: is JSON of another form/],
    ["b.json", "[]", /b\.json: no classes/],
  ];
  for (const [name, text, message] of refused) {
    await assert.rejects(
      read(name, text),
      (error) => error instanceof InputError && message.test(error.message),
      `${name} ${text}`,
    );
  }
});
