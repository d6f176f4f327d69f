import assert from "node:assert/strict";
import fc from "fast-check";
import { DeviceLostError, OvsError, PipelineError, ShapeError } from "../../../lib/errors.ts";
import { Pipeline, pipeline } from "../../../lib/stages/pipeline.ts";
import type { SlotList, SlotName, Slots } from "../../../lib/stages/slots.ts";
import { type AnyStage, defineStage } from "../../../lib/stages/stage.ts";
import { float32, HostTensor, type Tensor } from "../../../lib/tensor.ts";
import { fakeDevice, sizes, slotValue, Tally } from "./fakes.ts";

const inputs = { image: slotValue("image"), vocabulary: slotValue("vocabulary") };

/** A stage of any needs and gives, for orders that the compiler would refuse. */
function any(
  name: string,
  needs: SlotList,
  gives: SlotList,
  run: (inputs: Partial<Slots>) => Partial<Slots> | Promise<Partial<Slots>>,
): AnyStage {
  return { role: "part", name, needs, gives, run };
}

function chainOf(stages: readonly AnyStage[], device = fakeDevice()) {
  return new Pipeline<"image" | "vocabulary", SlotName>(device, ["image", "vocabulary"], stages);
}

Deno.test("a stage sees the slots it lists and no others", async () => {
  let seen: string[] = [];
  const chain = chainOf([
    any("a", ["image"], ["features", "text"], (given) => {
      seen = Object.keys(given);
      return { features: slotValue("features"), text: slotValue("text") };
    }),
  ]);
  using result = await chain.run(inputs, { outputs: ["text"] });
  assert.deepEqual(seen, ["image"]);
  assert.deepEqual(Object.keys(result.outputs), ["text"]);
});

Deno.test("a missing slot names the stage, the slot, and who could give it", () => {
  const device = fakeDevice();
  const fuser = { ...any("gfa", ["pooled"], ["fused"], () => ({})), role: "fuser" };
  const pooler = any("mask_pooling", ["image"], ["pooled"], () => ({}));
  const build = (stages: AnyStage[], givers?: () => string[]) => () =>
    new Pipeline(device, ["image", "vocabulary"], stages, givers);
  assert.throws(build([fuser], () => ['pooler "mask_pooling"']), {
    name: "PipelineError",
    message: 'fuser "gfa" needs slot "pooled", which no stage before it gives; put one of these ' +
      'before it: pooler "mask_pooling"',
  });
  assert.throws(build([fuser, pooler]), /part "mask_pooling" gives it, but comes after/);
  assert.throws(build([fuser]), /nothing known gives it/);
  assert.throws(build([any("idle", [], [], () => ({}))]), /part "idle" gives no slot/);
});

Deno.test("a shape that does not fit names stage, slot and both sizes", async () => {
  const rows = (size: number) => ({
    embeddings: float32([3, size]),
    empty: new HostTensor("uint8", [3]),
  });
  const chain = chainOf([
    any("decoder", [], ["queryEmbeddings"], () => ({ queryEmbeddings: float32([3, 640]) })),
    any("pooler", [], ["pooled"], () => ({ pooled: rows(768) })),
    any("fuser", ["pooled", "queryEmbeddings"], ["fused"], () => ({ fused: float32([3, 640]) })),
  ]);
  await assert.rejects(chain.run(inputs), {
    name: "ShapeError",
    message: 'part "pooler": pooled (embeddings) has 768 features per row, queryEmbeddings has ' +
      "640; both must be D",
  });
});

/** A tensor as a plugin may make one, with nothing but types imported. */
function ownTensor(shape: readonly number[], elements: number): Tensor<"float32"> {
  const data = new Float32Array(elements);
  return {
    dtype: "float32",
    shape,
    location: "host",
    read: () => Promise.resolve(data),
    dispose() {},
  };
}

Deno.test("what a stage gives is checked: presence, rank, type, elements, surplus", async (t) => {
  const cases: [string, Partial<Slots>, RegExp][] = [
    ["nothing", {}, /part "a" did not return slot "text"/],
    ["a surplus", { text: slotValue("text"), fused: slotValue("fused") }, /returned slot "fused"/],
    ["rank", { text: float32([5]) }, /part "a": text has shape 5; it must be T×D/],
    [
      "type",
      { text: new HostTensor("int32", [5, 4]) as unknown as Slots["text"] },
      /text is int32; it must be float32/,
    ],
    [
      "too few elements",
      { text: ownTensor([5, 4], 5) },
      /^part "a": text holds 5 elements; its shape 5×4 takes 20$/,
    ],
    ["too many elements", { text: ownTensor([5, 4], 21) }, /text holds 21 elements/],
    ["categories", { text: float32([6, 4]) }, /text has 6 text embeddings, vocabulary has 5/],
    ["no tensor", { text: 7 as unknown as Slots["text"] }, /slot "text" holds no tensor/],
  ];
  for (const [name, given, message] of cases) {
    await t.step(name, async () => {
      await assert.rejects(
        chainOf([any("a", ["vocabulary"], ["text"], () => given)]).run(inputs),
        (error: unknown) => error instanceof OvsError && message.test(error.message),
      );
    });
  }
});

Deno.test("an unreadable tensor of a plugin's own names its stage, and is freed", async () => {
  let freed = 0;
  const text: Tensor<"float32"> = {
    ...ownTensor([5, 4], 20),
    read: () => Promise.reject(new Error("nothing to read")),
    dispose: () => void freed++,
  };
  await assert.rejects(
    chainOf([any("a", ["vocabulary"], ["text"], () => ({ text }))]).run(inputs),
    /^PipelineError: part "a" failed: nothing to read$/,
  );
  assert.equal(freed, 1);
});

Deno.test("inputs are checked before the first stage runs", async () => {
  let ran = 0;
  const chain = chainOf([any("a", ["image"], ["text"], () => {
    ran++;
    return { text: slotValue("text") };
  })]);
  const { image, vocabulary } = inputs;
  const bad: [Partial<Slots>, RegExp][] = [
    [{ image }, /slot "vocabulary" is missing/],
    [{ image: { ...image, width: 9 }, vocabulary }, /image has 126 bytes; 9×7 pixels take 189/],
    [{ image: { ...image, width: 0 }, vocabulary }, /image is 0×7 pixels/],
    [{ image, vocabulary: { names: [], active: [] } }, /vocabulary has no names/],
    [{ image, vocabulary: { names: ["a"], active: [1] } }, /vocabulary has 1 after -1 in active/],
    [{ image, vocabulary: { names: ["a"], active: [0], trained: [] } }, /0 flags in trained/],
  ];
  for (const [given, message] of bad) {
    await assert.rejects(chain.run(given as typeof inputs), message);
  }
  assert.equal(ran, 0);
});

Deno.test("tensors are freed as soon as nobody needs them, whatever the chain", async () => {
  // Chains over four slots of one tensor each; the stage that fails, if any, is drawn too.
  const slots = ["text", "features", "maskLogits", "fused"] as const;
  const chains = fc.array(
    fc.record({
      needs: fc.subarray([...slots]),
      gives: fc.subarray([...slots], { minLength: 1 }),
      forward: fc.boolean(),
    }),
    { minLength: 1, maxLength: 6 },
  );
  await fc.assert(
    fc.asyncProperty(chains, fc.nat(8), fc.subarray([...slots]), async (drawn, failing, wanted) => {
      const tally = new Tally();
      const available = new Set<SlotName>();
      let mostNeeded = 0;
      const stages = drawn.map(({ needs, gives, forward }, index) => {
        const met = needs.filter((slot) => available.has(slot));
        for (const slot of gives) available.add(slot);
        return any(`stage ${index}`, met, gives, async (given) => {
          for (const slot of met) await given[slot]!.read();
          mostNeeded = Math.max(mostNeeded, tally.live);
          if (index === failing) throw new Error("as drawn");
          return Object.fromEntries(gives.map((slot) => [
            slot,
            forward && met.includes(slot) ? given[slot] : slotValue(slot, sizes, tally),
          ]));
        });
      });
      const outputs = wanted.filter((slot) => available.has(slot));
      const run = chainOf(stages).run(inputs, { outputs });
      if (failing < stages.length) {
        await assert.rejects(run, /part "stage \d" failed: as drawn/);
      } else {
        const result = await run;
        assert.equal(tally.live, outputs.length);
        for (const slot of outputs) await (result.outputs[slot] as Slots["text"]).read();
        result.dispose();
      }
      assert.equal(tally.live, 0);
      assert.equal(tally.twice, 0);
      assert.ok(mostNeeded <= slots.length, "a replaced value is not kept");
    }),
    { numRuns: 200 },
  );
});

Deno.test("a tensor that came in as an input stays the caller's", async () => {
  const tally = new Tally();
  const text = tally.tensor([sizes.C, sizes.D]);
  const chain = new Pipeline<"text", "fused" | "text">(fakeDevice(), ["text"], [
    any("pass", ["text"], ["fused"], ({ text }) => ({ fused: text! })),
  ]);
  (await chain.run({ text }, { outputs: ["fused"] })).dispose();
  assert.equal(tally.live, 1);
});

Deno.test("outputs of a stage that breaks the contract are freed too", async () => {
  const tally = new Tally();
  const chain = chainOf([
    any("a", [], ["text", "features"], () => ({
      text: slotValue("text", sizes, tally),
      features: slotValue("features", { ...sizes, D: 9 }, tally),
    })),
  ]);
  await assert.rejects(chain.run(inputs), ShapeError);
  assert.equal(tally.live, 0);
});

Deno.test("a narrower vocabulary must take along what still depends on it", async () => {
  const narrow = any("reject", ["vocabulary"], ["vocabulary"], () => ({
    vocabulary: slotValue("vocabulary", { ...sizes, C: 2 }),
  }));
  const text = any("text", ["vocabulary"], ["text"], () => ({ text: slotValue("text") }));
  const late = any("late", ["text"], ["fused"], () => ({ fused: slotValue("fused") }));
  const message = /part "reject": vocabulary has 2 text embeddings, text has 5; both must be T/;
  await assert.rejects(chainOf([text, narrow, late]).run(inputs), message);
  (await chainOf([text, late, narrow]).run(inputs)).dispose();
});

Deno.test("an abort ends the run with its reason and frees everything", async () => {
  const tally = new Tally();
  const controller = new AbortController();
  const reason = new Error("enough");
  const chain = chainOf([
    any("a", [], ["text"], () => ({ text: slotValue("text", sizes, tally) })),
    any("b", ["text"], ["fused"], () => {
      controller.abort(reason);
      return { fused: slotValue("fused", sizes, tally) };
    }),
    any("c", ["fused"], ["text"], () => assert.fail("the run was aborted before")),
  ]);
  await assert.rejects(chain.run(inputs, { signal: controller.signal }), reason);
  assert.equal(tally.live, 0);
  await assert.rejects(chain.run(inputs, { signal: AbortSignal.abort(reason) }), reason);
});

Deno.test("a lost device is a DeviceLostError, whatever the stage made of it", async () => {
  const device = fakeDevice();
  const tally = new Tally();
  const first = any("a", [], ["text"], () => ({ text: slotValue("text", sizes, tally) }));
  const chain = chainOf([
    first,
    any("b", ["text"], ["fused"], () => {
      device.lose();
      throw new TypeError("buffer is destroyed");
    }),
  ], device);
  await assert.rejects(chain.run(inputs), DeviceLostError);
  await assert.rejects(chain.run(inputs), DeviceLostError);
  assert.equal(tally.live, 0);
  (await chainOf([first]).run(inputs)).dispose();
});

Deno.test("a loss during the last stage does not pass for a result", async () => {
  const device = fakeDevice();
  const chain = chainOf([any("a", [], ["text"], () => {
    device.lose();
    return { text: slotValue("text") };
  })], device);
  await assert.rejects(chain.run(inputs), DeviceLostError);
});

Deno.test("runs overlap without mixing, and disposal waits for them", async () => {
  const tally = new Tally();
  let disposed = 0;
  const waiting: (() => void)[] = [];
  const stage = defineStage({
    role: "part",
    name: "slow",
    needs: ["image"],
    gives: ["features"],
    async run({ image }) {
      await new Promise<void>((resolve) => waiting.push(resolve));
      assert.equal(disposed, 0);
      return { features: slotValue("features", { ...sizes, D: image.width }, tally) };
    },
    dispose: () => {
      disposed++;
    },
  });
  const chain = pipeline(fakeDevice(), ["image"]).pipe(stage);
  const widths = [1, 2, 3];
  const runs = widths.map((width) =>
    chain.run({ image: { width, height: 1, rgb: new Uint8Array(3 * width) } })
  );
  const closing = chain.dispose();
  for (const go of waiting.reverse()) go();
  const results = await Promise.all(runs);
  await closing;
  assert.equal(disposed, 1);
  assert.deepEqual(results.map(({ outputs }) => outputs.features.shape[0]), widths);
  for (const result of results) result.dispose();
  assert.equal(tally.live, 0);
  await assert.rejects(chain.run({ image: inputs.image }), PipelineError);
  await chain.dispose();
  assert.equal(disposed, 1);
});

Deno.test("times and progress come per stage, in order", async () => {
  const events: string[] = [];
  const chain = pipeline(fakeDevice(), ["image"]).pipe({
    role: "part",
    name: "a",
    needs: ["image"],
    gives: ["text"],
    run: (_, { progress }) => {
      progress(1, 2);
      return { text: slotValue("text") };
    },
  }).pipe({
    role: "part",
    name: "b",
    needs: ["text"],
    gives: ["fused"],
    run: () => ({ fused: slotValue("fused") }),
  });
  using result = await chain.run({ image: inputs.image }, {
    onProgress: ({ name, index, count, done, total }) =>
      events.push(`${name} ${index}/${count} ${done}/${total}`),
  });
  assert.deepEqual(events, ["a 0/2 0/1", "a 0/2 1/2", "b 1/2 0/1"]);
  assert.deepEqual(result.timings.map(({ name }) => name), ["a", "b"]);
  assert.ok(result.timings.every(({ milliseconds }) => milliseconds >= 0));
});

Deno.test("an output that nobody gives is refused by name", async () => {
  const chain = chainOf([any("a", [], ["text"], () => ({ text: slotValue("text") }))]);
  await assert.rejects(
    chain.run(inputs, { outputs: ["fused"] }),
    /no stage gives the output "fused"/,
  );
});
