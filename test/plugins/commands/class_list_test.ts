import assert from "node:assert/strict";
import fc from "fast-check";
import { InputError } from "../../../lib/errors.ts";
import { checkClasses, parseClasses } from "../../../plugins/commands/class_list.ts";

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

Deno.test("classes: none, empty, twice, too many", () => {
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
