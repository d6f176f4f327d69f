/**
 * Random uses of every operator, shared by the tests of shapes, values and gradients.
 *
 * @module
 */
import fc from "fast-check";
import type { Graph, Value } from "../../../lib/graph/graph.ts";
import * as ops from "../../../lib/graph/ops.ts";
import { Rng } from "../../../lib/rng.ts";
import { type DType, sizeOf } from "../../../lib/tensor.ts";

/** Where an operand's elements come from. */
export type Domain =
  /** Within ±3, no two alike and none near zero, so that kinks are far from every element. */
  | "apart"
  /** Like `apart`, above zero. */
  | "positive"
  /** 0, 1 or 2: full of ties. Not differentiated. */
  | "ties"
  /** Integers from 0 to below `rows`, as int64. */
  | { rows: number }
  /** 0, 1, …, as int64, in a random order along one axis: no index comes twice. */
  | { shuffled: number; axis: number };

/** An operand of a case. */
export interface Operand {
  shape: readonly number[];
  domain: Domain;
}

/** One use of one operator. */
export interface OperatorCase {
  operands: readonly Operand[];
  /** Applies the operator; the results are what is judged. */
  apply: (values: Value[], graph: Graph) => Value | Value[];
  /** Whether gradients are wanted of each operand; all float operands where left out. */
  wants?: readonly boolean[];
  /** Shown when a case fails. */
  note?: string;
  /** The gradient is zero by decree. */
  stops?: boolean;
}

/** Elements for the operands of a case. */
export function fill(operands: readonly Operand[], seed: number): Float64Array[] {
  const rng = new Rng(seed);
  const total = operands.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  const order = rng.shuffle(Array.from({ length: total }, (_, i) => i));
  let next = 0;
  return operands.map(({ shape, domain }) => {
    if (typeof domain === "object" && "shuffled" in domain) return shuffled(shape, domain, rng);
    return Float64Array.from({ length: sizeOf(shape) }, () => {
      if (domain === "ties") return rng.integer(3);
      if (typeof domain === "object") return rng.integer((domain as { rows: number }).rows);
      // Odd multiples of a quarter: the middle of the range is never hit.
      const x = 3 * (2 * (order[next++]! + 0.25) / total - 1);
      return domain === "positive" ? (x + 3) / 2 + 0.2 : x;
    });
  });
}

function shuffled(
  shape: readonly number[],
  domain: { shuffled: number; axis: number },
  rng: Rng,
): Float64Array {
  const data = new Float64Array(sizeOf(shape));
  const inner = sizeOf(shape.slice(domain.axis + 1));
  const count = shape[domain.axis]!;
  for (let outer = 0; outer < data.length / (inner * count); outer++) {
    for (let i = 0; i < inner; i++) {
      const order = rng.shuffle(Array.from({ length: domain.shuffled }, (_, k) => k));
      for (let k = 0; k < count; k++) data[(outer * count + k) * inner + i] = order[k]!;
    }
  }
  return data;
}

/** The element type of an operand in a graph whose floats are `float`. */
export function dtypeOf(domain: Domain, float: "float32" | "float64"): DType {
  return typeof domain === "object" ? "int64" : float;
}

// ---------------------------------------------------------------- arbitraries

const dim: fc.Arbitrary<number> = fc.constantFrom(1, 1, 2, 2, 3);
const shapes = (minLength: number, maxLength: number) => fc.array(dim, { minLength, maxLength });
const anyShape = shapes(0, 4);
const someShape = shapes(1, 4);

/** Operand shapes that broadcast together: leading axes left out, axes shrunk to 1. */
const broadcasting = (count: number) =>
  anyShape.chain((full) =>
    fc.array(
      fc.tuple(
        fc.nat(full.length),
        fc.array(fc.boolean(), { minLength: full.length, maxLength: full.length }),
      ).map(([drop, shrink]) => full.map((d, i) => shrink[i] ? 1 : d).slice(drop)),
      { minLength: count, maxLength: count },
    )
  );

/** A shape with one of its axes, counted from either end. */
const withAxis = someShape.chain((shape) =>
  fc.integer({ min: -shape.length, max: shape.length - 1 }).map((axis) => ({ shape, axis }))
);

const apart = (shape: readonly number[]): Operand => ({ shape, domain: "apart" });
const positive = (shape: readonly number[]): Operand => ({ shape, domain: "positive" });

function unary(
  f: (x: Value) => Value,
  domain: Domain = "apart",
  more: Partial<OperatorCase> = {},
): fc.Arbitrary<OperatorCase> {
  return anyShape.map((shape) => ({
    operands: [{ shape, domain }],
    apply: ([x]) => f(x!),
    ...more,
  }));
}

type Binary = (a: ops.Operand, b: ops.Operand) => Value;

function binary(f: Binary, left: Domain = "apart", right: Domain = "apart") {
  return fc.oneof(
    {
      weight: 4,
      arbitrary: broadcasting(2).map(([a, b]): OperatorCase => ({
        operands: [{ shape: a!, domain: left }, { shape: b!, domain: right }],
        apply: ([x, y]) => f(x!, y!),
      })),
    },
    unary((x) => f(x, 1.37), left, { note: "with a number on the right" }),
    unary((x) => f(0.59, x), right, { note: "with a number on the left" }),
    // One value in both places: its gradient is the sum of both.
    unary((x) => f(x, x), left === right ? left : "positive", { note: "of a value with itself" }),
  );
}

const comparison = (f: Binary) =>
  fc.oneof(
    broadcasting(2).map(([a, b]): OperatorCase => ({
      operands: [apart(a!), apart(b!)],
      apply: ([x, y]) => f(x!, y!),
    })),
    broadcasting(2).map(([a, b]): OperatorCase => ({
      operands: [{ shape: a!, domain: "ties" }, { shape: b!, domain: "ties" }],
      apply: ([x, y]) => f(x!, y!),
      wants: [false, false],
    })),
  );

const pow: fc.Arbitrary<OperatorCase> = fc.oneof(
  // Any base to small whole powers, a positive base to any power.
  anyShape.chain((shape) => fc.constantFrom(1, 2, 3).map((n) => ({ shape, n }))).map((
    { shape, n },
  ): OperatorCase => ({
    operands: [apart(shape)],
    apply: ([x]) => ops.pow(x!, n),
    note: `to the power of ${n}`,
  })),
  anyShape.chain((shape) => fc.constantFrom(0, 0.5, -0.5, -1, -2, 2.3).map((p) => ({ shape, p })))
    .map((
      { shape, p },
    ): OperatorCase => ({
      operands: [positive(shape)],
      apply: ([x]) => ops.pow(x!, p),
      note: `to the power of ${p}`,
    })),
  broadcasting(2).map(([a, b]): OperatorCase => ({
    operands: [positive(a!), apart(b!)],
    apply: ([x, y]) => ops.pow(x!, y!),
  })),
);

const bools = (count: number, f: (...values: Value[]) => Value): fc.Arbitrary<OperatorCase> =>
  broadcasting(count).map((all) => ({
    operands: all.map((shape) => ({ shape, domain: "ties" })),
    apply: (values) => f(...values.map((value) => ops.cast(value, "bool"))),
    wants: all.map(() => false),
  }));

const mod: fc.Arbitrary<OperatorCase> = broadcasting(2).map(([a, b]) => ({
  operands: [{ shape: a!, domain: { rows: 20 } }, { shape: b!, domain: { rows: 5 } }],
  apply: ([x, y]) => ops.mod(ops.sub(x!, 10), ops.add(y!, 1)),
}));

const clip: fc.Arbitrary<OperatorCase> = fc.constantFrom(
  [-1.03, 0.97],
  [-Infinity, 0.51],
  [0.49, Infinity],
  [-Infinity, Infinity],
).chain(([low, high]) =>
  unary((x) => ops.clip(x, low!, high!), "apart", { note: `${low} ${high}` })
);

const where: fc.Arbitrary<OperatorCase> = fc.oneof(
  broadcasting(3).map(([c, a, b]): OperatorCase => ({
    operands: [{ shape: c!, domain: "ties" }, apart(a!), apart(b!)],
    apply: ([condition, x, y]) => ops.where(ops.cast(condition!, "bool"), x!, y!),
    wants: [false, true, true],
  })),
  broadcasting(2).map(([c, a]): OperatorCase => ({
    operands: [{ shape: c!, domain: "ties" }, apart(a!)],
    apply: ([condition, x]) => {
      const holds = ops.cast(condition!, "bool");
      return [ops.where(holds, x!, 0.5), ops.where(holds, 0.5, x!), ops.where(holds, 1, 0)];
    },
    wants: [false, true],
  })),
);

const matMul: fc.Arbitrary<OperatorCase> = fc.tuple(broadcasting(2), dim, dim, dim).map((
  [[a, b], m, k, n],
) => ({
  operands: [apart([...a!.slice(-2), m, k]), apart([...b!.slice(-2), k, n])],
  apply: ([x, y]) => ops.matMul(x!, y!),
}));

const gemm: fc.Arbitrary<OperatorCase> = fc.tuple(dim, dim, dim, fc.boolean(), fc.boolean()).map((
  [m, k, n, transposeA, transposeB],
) => ({
  operands: [apart(transposeA ? [k, m] : [m, k]), apart(transposeB ? [n, k] : [k, n])],
  apply: ([x, y]) => ops.gemm(x!, y!, { transposeA, transposeB }),
  note: `${transposeA} ${transposeB}`,
}));

const geometry = fc.record({
  size: fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 })),
  kernel: fc.tuple(dim, dim),
  strides: fc.tuple(dim, dim),
  dilations: fc.tuple(fc.constantFrom(1, 1, 2), fc.constantFrom(1, 1, 2)),
  groups: fc.constantFrom(1, 1, 1, 2),
  batch: dim,
  inPerGroup: dim,
  outPerGroup: dim,
  bias: fc.boolean(),
}).chain((g) => {
  const span = (a: 0 | 1) => g.dilations[a] * (g.kernel[a] - 1) + 1;
  // A pad as wide as the window would put windows on zeros alone; nobody asks for that.
  const pad = (a: 0 | 1) => fc.integer({ min: 0, max: Math.min(2, span(a) - 1) });
  const extra = (a: 0 | 1) => fc.integer({ min: 0, max: g.strides[a] - 1 });
  return fc.record({
    pads: fc.tuple(pad(0), pad(1), pad(0), pad(1)),
    outputPadding: fc.tuple(extra(0), extra(1)),
  }).map((more) => ({ ...g, ...more, span: [span(0), span(1)] as const }));
});

function optionsOf(g: ops.ConvOptions): Required<ops.ConvOptions> {
  const { strides, pads, dilations, groups } = g as Required<ops.ConvOptions>;
  return { strides, pads, dilations, groups };
}

const generalConv: fc.Arbitrary<OperatorCase> = geometry
  .filter((g) => [0, 1].every((a) => g.size[a]! + g.pads[a]! + g.pads[a + 2]! >= g.span[a]!))
  .map((g) => {
    const out = g.outPerGroup * g.groups;
    const operands = [
      apart([g.batch, g.inPerGroup * g.groups, ...g.size]),
      apart([out, g.inPerGroup, ...g.kernel]),
      ...g.bias ? [apart([out])] : [],
    ];
    return {
      operands,
      apply: ([x, w, b]) => ops.conv(x!, w!, b ?? null, optionsOf(g)),
      note: JSON.stringify(optionsOf(g)),
    };
  });

/** One kernel per channel, moved by steps of 1: its gradient has a rule of its own. */
const depthwiseConv: fc.Arbitrary<OperatorCase> = geometry
  .filter((g) => [0, 1].every((a) => g.size[a]! + g.pads[a]! + g.pads[a + 2]! >= g.kernel[a]!))
  .map(({ size, kernel, pads, batch, groups }) => ({
    operands: [apart([batch, groups + 1, ...size]), apart([groups + 1, 1, ...kernel])],
    apply: ([x, w]) => ops.conv(x!, w!, null, { pads, groups: groups + 1 }),
    note: `${pads}`,
  }));

const conv: fc.Arbitrary<OperatorCase> = fc.oneof(generalConv, depthwiseConv);

const convTranspose: fc.Arbitrary<OperatorCase> = geometry
  .filter((g) =>
    [0, 1].every((a) =>
      g.strides[a]! * (g.size[a]! - 1) + g.span[a]! + g.outputPadding[a]! >
        g.pads[a]! + g.pads[a + 2]!
    )
  )
  .map((g) => {
    const operands = [
      apart([g.batch, g.inPerGroup * g.groups, ...g.size]),
      apart([g.inPerGroup * g.groups, g.outPerGroup, ...g.kernel]),
      ...g.bias ? [apart([g.outPerGroup * g.groups])] : [],
    ];
    const options = { ...optionsOf(g), outputPadding: g.outputPadding };
    return {
      operands,
      apply: ([x, w, b]) => ops.convTranspose(x!, w!, b ?? null, options),
      note: JSON.stringify(options),
    };
  });

const layerNorm: fc.Arbitrary<OperatorCase> = fc.tuple(someShape, fc.boolean()).map((
  [shape, biased],
) => ({
  operands: [apart(shape), ...Array(biased ? 2 : 1).fill(apart(shape.slice(-1)))],
  apply: ([x, scale, bias]) => ops.layerNorm(x!, scale!, bias ?? null, 1e-2),
}));

const groupNorm: fc.Arbitrary<OperatorCase> = fc.tuple(dim, dim, dim, shapes(0, 2)).map((
  [batch, groups, size, spatial],
) => ({
  operands: [
    apart([batch, groups * size, ...spatial]),
    apart([groups * size]),
    apart([groups * size]),
  ],
  apply: ([x, scale, bias]) => ops.groupNorm(x!, groups, scale!, bias!, 1e-2),
  note: `${groups} groups`,
}));

const topK: fc.Arbitrary<OperatorCase> = fc.tuple(withAxis, fc.nat()).map((
  [{ shape, axis }, n],
) => {
  const k = 1 + n % shape.at(axis)!;
  return {
    operands: [apart(shape)],
    apply: ([x]) => {
      const { values, indices } = ops.topK(x!, k, axis);
      return [values, indices];
    },
    note: `${k} along ${axis}`,
  };
});

const argMax: fc.Arbitrary<OperatorCase> = fc.tuple(
  withAxis,
  fc.constantFrom<Domain>("apart", "ties"),
).map(([{ shape, axis }, domain]) => ({
  operands: [{ shape, domain }],
  apply: ([x]) => ops.argMax(x!, axis),
  wants: [domain === "apart"],
  note: `along ${axis}`,
}));

const alongAxis = (f: (x: Value, axis: number) => Value): fc.Arbitrary<OperatorCase> =>
  withAxis.map(({ shape, axis }) => ({
    operands: [apart(shape)],
    apply: ([x]) => f(x!, axis),
    note: `axis ${axis}`,
  }));

type Reduction = (x: Value, axes?: readonly number[] | null, keepDims?: boolean) => Value;
const reduction = (f: Reduction): fc.Arbitrary<OperatorCase> =>
  anyShape.chain((shape) =>
    fc.tuple(
      fc.option(fc.subarray(shape.map((_, i) => i))),
      fc.boolean(),
      fc.boolean(),
    ).map(([axes, negative, keep]) => {
      const given = axes && axes.map((axis) => negative ? axis - shape.length : axis).reverse();
      return {
        operands: [apart(shape)],
        apply: ([x]: Value[]) => f(x!, given, keep),
        note: `axes ${given}, keepDims ${keep}`,
      };
    })
  );

const reshape: fc.Arbitrary<OperatorCase> = anyShape.chain((shape) =>
  fc.tuple(fc.shuffledSubarray([...shape, 1, 1], { minLength: shape.length }), fc.boolean()).map(
    ([target, wildcard]): OperatorCase => {
      // What the shuffled sizes leave out goes into one more axis.
      const rest = sizeOf(shape) / sizeOf(target);
      const whole = Number.isInteger(rest) ? [...target, rest] : [sizeOf(shape)];
      const dims = wildcard ? whole.with(-1, -1) : whole;
      return {
        operands: [apart(shape)],
        apply: ([x]) => ops.reshape(x!, dims),
        note: `to ${dims}`,
      };
    },
  )
);

const transpose: fc.Arbitrary<OperatorCase> = anyShape.chain((shape) => {
  const axes = shape.map((_, i) => i);
  return fc.shuffledSubarray(axes, { minLength: axes.length }).map((permutation) => ({
    operands: [apart(shape)],
    apply: ([x]: Value[]) => ops.transpose(x!, permutation),
    note: `${permutation}`,
  }));
});

const unsqueeze: fc.Arbitrary<OperatorCase> = fc.tuple(shapes(0, 3), fc.integer({ min: 0, max: 2 }))
  .chain(([shape, count]) => {
    const rank = shape.length + count;
    const axes = Array.from({ length: rank }, (_, i) => i);
    return fc.tuple(
      fc.shuffledSubarray(axes, { minLength: count, maxLength: count }),
      fc.boolean(),
    ).map(([at, negative]) => {
      const given = at.map((axis) => negative ? axis - rank : axis);
      return {
        operands: [apart(shape)],
        apply: ([x]: Value[]) => ops.unsqueeze(x!, given),
        note: `${given}`,
      };
    });
  });

const squeeze: fc.Arbitrary<OperatorCase> = anyShape.chain((shape) => {
  const ones = shape.flatMap((d, i) => d === 1 ? [i] : []);
  return fc.tuple(fc.shuffledSubarray(ones), fc.boolean()).map(([axes, negative]) => {
    const given = axes.map((axis) => negative ? axis - shape.length : axis);
    return {
      operands: [apart(shape)],
      apply: ([x]: Value[]) => ops.squeeze(x!, given),
      note: `${given}`,
    };
  });
});

const expand: fc.Arbitrary<OperatorCase> = broadcasting(1).chain(([shape]) =>
  fc.tuple(shapes(0, 2), fc.array(dim, { minLength: shape!.length, maxLength: shape!.length })).map(
    ([lead, sizes]) => {
      const dims = [...lead, ...shape!.map((d, i) => d === 1 ? sizes[i]! : d)];
      return {
        operands: [apart(shape!)],
        apply: ([x]: Value[]) => ops.expand(x!, dims),
        note: `to ${dims}`,
      };
    },
  )
);

const concat: fc.Arbitrary<OperatorCase> = fc.tuple(
  withAxis,
  fc.array(dim, { minLength: 1, maxLength: 3 }),
  fc.boolean(),
).map(([{ shape, axis }, sizes, twice]) => ({
  operands: sizes.map((size) => apart(shape.with(axis, size))),
  apply: (values) => ops.concat(twice ? [...values, values[0]!] : values, axis),
  note: `axis ${axis}`,
}));

const split: fc.Arbitrary<OperatorCase> = fc.tuple(
  withAxis,
  fc.array(dim, { minLength: 1, maxLength: 3 }),
  fc.nat(),
).map(([{ shape, axis }, sizes, drop]) => ({
  operands: [apart(shape.with(axis, sizes.reduce((a, b) => a + b)))],
  apply: ([x]) => {
    const pieces = ops.split(x!, sizes, axis);
    // A piece that nothing uses has no gradient.
    return pieces.length > 1 ? pieces.toSpliced(drop % pieces.length, 1) : pieces;
  },
  note: `${sizes} of axis ${axis}, without ${drop % sizes.length}`,
}));

const slice: fc.Arbitrary<OperatorCase> = fc.tuple(
  withAxis,
  fc.integer({ min: 1, max: 5 }),
  fc.nat(),
  fc.nat(),
  fc.boolean(),
).map(([{ shape, axis }, size, a, b, negative]) => {
  const start = a % size;
  const end = start + 1 + b % (size - start);
  const from = negative ? start - size : start;
  const to = end === size ? Infinity : negative ? end - size : end;
  return {
    operands: [apart(shape.with(axis, size))],
    apply: ([x]) => ops.slice(x!, axis, from, to),
    note: `[${from}, ${to}) of axis ${axis}`,
  };
});

const steps: fc.Arbitrary<OperatorCase> = fc.tuple(
  withAxis,
  fc.integer({ min: 1, max: 7 }),
  fc.constantFrom(2, 3, 5, -1, -2, -3),
  fc.nat(),
  fc.nat(),
).map(([{ shape, axis }, size, step, a, b]) => {
  const [low, high] = [a % size, a % size + b % (size - a % size)];
  // From one end to the other, or between two elements.
  const [start, end] = step > 0
    ? b % 3 === 0 ? [0, Infinity] : [low, high + 1]
    : b % 3 === 0
    ? [Infinity, -Infinity]
    : [high, low === 0 ? -Infinity : low - 1];
  return {
    operands: [apart(shape.with(axis, size))],
    apply: ([x]) => ops.slice(x!, axis, start!, end!, step),
    note: `[${start}, ${end}) of axis ${axis} by ${step}`,
  };
});

const cuts: fc.Arbitrary<OperatorCase> = fc.tuple(
  withAxis,
  fc.array(fc.tuple(fc.nat(), fc.nat()), { minLength: 2, maxLength: 4 }),
).map(([{ shape, axis }, pairs]) => {
  const size = 5;
  const ranges = pairs.map(([a, b]) => [a % size, a % size + 1 + b % (size - a % size)] as const);
  return {
    operands: [apart(shape.with(axis, size))],
    apply: ([x]) => ranges.map(([start, end]) => ops.slice(x!, axis, start, end)),
    note: `${ranges.map((range) => `[${range}]`)} of axis ${axis}`,
  };
});

const roll: fc.Arbitrary<OperatorCase> = someShape.chain((shape) =>
  fc.tuple(
    fc.subarray(shape.map((_, i) => i)),
    fc.array(fc.integer({ min: -4, max: 4 }), { minLength: 4, maxLength: 4 }),
  ).map(([axes, shifts]) => ({
    operands: [apart(shape)],
    apply: ([x]: Value[]) => ops.roll(x!, shifts.slice(0, axes.length), axes),
    note: `by ${shifts} along ${axes}`,
  }))
);

const tile: fc.Arbitrary<OperatorCase> = anyShape.chain((shape) =>
  fc.array(fc.integer({ min: 1, max: 3 }), { minLength: shape.length, maxLength: shape.length })
    .map((repeats) => ({
      operands: [apart(shape)],
      apply: ([x]: Value[]) => ops.tile(x!, repeats),
      note: `${repeats} times`,
    }))
);

const pad: fc.Arbitrary<OperatorCase> = shapes(1, 4).chain((shape) => {
  const widths = fc.array(fc.integer({ min: 0, max: 2 }), {
    minLength: shape.length,
    maxLength: shape.length,
  });
  return fc.tuple(widths, widths, fc.constantFrom(0, 0.5)).map(([before, after, value]) => ({
    operands: [apart(shape)],
    apply: ([x]: Value[]) => ops.pad(x!, before, after, value),
    note: `${before} and ${after}`,
  }));
});

const gather: fc.Arbitrary<OperatorCase> = fc.tuple(withAxis, shapes(0, 2), fc.boolean()).map((
  [{ shape, axis }, rows, fromEnd],
) => {
  const size = shape.at(axis)!;
  return {
    operands: [apart(shape), { shape: rows, domain: { rows: size } }],
    apply: ([x, i]) => ops.gather(x!, fromEnd ? ops.sub(i!, size) : i!, axis),
    note: `along ${axis}${fromEnd ? ", from the end" : ""}`,
  };
});

const gatherElements: fc.Arbitrary<OperatorCase> = fc.tuple(withAxis, dim).map((
  [{ shape, axis }, count],
) => ({
  operands: [
    apart(shape),
    { shape: shape.with(axis, count), domain: { rows: shape.at(axis)! } },
  ],
  apply: ([x, i]) => ops.gatherElements(x!, i!, axis),
  note: `along ${axis}`,
}));

const scatterElements: fc.Arbitrary<OperatorCase> = fc.tuple(withAxis, fc.nat(), fc.boolean()).map((
  [{ shape, axis }, n, adds],
) => {
  const at = axis < 0 ? axis + shape.length : axis;
  const size = shape[at]!;
  const some = shape.with(at, 1 + n % size);
  return {
    operands: [
      apart(shape),
      { shape: some, domain: adds ? { rows: size } : { shuffled: size, axis: at } },
      apart(some),
    ],
    apply: ([x, i, updates]) => ops.scatterElements(x!, i!, updates!, axis, adds ? "add" : "none"),
    note: `${adds ? "adding " : ""}along ${axis}`,
  };
});

const gatherND: fc.Arbitrary<OperatorCase> = fc.tuple(
  shapes(0, 2),
  dim,
  shapes(0, 2),
  shapes(0, 2),
  fc.boolean(),
).map(([batch, size, more, rest, two]) => {
  const lead = [...batch, ...more];
  const named = two ? [size, size] : [size];
  return {
    operands: [
      apart([...batch, ...named, ...rest]),
      { shape: [...lead, named.length], domain: { rows: size } },
    ],
    apply: ([x, i]) => ops.gatherND(x!, i!, batch.length),
    note: `${batch.length} shared axes`,
  };
});

const scatterND: fc.Arbitrary<OperatorCase> = fc.tuple(dim, shapes(0, 2), shapes(0, 2), fc.nat())
  .map(([size, lead, rest, n]): OperatorCase => {
    // What replaces must not come twice: one list of rows.
    const adds = n % 2 === 0;
    const rows = adds ? lead : [1 + n % size];
    return {
      operands: [
        apart([size, ...rest]),
        { shape: [...rows, 1], domain: adds ? { rows: size } : { shuffled: size, axis: 0 } },
        apart([...rows, ...rest]),
      ],
      apply: ([x, i, updates]) => ops.scatterND(x!, i!, updates!, adds ? "add" : "none"),
      note: adds ? "adding" : "replacing",
    };
  });

const oneHot: fc.Arbitrary<OperatorCase> = fc.tuple(shapes(0, 3), dim).map(([shape, depth]) => ({
  operands: [{ shape, domain: { rows: 3 } }],
  apply: ([i]) => ops.oneHot(i!, depth),
}));

const scatterAdd: fc.Arbitrary<OperatorCase> = fc.tuple(someShape, shapes(0, 2)).map((
  [table, rows],
) => ({
  operands: [
    apart(table),
    { shape: rows, domain: { rows: table[0]! } },
    apart([...rows, ...table.slice(1)]),
  ],
  apply: ([x, i, updates]) => ops.scatterAdd(x!, i!, updates!),
}));

const spaceToDepth: fc.Arbitrary<OperatorCase> = fc.tuple(dim, dim, dim, dim, dim).map((
  [b, c, h, w, block],
) => ({
  operands: [apart([b, c, h * block, w * block])],
  apply: ([x]) => ops.spaceToDepth(x!, block),
}));

const depthToSpace: fc.Arbitrary<OperatorCase> = fc.tuple(dim, dim, dim, dim, dim).map((
  [b, c, h, w, block],
) => ({
  operands: [apart([b, c * block * block, h, w])],
  apply: ([x]) => ops.depthToSpace(x!, block),
}));

const side = fc.integer({ min: 1, max: 6 });
const resizeBilinear: fc.Arbitrary<OperatorCase> = fc.tuple(
  ...[dim, dim, side, side, side, side],
  fc.boolean(),
).map((all) => {
  const [b, c, h, w, height, width] = all as number[];
  const alignCorners = all.at(-1) as boolean;
  return {
    operands: [apart([b!, c!, h!, w!])],
    apply: ([x]) => ops.resizeBilinear(x!, height!, width!, { alignCorners }),
    note: `to ${height} by ${width}, alignCorners ${alignCorners}`,
  };
});

// Places reach beyond the image on all sides; none is exactly on a pixel.
const gridSample: fc.Arbitrary<OperatorCase> = fc.tuple(
  ...[dim, dim, side, side, dim, dim],
  fc.boolean(),
).map((all) => {
  const [b, c, h, w, height, width] = all as number[];
  const alignCorners = all.at(-1) as boolean;
  return {
    operands: [apart([b!, c!, h!, w!]), apart([b!, height!, width!, 2])],
    apply: ([x, grid]) => ops.gridSample(x!, ops.mul(grid!, 0.4637), { alignCorners }),
    note: `alignCorners ${alignCorners}`,
  };
});

/** Equations of one, two and three operands, with sizes for their labels. */
const einsum: fc.Arbitrary<OperatorCase> = fc.tuple(
  fc.constantFrom(
    ...["ij->ji", "ij->i", "ij->", "ii->i", "ii", "iij->ji", "iji->j", "...ij->...ji", "i...->..."],
    ...["ij,jk", "ij,jk->ik", "ij,kj->ik", "i,j->ij", "i,i->i", "i,i->", "ij,ij->", "ij,k->ikj"],
    ...["bij,bjk->bik", "bqhd,bkhd->bhqk", "bhqk,bkhd->bqhd", "bsd,de->bse", "abc,cbd->da"],
    ...["...ij,...jk->...ik", "b...d,de->b...e", "bqc,bchw->bqhw", "ij,jl->i", "i j , j k -> k i"],
    ...["ij,jk,kl->il", "a,b,c->abc", "ij,j,i->", "bn,anm,bm->ba", "abc,ab,c->b"],
  ),
  fc.array(dim, { minLength: 12, maxLength: 12 }),
  fc.option(fc.nat(), { freq: 3 }),
).map(([equation, sizes, one]) => {
  const terms = equation.replaceAll(" ", "").split("->")[0]!.replaceAll("...", "XY").split(",");
  const labels = [...new Set(terms.join(""))];
  const shapes = terms.map((term) => [...term].map((label) => sizes[labels.indexOf(label)]!));
  // Now and then an operand has a size of 1 for others to broadcast to.
  const some = one === null ? null : one % shapes.length;
  const axis = some === null ? 0 : one! % Math.max(1, shapes[some]!.length);
  const diagonal = terms.some((term) => new Set(term).size !== term.length);
  const operands = shapes.map((shape, i) =>
    apart(i === some && !diagonal && shape.length > 0 ? shape.with(axis, 1) : shape)
  );
  return {
    operands,
    apply: (values) => ops.einsum(equation, ...values),
    note: equation,
  };
});

const cast: fc.Arbitrary<OperatorCase> = fc.oneof(
  unary((x) => ops.cast(x, "float64")),
  unary((x) => ops.cast(ops.cast(x, "int64"), x.dtype)),
  unary((x) => ops.cast(x, "int32")),
  unary((x) => ops.cast(x, "bool"), "ties", { wants: [false] }),
);

/** A random use of each operator, by the operator's name. */
export const operatorCases: Readonly<Record<string, fc.Arbitrary<OperatorCase>>> = {
  add: binary(ops.add),
  sub: binary(ops.sub),
  mul: binary(ops.mul),
  div: binary(ops.div, "apart", "positive"),
  pow,
  mod,
  min: binary(ops.min),
  max: binary(ops.max),
  greater: comparison(ops.greater),
  greaterOrEqual: comparison(ops.greaterOrEqual),
  less: comparison(ops.less),
  lessOrEqual: comparison(ops.lessOrEqual),
  and: bools(2, ops.and),
  or: bools(2, ops.or),
  xor: bools(2, ops.xor),
  not: bools(1, ops.not),
  equal: comparison(ops.equal),
  neg: unary(ops.neg),
  abs: unary(ops.abs),
  sign: fc.oneof(unary(ops.sign), unary(ops.sign, "ties", { wants: [false] })),
  floor: unary(ops.floor),
  ceil: unary(ops.ceil),
  round: fc.oneof(
    // Away from the halves.
    unary((x) => ops.round(ops.mul(x, 0.9))),
    unary((x) => ops.round(ops.mul(x, 0.5)), "ties", { wants: [false] }),
  ),
  sqrt: unary(ops.sqrt, "positive"),
  exp: unary(ops.exp),
  log: unary(ops.log, "positive"),
  sin: unary(ops.sin),
  cos: unary(ops.cos),
  erf: unary(ops.erf),
  sigmoid: unary(ops.sigmoid),
  softplus: unary(ops.softplus),
  tanh: unary(ops.tanh),
  relu: unary(ops.relu),
  gelu: unary(ops.gelu),
  geluTanh: unary(ops.geluTanh),
  quickGelu: unary(ops.quickGelu),
  silu: unary(ops.silu),
  clip,
  stopGradient: unary(ops.stopGradient, "apart", { stops: true }),
  cast,
  where,
  matMul,
  gemm,
  einsum,
  conv,
  convTranspose,
  softmax: alongAxis(ops.softmax),
  logSoftmax: alongAxis(ops.logSoftmax),
  layerNorm,
  groupNorm,
  l2Normalize: alongAxis(ops.l2Normalize),
  reduceSum: reduction(ops.reduceSum),
  reduceMean: reduction(ops.reduceMean),
  reduceMax: reduction(ops.reduceMax),
  reduceMin: reduction(ops.reduceMin),
  reduceLogSumExp: reduction(ops.reduceLogSumExp),
  reduceL2: reduction(ops.reduceL2),
  cumSum: fc.oneof(
    alongAxis((x, axis) => ops.cumSum(x, axis)),
    alongAxis((x, axis) => ops.cumSum(x, axis, true)),
  ),
  argMax,
  topK,
  reshape,
  transpose,
  unsqueeze,
  squeeze,
  expand,
  concat,
  split,
  slice: fc.oneof(slice, steps, cuts),
  roll,
  tile,
  pad,
  gather,
  gatherElements,
  gatherND,
  scatterAdd,
  scatterElements,
  scatterND,
  oneHot,
  spaceToDepth,
  depthToSpace,
  resizeBilinear,
  gridSample,
};

/** Exports of `ops.ts` that are no operators. */
export const helpers: readonly string[] = [
  "normalizeAxis",
  "broadcastShapes",
  "convGeometry",
  "dimOf",
];
