import assert from "node:assert/strict";
import {
  fromBfloat16,
  fromBfloat16Array,
  toBfloat16,
  toBfloat16Array,
} from "../../lib/bfloat16.ts";
import { fromFloat16, fromFloat16Array, toFloat16Array } from "../../lib/float16.ts";
import { elementsOf } from "../../lib/weights/weight_file.ts";
import rounding from "../fixtures/weights/rounding.json" with { type: "json" };

const decode = (base64: string) => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
const values = elementsOf("float32", decode(rounding.float32));

Deno.test("bfloat16 and float16 round as PyTorch does", () => {
  assert.ok(values.length > 400);
  assert.deepEqual(toBfloat16Array(values), elementsOf("bfloat16", decode(rounding.bfloat16)));
  assert.deepEqual(toFloat16Array(values), elementsOf("float16", decode(rounding.float16)));
  assert.deepEqual(Uint16Array.from(values, toBfloat16), toBfloat16Array(values));
});

Deno.test("each of the 65,536 patterns survives the way to float32 and back", () => {
  const patterns = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const wide = fromBfloat16Array(patterns);
  const halves = fromFloat16Array(patterns);
  const back = { bfloat16: toBfloat16Array(wide), float16: toFloat16Array(halves) };
  for (const bits of patterns) {
    assert.ok(Object.is(wide[bits], fromBfloat16(bits)));
    assert.ok(Object.is(halves[bits], fromFloat16(bits)));
    if (Number.isNaN(wide[bits])) assert.ok(Number.isNaN(fromBfloat16(back.bfloat16[bits]!)));
    else assert.equal(back.bfloat16[bits], bits);
    if (!Number.isNaN(halves[bits])) assert.equal(back.float16[bits], bits);
  }
});

Deno.test("a NaN whose payload lies in the lower half stays a NaN", () => {
  const nan = new Float32Array(Uint32Array.of(0x7f800001, 0xffffffff).buffer);
  for (const bits of toBfloat16Array(nan)) assert.ok(Number.isNaN(fromBfloat16(bits)));
});
