import assert from "node:assert/strict";
import { paintLayers } from "../../../examples/studio/paint_layers.ts";

Deno.test("layers: colours of classes, white between segments, their colour beside it", () => {
  const labels = Int32Array.of(0, 0, 1, 1, -1);
  const { tint, outline } = paintLayers(labels, 5, 1, [[255, 0, 0], [0, 0, 255]]);
  const pixel = (layer: Uint8ClampedArray, x: number) => [...layer.subarray(4 * x, 4 * x + 4)];
  assert.deepEqual(pixel(tint, 0), [255, 0, 0, 255]);
  assert.deepEqual(pixel(tint, 3), [0, 0, 255, 255]);
  assert.deepEqual(pixel(tint, 4), [28, 28, 32, 255]);
  assert.deepEqual(pixel(outline, 0), [0, 0, 0, 0]);
  assert.deepEqual(pixel(outline, 1), [255, 255, 255, 255]);
  assert.deepEqual(pixel(outline, 2), [0, 0, 255, 255]);
  assert.deepEqual(pixel(outline, 4), [28, 28, 32, 255]);
});
