import assert from "node:assert/strict";
import { gfaGradients, gfaReference } from "../../kernels/gfa/reference.ts";
import {
  maskPoolingGradients,
  maskPoolingReference,
} from "../../kernels/mask_pooling/reference.ts";
import {
  type GfaImplementation,
  gfaLaws,
  LawError,
  type MaskPoolingImplementation,
  maskPoolingLaws,
  type Numbers,
} from "../../kernels/testing.ts";

/** Float64 all the way: obeys every law, to be broken in one place each. */
const soundGfa: Required<Omit<GfaImplementation, "fresh">> = {
  float16: true,
  async gfa(input, options) {
    const { clip, query, method, errorBound } = await gfaReference(input, options);
    return { clip: clip.data, query: query.data, method, errorBound };
  },
  async gfaGradients(input, cotangent, options) {
    const { clip, query } = await gfaGradients(input, cotangent, options);
    return { clip: clip.data, query: query.data };
  },
};

const soundPooling: Required<Omit<MaskPoolingImplementation, "fresh">> = {
  float16: true,
  async maskPooling(input, options) {
    const { pooled, area } = await maskPoolingReference(input, options);
    const empty = Array.from(area.data, (value) => value <= 1e-8);
    return { pooled: pooled.data, area: area.data, empty };
  },
  async maskPoolingGradients(input, cotangent, options) {
    const { features, maskLogits } = await maskPoolingGradients(input, cotangent, options);
    return {
      features: features.data,
      maskLogits: options.mode === "hard" ? null : maskLogits.data,
    };
  },
};

/** The laws, or the one of a name, that fail in a few cases; without the name of the kernel. */
async function broken(laws: ReturnType<typeof gfaLaws>, only?: string): Promise<string[]> {
  const names: string[] = [];
  for (const law of laws) {
    const name = law.name.replace(/^[\w ]*: /, "");
    if (only !== undefined && name !== only) continue;
    await law.check({ seed: 8, cases: 25 }).catch((error) => {
      assert(error instanceof LawError, String(error?.stack ?? error));
      assert.match(
        error.message,
        /\n {2}\{.*"?seed"?:.*\n {2}repeat with check\(\{ seed: 8, path: /,
      );
      names.push(name);
    });
  }
  return names;
}

const scaled = (data: Numbers, factor: number) => data.map((value) => value * factor);

Deno.test("a sound GFA obeys all laws of GFA", async () => {
  assert.deepEqual(await broken(gfaLaws(soundGfa)), []);
});

let calls = 0;
/** What is wrong, and a law that must say so. */
const badGfa: [string, string, Partial<GfaImplementation>][] = [
  ["ignores omega", "omega towards 0 gives the unit rows back", {
    gfa: (input, options) => soundGfa.gfa(input, { ...options, omega: 0.3 }),
  }],
  ["ignores lambda", "agrees with the float64 reference", {
    gfa: (input, options) => soundGfa.gfa(input, { ...options, lambda: 1 }),
  }],
  ["walks a step and calls it the limit", "the direct solution agrees with the float64 reference", {
    async gfa(input, options) {
      if (options.method !== "closed") return await soundGfa.gfa(input, options);
      const out = await soundGfa.gfa(input, { ...options, method: "steps", steps: 1 });
      return { ...out, method: "closed" };
    },
  }],
  ["cuts the series short", "the series keeps the error bound that it states", {
    async gfa(input, options) {
      const { tolerance = 1 } = options;
      const out = await soundGfa.gfa(
        input,
        options.method === "series" ? { ...options, tolerance: Math.sqrt(tolerance) } : options,
      );
      return { ...out, errorBound: Math.min(out.errorBound!, tolerance) };
    },
  }],
  ["walks a step too many", "a finite walk agrees with the reference's", {
    gfa: (input, { steps, ...options }) =>
      soundGfa.gfa(input, steps === undefined ? options : { ...options, steps: steps + 1 }),
  }],
  ["goes half the way in a walk", "a walk comes nearer to the limit by omega squared per step", {
    gfa: (input, { steps, ...options }) =>
      soundGfa.gfa(
        input,
        steps === undefined ? options : { ...options, steps: Math.ceil(steps / 2) },
      ),
  }],
  ["leaves the hull", "rows are convex combinations of the unit rows", {
    async gfa(input, options) {
      const { clip, query } = await soundGfa.gfa(input, options);
      return { clip: scaled(clip, 1.5), query: scaled(query, 1.5) };
    },
  }],
  ["overflows", "stays finite and convex however sharp the affinity", {
    async gfa(input, options) {
      const { clip, query } = await soundGfa.gfa(input, options);
      return { clip: options.lambda > 1e20 ? scaled(clip, NaN) : clip, query };
    },
  }],
  ["changes from call to call", "repeats bit by bit", {
    async gfa(input, options) {
      const { clip, query } = await soundGfa.gfa(input, options);
      return { clip: scaled(clip, 1 + 1e-9 * (++calls % 5)), query };
    },
  }],
  ["prefers the first row", "permuted inputs, permuted outputs", {
    async gfa(input, options) {
      const out = await soundGfa.gfa(input, options);
      return { ...out, clip: out.clip.map((x, i) => i < input.clip.shape.at(-1)! ? 0.9 * x : x) };
    },
  }],
  ["prefers the first axis", "commutes with a rotation of the feature space", {
    async gfa(input, options) {
      const out = await soundGfa.gfa(input, options);
      return {
        ...out,
        query: out.query.map((x, i) => i % input.clip.shape.at(-1)! === 0 ? 0.9 * x : x),
      };
    },
  }],
  ["shrinks rows", "one repeated row is a fixed point", {
    async gfa(input, options) {
      const out = await soundGfa.gfa(input, options);
      return { ...out, clip: scaled(out.clip, 0.99), query: scaled(out.query, 0.99) };
    },
  }],
  ["takes a softmax where raw was asked for", "raw affinity agrees with the float64 reference", {
    gfa: (input, options) => soundGfa.gfa(input, { ...options, affinity: "softmax" }),
  }],
  [
    "refuses without a figure",
    "raw affinity that may diverge is refused, with a lambda that will do",
    {
      gfa: (input, options) =>
        soundGfa.gfa(input, options).catch(() => Promise.reject(new Error("it may diverge"))),
    },
  ],
  ["goes without gradients through the affinity", "gradients agree with the float64 reference", {
    gfaGradients: (input, cotangent, options) =>
      soundGfa.gfaGradients(input, cotangent, { ...options, lambda: 1e-9 }),
  }],
  [
    "unrolls a step less",
    "gradients of a finite walk agree with the float64 reference",
    {
      gfaGradients: (input, cotangent, options) =>
        soundGfa.gfaGradients(
          input,
          cotangent,
          options.steps ? { ...options, steps: options.steps + 1 } : options,
        ),
    },
  ],
  [
    "has the softmax's gradients",
    "gradients of raw affinity agree with the float64 reference",
    {
      gfaGradients: (input, cotangent, options) =>
        soundGfa.gfaGradients(input, cotangent, { ...options, affinity: "softmax" }),
    },
  ],
  ["does not stop", "stopped gradients are zero", {
    gfaGradients: (input, cotangent, options) =>
      soundGfa.gfaGradients(input, cotangent, { ...options, gradient: "implicit" }),
  }],
  ["mixes up a batch", "a batch is its members one by one", {
    async gfa(input, options) {
      const out = await soundGfa.gfa(input, options);
      return (input.clip.shape[0] ?? 1) > 1 && input.clip.shape.length === 3
        ? { ...out, clip: out.clip.slice().reverse() }
        : out;
    },
  }],
  ["mixes up a batch's gradients", "a batch's gradients are its members' one by one", {
    async gfaGradients(input, cotangent, options) {
      const out = await soundGfa.gfaGradients(input, cotangent, options);
      return input.clip.shape.length === 3 ? { ...out, query: out.query.slice().reverse() } : out;
    },
  }],
  ["reads half floats as bytes", "float16 inputs are as good as their values", {
    async gfa(input, options) {
      const out = await soundGfa.gfa(input, options);
      return input.clip.dtype === "float16" ? { ...out, clip: scaled(out.clip, 0.9) } : out;
    },
  }],
];

for (const [what, law, part] of badGfa) {
  Deno.test(`a GFA that ${what} is caught: ${law}`, async () => {
    assert.deepEqual(await broken(gfaLaws({ ...soundGfa, ...part }), law), [law]);
  });
}

Deno.test("laws about what an implementation lacks are left out", () => {
  const leftOut = gfaLaws({ gfa: soundGfa.gfa }).filter((law) => law.leftOut);
  assert.deepEqual(leftOut.map(({ name }) => name).sort(), [
    "gfa: a batch's gradients are its members' one by one",
    "gfa: float16 inputs are as good as their values",
    "gfa: gradients agree with the float64 reference",
    "gfa: gradients of a finite walk agree with the float64 reference",
    "gfa: gradients of raw affinity agree with the float64 reference",
    "gfa: stopped gradients are zero",
  ]);
});

Deno.test("a sound mask pooling obeys all laws of mask pooling", async () => {
  assert.deepEqual(await broken(maskPoolingLaws(soundPooling)), []);
});

const badPooling: [string, string, Partial<MaskPoolingImplementation>][] = [
  ["takes logits of 0 for covered", "a mask that covers nothing gives zeros and is flagged", {
    async maskPooling(input, options) {
      const out = await soundPooling.maskPooling(input, options);
      return { ...out, empty: out.empty.map(() => false) };
    },
  }],
  ["divides by all pixels", "constant features pool to the constant", {
    async maskPooling(input, options) {
      const out = await soundPooling.maskPooling(input, options);
      const columns = out.pooled.length / out.area.length;
      const pixels = input.features.shape.at(-1)! * input.features.shape.at(-2)!;
      return {
        ...out,
        pooled: out.pooled.map((x, i) => x * out.area[Math.floor(i / columns)]! / pixels),
      };
    },
  }],
  ["clips features", "linear in the features", {
    async maskPooling(input, options) {
      const out = await soundPooling.maskPooling(input, options);
      return { ...out, pooled: out.pooled.map((x) => Math.max(x, 0)) };
    },
  }],
  ["softens hard masks", "saturated soft masks are hard masks", {
    maskPooling: async (input, options) => {
      const out = await soundPooling.maskPooling(input, options);
      return options.mode === "hard" ? { ...out, pooled: scaled(out.pooled, 0.99) } : out;
    },
  }],
  ["takes hard for soft", "agrees with the float64 reference", {
    maskPooling: (input) => soundPooling.maskPooling(input, { mode: "hard" }),
  }],
  ["changes from call to call", "repeats bit by bit", {
    async maskPooling(input, options) {
      const out = await soundPooling.maskPooling(input, options);
      return { ...out, pooled: scaled(out.pooled, 1 + 1e-9 * (++calls % 5)) };
    },
  }],
  ["prefers the first mask", "permuted masks, permuted rows", {
    async maskPooling(input, options) {
      const out = await soundPooling.maskPooling(input, options);
      const columns = input.features.shape.at(-3)!;
      return { ...out, pooled: out.pooled.map((x, i) => i < columns ? 0.9 * x : x) };
    },
  }],
  ["forgets the slope of sigmoid", "gradients agree with the float64 reference", {
    async maskPoolingGradients(input, cotangent, options) {
      const out = await soundPooling.maskPoolingGradients(input, cotangent, options);
      return { ...out, maskLogits: out.maskLogits && scaled(out.maskLogits, 2) };
    },
  }],
  ["moves masks over constant features", "constant features leave the masks no gradient", {
    async maskPoolingGradients(input, cotangent, options) {
      const out = await soundPooling.maskPoolingGradients(input, cotangent, options);
      return { ...out, maskLogits: out.maskLogits && out.maskLogits.map((x) => x + 1e-2) };
    },
  }],
  ["halves gradients", "features times their gradient is pooled rows times theirs", {
    async maskPoolingGradients(input, cotangent, options) {
      const out = await soundPooling.maskPoolingGradients(input, cotangent, options);
      return { ...out, features: scaled(out.features, 0.5) };
    },
  }],
  ["mixes up a batch", "a batch is its members one by one", {
    async maskPooling(input, options) {
      const out = await soundPooling.maskPooling(input, options);
      return input.features.shape.length === 4
        ? { ...out, pooled: out.pooled.slice().reverse() }
        : out;
    },
  }],
  ["mixes up a batch's gradients", "a batch's gradients are its members' one by one", {
    async maskPoolingGradients(input, cotangent, options) {
      const out = await soundPooling.maskPoolingGradients(input, cotangent, options);
      return input.features.shape.length === 4
        ? { ...out, features: out.features.slice().reverse() }
        : out;
    },
  }],
  ["reads half floats as bytes", "float16 inputs are as good as their values", {
    async maskPooling(input, options) {
      const out = await soundPooling.maskPooling(input, options);
      return input.features.dtype === "float16" ? { ...out, pooled: scaled(out.pooled, 0.9) } : out;
    },
  }],
];

for (const [what, law, part] of badPooling) {
  Deno.test(`a mask pooling that ${what} is caught: ${law}`, async () => {
    assert.deepEqual(await broken(maskPoolingLaws({ ...soundPooling, ...part }), law), [law]);
  });
}
