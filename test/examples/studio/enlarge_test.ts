import assert from "node:assert/strict";
import { enlarge } from "../../../examples/studio/enlarge.ts";

Deno.test("enlarging: every pixel has the value of the one it lies in", () => {
  const map = Int32Array.of(1, 2, 3, 4, 5, 6);
  // deno-fmt-ignore
  assert.deepEqual([...enlarge(map, [3, 2], [6, 5])], [
    1, 1, 2, 2, 3, 3,
    1, 1, 2, 2, 3, 3,
    4, 4, 5, 5, 6, 6,
    4, 4, 5, 5, 6, 6,
    4, 4, 5, 5, 6, 6,
  ]);
  assert.deepEqual([...enlarge(map, [3, 2], [4, 2])], [1, 2, 2, 3, 4, 5, 5, 6]);
});
