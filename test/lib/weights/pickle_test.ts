import assert from "node:assert/strict";
import { ModelError } from "../../../lib/errors.ts";
import { PickleGlobal, type PickleValue, unpickle } from "../../../lib/weights/mod.ts";

const called: PickleValue[] = [];
const sum = new PickleGlobal("math.sum", (args) => {
  called.push(args);
  return args.length;
});
const rules = { global: (name: string) => name === "math.sum" ? sum : null };

/** A pickle from instructions (one character each, or bytes). */
function pickle(...parts: (string | number[])[]): Uint8Array {
  const bytes = parts.flatMap((part) =>
    typeof part === "string" ? [...part].map((char) => char.charCodeAt(0)) : part
  );
  return Uint8Array.from(bytes);
}
const load = (...parts: (string | number[])[]) => unpickle(pickle(...parts), "p", rules);
const refuses = (message: RegExp, ...parts: (string | number[])[]) =>
  assert.throws(() => load(...parts), (error) => {
    assert.ok(error instanceof ModelError, String(error));
    assert.match(error.message, message);
    return true;
  });

Deno.test("pickle: plain data", () => {
  assert.deepEqual(load([0x80, 2], "(K", [7], "M", [1, 2], "J", [255, 255, 255, 255], "N", "l."), [
    7,
    513,
    -1,
    null,
  ]);
  assert.equal(load("\x8a\x00."), 0);
  assert.equal(load("\x8a\x02", [0xff, 0xff], "."), -1);
  assert.equal(load("\x8a\x09", [0, 0, 0, 0, 0, 0, 0, 0, 64], "."), 2n ** 70n);
  assert.equal(load("G", [0x3f, 0xf8, 0, 0, 0, 0, 0, 0], "."), 1.5);
  assert.deepEqual(load("}X", [1, 0, 0, 0], "aK", [1], "s."), new Map([["a", 1]]));
  assert.deepEqual(load("C\x02", [0, 255], "."), Uint8Array.of(0, 255));
  const [list, again] = load("(]q\x00K\x05ah\x00l.") as PickleValue[];
  assert.equal(list, again);
});

Deno.test("pickle: tuples are frozen, lists are not", () => {
  assert.ok(Object.isFrozen(load("K\x01K\x02\x86.")));
  assert.ok(!Object.isFrozen(load("].")));
  refuses(/a tuple can't grow/, ")K\x01a.");
});

Deno.test("pickle: only listed names can be called, and nothing else runs", () => {
  assert.equal(load("cmath\nsum\nK\x01\x85R."), 1);
  assert.deepEqual(called, [[1]]);
  refuses(/asks for "os\.system"/, "cos\nsystem\nX", [4, 0, 0, 0], "true\x85R.");
  refuses(/asks for "os\.system"/, "\x8c\x02os\x8c\x06system\x93.");
  refuses(/asks for "builtins\.eval"/, "c__builtin__\neval\n.");
  refuses(/a string can't be called/, "X", [1, 0, 0, 0], "a)R.");
  refuses(/math\.sum is called with a list/, "cmath\nsum\n]R.");
  assert.equal(called.length, 1);
});

Deno.test("pickle: instructions that state dicts don't need are refused by name", () => {
  refuses(/instruction INST/, "(ios\nsystem\n.");
  refuses(/instruction OBJ/, "(cmath\nsum\no.");
  refuses(/instruction EXT1/, "\x82\x01.");
  refuses(/instruction 0xff/, "\xff.");
  refuses(/protocol 9/, "\x80\x09.");
  refuses(/outside of the pickle/, "NQ.");
  refuses(/math\.sum takes no state/, "cmath\nsum\nNb.");
});

Deno.test("pickle: damage is refused with its place", () => {
  refuses(/p, byte 0: the pickle is cut short/, "");
  refuses(/cut short: 4294967295 bytes wanted, 1 left/, "X", [255, 255, 255, 255], "a");
  refuses(/cut short/, "\x8d", [255, 255, 255, 255, 255, 255, 255, 255]);
  refuses(/byte 0: nothing is there/, ".");
  refuses(/left over/, "NN.");
  refuses(/no mark/, "t.");
  refuses(/nothing is there/, "N(a.");
  refuses(/nothing was kept under 3/, "h\x03.");
  refuses(/lacks its value/, "}(Nu.");
  refuses(/a list can't be a key/, "}]Ns.");
  refuses(/a dict is|takes no items/, "](NNu.");
  refuses(/isn't UTF-8/, "X", [1, 0, 0, 0, 255], ".");
  refuses(/inside of a name/, "cos");
  refuses(/1024 are the most/, "\x8b", [0, 8, 0, 0], new Array(2048).fill(1), ".");
});
