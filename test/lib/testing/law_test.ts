import assert from "node:assert/strict";
import fc from "fast-check";
import { bindLaw, defineLaw, LawError, type LawResult } from "../../../lib/testing/mod.ts";

const small = defineLaw<number, number>(
  "numbers are below the limit",
  fc.integer({ min: 0, max: 1000 }),
  (limit, x) => Math.max(0, x - limit + 1),
);

Deno.test("a broken law names the smallest case, and leads back to it", async () => {
  const law = bindLaw(small, 321);
  let error: unknown;
  await law.check({ seed: 4, cases: 50 }).catch((thrown) => error = thrown);
  assert(error instanceof LawError);
  assert.match(
    error.message,
    /^numbers are below the limit\n {2}321: error 1, at most 0 allowed\n/,
  );
  const [result] = error.results as [LawResult];
  const judged: number[] = [];
  const noted = defineLaw<null, number>("noted", fc.integer({ min: 0, max: 1000 }), (_, x) => {
    judged.push(x);
    return 0;
  });
  await bindLaw(noted, null).check({ seed: result.seed, path: result.path! });
  assert.deepEqual(judged, [321]);
});

Deno.test("the same seed judges the same cases, as many as were asked for", async () => {
  const judge = async (seed: number, cases: number, concurrency: number) => {
    const judged: number[] = [];
    const law = defineLaw<null, number>("noted", fc.nat(), async (_, x) => {
      judged.push(x);
      await Promise.resolve();
      return x % 3 === 0 ? null : 0;
    });
    const result = await law.run(null, { seed, cases, concurrency });
    assert(result.ok);
    return { judged, result };
  };
  const { judged, result } = await judge(7, 100, 1);
  assert.equal(result.cases, 100);
  assert.equal(judged.filter((x) => x % 3 !== 0).length, 100);
  assert.deepEqual((await judge(7, 100, 1)).judged, judged);
  assert.notDeepEqual((await judge(8, 100, 1)).judged, judged);
  const beside = await judge(7, 100, 8);
  assert.equal(beside.result.cases, 100);
  assert.deepEqual(beside.judged, judged);
});

Deno.test("the first failure is reported, however many are judged at a time", async () => {
  const slow = defineLaw<number, number>(
    "late failures don't hide early ones",
    fc.integer({ min: 0, max: 1000 }),
    async (limit, x) => {
      await new Promise((resolve) => setTimeout(resolve, x > 900 ? 5 : 0));
      return x > limit ? NaN : 0;
    },
  );
  const one = await slow.run(500, { seed: 2, cases: 40 });
  const many = await slow.run(500, { seed: 2, cases: 40, concurrency: 6 });
  assert(!one.ok && !many.ok);
  assert.match(one.message!, /^501: error NaN/);
  assert.match(many.message!, /^501: error NaN/);
});

Deno.test("what a judge throws, and what does not repeat, is told", async () => {
  const throws = defineLaw<null, number>("throws", fc.nat(), () => {
    throw new RangeError("too much");
  });
  const result = await throws.run(null, { seed: 1, cases: 3 });
  assert.match(result.message!, /^0: too much$/);
  let first = true;
  const once = defineLaw<null, number>("fails once", fc.nat(), () => {
    const error = first ? 2 : 0;
    first = false;
    return error;
  });
  const { ok, message, maxError } = await once.run(null, { seed: 1, cases: 3 });
  assert(!ok);
  assert.equal(maxError, 2);
  assert.match(message!, /error 2, at most 0 allowed \(but not when it was repeated\)$/);
});

Deno.test("cases that can't tell are no proof", async () => {
  const mute = defineLaw<null, number>("mute", fc.nat(), () => null);
  await assert.rejects(bindLaw(mute, null).check({ cases: 5 }), /none of the generated cases/);
});

Deno.test("a law that a subject lacks is left out", async () => {
  const picky = defineLaw<string, number>("picky", fc.nat(), () => 1, {
    lacks: (subject) => subject === "old" ? "it is old" : null,
  });
  const law = bindLaw(picky, "old");
  assert(law.leftOut);
  await law.check();
  await assert.rejects(bindLaw(picky, "new").check(), LawError);
});
