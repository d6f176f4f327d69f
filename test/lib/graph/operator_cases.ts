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
  | { rows: number };

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
  return operands.map(({ shape, domain }) =>
    Float64Array.from({ length: sizeOf(shape) }, () => {
      if (domain === "ties") return rng.integer(3);
      if (typeof domain === "object") return rng.integer(domain.rows);
      // Odd multiples of a quarter: the middle of the range is never hit.
      const x = 3 * (2 * (order[next++]! + 0.25) / total - 1);
      return domain === "positive" ? (x + 3) / 2 + 0.2 : x;
    })
  );
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
    wants: [true, false],
  })),
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

const conv: fc.Arbitrary<OperatorCase> = geometry
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

const layerNorm: fc.Arbitrary<OperatorCase> = someShape.map((shape) => ({
  operands: [apart(shape), apart(shape.slice(-1)), apart(shape.slice(-1))],
  apply: ([x, scale, bias]) => ops.layerNorm(x!, scale!, bias!, 1e-2),
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

const gather: fc.Arbitrary<OperatorCase> = fc.tuple(someShape, shapes(0, 2)).map((
  [table, rows],
) => ({
  operands: [apart(table), { shape: rows, domain: { rows: table[0]! } }],
  apply: ([x, i]) => ops.gather(x!, i!),
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
const resizeBilinear: fc.Arbitrary<OperatorCase> = fc.tuple(dim, dim, side, side, side, side).map((
  [b, c, h, w, height, width],
) => ({
  operands: [apart([b, c, h, w])],
  apply: ([x]) => ops.resizeBilinear(x!, height, width),
  note: `to ${height} by ${width}`,
}));

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
  min: binary(ops.min).filter((c) => !c.note?.includes("itself")),
  max: binary(ops.max).filter((c) => !c.note?.includes("itself")),
  greater: comparison(ops.greater),
  less: comparison(ops.less),
  equal: comparison(ops.equal),
  neg: unary(ops.neg),
  abs: unary(ops.abs),
  sign: fc.oneof(unary(ops.sign), unary(ops.sign, "ties", { wants: [false] })),
  sqrt: unary(ops.sqrt, "positive"),
  exp: unary(ops.exp),
  log: unary(ops.log, "positive"),
  erf: unary(ops.erf),
  sigmoid: unary(ops.sigmoid),
  softplus: unary(ops.softplus),
  tanh: unary(ops.tanh),
  relu: unary(ops.relu),
  gelu: unary(ops.gelu),
  quickGelu: unary(ops.quickGelu),
  stopGradient: unary(ops.stopGradient, "apart", { stops: true }),
  cast,
  where,
  matMul,
  gemm,
  conv,
  convTranspose,
  softmax: alongAxis(ops.softmax),
  logSoftmax: alongAxis(ops.logSoftmax),
  layerNorm,
  l2Normalize: alongAxis(ops.l2Normalize),
  reduceSum: reduction(ops.reduceSum),
  reduceMean: reduction(ops.reduceMean),
  reduceMax: reduction(ops.reduceMax),
  reshape,
  transpose,
  unsqueeze,
  squeeze,
  expand,
  concat,
  split,
  slice,
  pad,
  gather,
  scatterAdd,
  spaceToDepth,
  depthToSpace,
  resizeBilinear,
};

/** Exports of `ops.ts` that are no operators. */
export const helpers: readonly string[] = [
  "normalizeAxis",
  "broadcastShapes",
  "convGeometry",
  "dimOf",
];
