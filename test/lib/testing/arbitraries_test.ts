import assert from "node:assert/strict";
import fc from "fast-check";
import { InputError } from "../../../lib/errors.ts";
import { slotSpecs } from "../../../lib/stages/slots.ts";
import { vocabulary } from "../../../lib/stages/vocabulary.ts";
import {
  drawEmbeddings,
  drawFeatures,
  drawFuserInput,
  drawMasks,
  drawText,
  drawVocabulary,
  embeddingCases,
  featureCases,
  fuserCases,
  type LentTensor,
  maskCases,
  refusedNames,
  vocabularyCases,
} from "../../../lib/testing/mod.ts";

/** Cases that a reader of the documentation may count on to come up among a thousand. */
function assertReached<C>(arbitrary: fc.Arbitrary<C>, edges: Record<string, (c: C) => boolean>) {
  const cases = fc.sample(arbitrary, { seed: 1, numRuns: 1000 });
  for (const [name, isThere] of Object.entries(edges)) assert(cases.some(isThere), name);
}

Deno.test("embeddings: the edges come up, and a seed gives the same numbers", () => {
  assertReached(embeddingCases, {
    "N = 1": (c) => c.rows === 1,
    "D = 1": (c) => c.channels === 1,
    "around a tile": (c) => c.rows > 62,
    "all rows zero": (c) => drawEmbeddings(c).data.every((x) => x === 0),
    "a zero row among others": (c) => {
      const { data } = drawEmbeddings({ ...c, channels: 1 });
      return data.some((x) => x === 0) && data.some((x) => x !== 0);
    },
    huge: (c) => drawEmbeddings(c).data.some((x) => Math.abs(x) > 1e29),
    tiny: (c) => drawEmbeddings(c).data.every((x) => x !== 0 && Math.abs(x) < 1e-28),
  });
  fc.assert(fc.property(embeddingCases, (c) => {
    const { data, shape } = drawEmbeddings(c);
    assert.deepEqual(shape, [c.rows, c.channels]);
    assert(data.every(Number.isFinite));
    assert.deepEqual(drawEmbeddings(c).data, data);
    if (c.kind === "identical") {
      assert(data.every((x, i) => x === data[i % c.channels]));
    }
  }));
});

Deno.test("features and masks: the edges come up", () => {
  assertReached(featureCases, {
    "one pixel": (c) => c.height * c.width === 1,
    "a constant map": (c) => c.kind === "constant" && c.height * c.width > 1,
    "20 cells": (c) => c.width >= 16,
  });
  assertReached(maskCases, {
    "one mask of one pixel": (c) => c.masks * c.height * c.width === 1,
    "all empty": (c) => c.kind === "empty",
    "a logit of exactly 0": (c) => drawMasks(c).data.includes(0),
    "empty and not": (c) => {
      const { data } = drawMasks({ ...c, height: 1, width: 1 });
      return data.some((x) => x < 0) && data.some((x) => x > 0);
    },
  });
  fc.assert(fc.property(featureCases, maskCases, (f, m) => {
    const features = drawFeatures(f);
    assert.deepEqual(features.shape, [f.channels, f.height, f.width]);
    assert(features.data.every(Number.isFinite));
    const masks = drawMasks(m);
    assert.deepEqual(masks.shape, [m.masks, m.height, m.width]);
    if (m.kind === "empty") assert(masks.data.every((x) => x < 0));
    if (m.kind === "full") assert(masks.data.every((x) => x > 0));
    if (m.kind === "identical") {
      const plane = m.height * m.width;
      assert(masks.data.every((x, i) => x === masks.data[i % plane]));
    }
  }));
});

Deno.test("vocabularies are the contract's, and unit rows are their text", () => {
  assertReached(vocabularyCases, {
    "a single name": (c) => c.names === 1,
    "fewer in the running": (c) => drawVocabulary(c).active.length < c.names,
    "names that look alike": (c) => {
      const { names } = drawVocabulary(c);
      return new Set(names.map((name) => name.normalize("NFKC").toLowerCase())).size < c.names;
    },
    "beyond the first 65536 characters": (c) =>
      drawVocabulary(c).names.some((n) => /\p{Emoji}/u.test(n)),
  });
  fc.assert(fc.property(vocabularyCases, (c) => {
    const slot = drawVocabulary(c);
    assert.equal(slot.names.length, c.names);
    assert.equal(slotSpecs.vocabulary!.check!(slot), null);
    assert.deepEqual(drawVocabulary(c), slot);
    const text = drawText(c);
    assert.deepEqual(text.shape, [slot.active.length, c.channels]);
    for (let at = 0; at < text.data.length; at += c.channels) {
      assert(Math.abs(Math.hypot(...text.data.subarray(at, at + c.channels)) - 1) < 1e-6);
    }
  }));
});

Deno.test("lists of names that no vocabulary may have are refused", () => {
  fc.assert(fc.property(refusedNames, (names) => {
    assert.throws(() => vocabulary(names), InputError);
  }));
});

Deno.test("inputs of fusers obey the slots' specs, changed or not", () => {
  fc.assert(fc.property(fuserCases, fc.boolean(), (c, reflected) => {
    const order = Array.from({ length: c.masks }, (_, n) => c.masks - 1 - n);
    const input = drawFuserInput(c, { order, reflected });
    const bound = new Map<string, number>();
    for (const [name, value] of Object.entries(input)) {
      const spec = slotSpecs[name as "text"]!;
      assert.equal(spec.check?.(value as never) ?? null, null);
      for (const { tensor, dtype, dims } of spec.tensors(value as never)) {
        assert.equal(tensor.dtype, dtype);
        dims.forEach((dim, axis) => {
          if (!/^[A-Z]$/.test(dim)) return;
          assert.equal(bound.get(dim) ?? tensor.shape[axis], tensor.shape[axis], `${name} ${dim}`);
          bound.set(dim, tensor.shape[axis]!);
        });
      }
    }
    const embeddings = input.pooled.embeddings as LentTensor<"float32">;
    const empty = input.pooled.empty as LentTensor<"uint8">;
    empty.data.forEach((flag, n) => {
      const row = embeddings.data.subarray(n * c.channels, (n + 1) * c.channels);
      if (flag) assert(row.every((x) => x === 0));
    });
  }));
});
