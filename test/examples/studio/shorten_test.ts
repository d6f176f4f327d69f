import assert from "node:assert/strict";
import fc from "fast-check";
import { shorten } from "../../../examples/studio/shorten.ts";

const room = (length: number) => (text: string) => text.length <= length;

Deno.test("names that fit are whole; others keep their beginning and end in an ellipsis", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: "grapheme" }),
      fc.integer({ min: 1, max: 40 }),
      (text, length) => {
        const short = shorten(text, room(length));
        assert.ok(short.length <= length);
        if (text.length <= length) return assert.equal(short, text);
        assert.ok(short.endsWith("…") && text.startsWith(short.slice(0, -1)));
      },
    ),
  );
});

Deno.test("as much is kept as fits, and no character is cut in two", () => {
  assert.equal(shorten("person getting haircut", room(12)), "person gett…");
  assert.equal(shorten("person getting haircut", room(8)), "person…");
  assert.equal(shorten("👩‍🚒👩‍🚒", room(8)), "👩‍🚒…");
  assert.equal(shorten("anything", () => false), "…");
});
