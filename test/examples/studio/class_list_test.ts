import assert from "node:assert/strict";
import fc from "fast-check";
import { addClasses, maxClasses, splitClasses } from "../../../examples/studio/class_list.ts";

Deno.test("class lists: names between commas, semicolons, tabs and lines, or a JSON array", () => {
  assert.deepEqual(splitClasses(" dog,guitar;\tslice  of pizza\r\n\n 猫 ,"), [
    "dog",
    "guitar",
    "slice of pizza",
    "猫",
  ]);
  assert.deepEqual(splitClasses('["dog", "salt, pepper"]'), ["dog", "salt, pepper"]);
  assert.deepEqual(splitClasses("[dog, cat"), ["[dog", "cat"]);
  assert.deepEqual(splitClasses(" , ;\n"), []);
  assert.deepEqual(splitClasses("dog,\u200b,\u2060 "), ["dog"]);
});

Deno.test("class lists: no name comes twice, each keeps its place, none is blank", () => {
  const text = fc.array(
    fc.oneof(fc.constantFrom("Dog", "dog ", "DOG", "cat", "é", "é", ""), fc.string()),
  )
    .map((parts) => parts.join(","));
  fc.assert(fc.property(text, text, (first, second) => {
    const before = addClasses([], splitClasses(first)).names;
    const { names, added, again, dropped } = addClasses(before, splitClasses(second));
    assert.deepEqual(names, [...before, ...added]);
    const keys = names.map((name) => name.normalize("NFC").toLowerCase());
    assert.equal(new Set(keys).size, names.length);
    assert.ok(names.every((name) => name.trim() === name && name !== ""));
    assert.ok(again.every((name) => names.includes(name)));
    assert.equal(added.length + again.length + dropped, splitClasses(second).length);
    // A second time adds nothing.
    assert.deepEqual(addClasses(names, names).added, []);
  }));
});

Deno.test("class lists: what has no room is counted", () => {
  const many = Array.from({ length: maxClasses + 3 }, (_, i) => `class ${i}`);
  const { names, dropped } = addClasses([], many);
  assert.equal(names.length, maxClasses);
  assert.equal(dropped, 3);
});
