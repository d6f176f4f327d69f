import assert from "node:assert/strict";
import fc from "fast-check";
import { fromFloat16, toFloat16, toFloat16Array } from "../../lib/float16.ts";

Deno.test("every half float comes back as itself", () => {
  const view = new DataView(new ArrayBuffer(2));
  for (let bits = 0; bits < 65536; bits++) {
    view.setUint16(0, bits);
    const value = fromFloat16(bits);
    assert.ok(Object.is(value, view.getFloat16(0)), `${bits.toString(16)} is not ${value}`);
    if (!Number.isNaN(value)) assert.equal(toFloat16(value), bits);
  }
});

Deno.test("a float32 goes to the nearest half float, ties to even", () => {
  const view = new DataView(new ArrayBuffer(4));
  const float = fc.oneof(
    fc.integer().map((bits) => {
      view.setInt32(0, bits);
      return view.getFloat32(0);
    }),
    // Halfway between two neighbours, or next to it, subnormals and overflow included.
    fc.tuple(fc.integer({ min: 0, max: 0x7bff }), fc.integer({ min: -1, max: 1 })).map(
      ([half, nudge]) => {
        const top = half === 0x7bff ? 65536 : fromFloat16(half + 1);
        view.setFloat32(0, (fromFloat16(half) + top) / 2);
        view.setInt32(0, view.getInt32(0) + nudge);
        return view.getFloat32(0);
      },
    ),
  );
  fc.assert(
    fc.property(float, (value) => {
      for (const x of [value, -value]) {
        assert.ok(Object.is(fromFloat16(toFloat16(x)), Math.f16round(x)), `${x}`);
      }
    }),
    { numRuns: 2000 },
  );
});

Deno.test("arrays are rounded element by element", () => {
  const values = Float32Array.of(0, -0, 1, 1 / 3, 65504, 65520, 1e-8, -Infinity, NaN);
  assert.deepEqual(toFloat16Array(values), Uint16Array.from(values, toFloat16));
});
