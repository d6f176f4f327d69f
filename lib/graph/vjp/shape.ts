/**
 * Vector-Jacobian rules of operators that move elements.
 *
 * @module
 */
import type { Value } from "../graph.ts";
import * as ops from "../ops.ts";
import { fail } from "../ops/core.ts";
import {
  attribute,
  attributeInts,
  constantInts,
  full,
  isScalar,
  none,
  Padded,
  reshape,
  sizesOf,
  sumToShape,
  transpose,
  viewed,
  type VjpContext,
  type VjpRule,
} from "./lean.ts";

/** A rule that hands on a gradient with one element as it is, for it stands for any arrangement. */
function moving(rule: (context: VjpContext) => Value): VjpRule {
  return (context) => {
    const { lean, node } = context;
    const fits = isScalar(lean) && lean.rank <= node.inputs[0]!.rank;
    return [fits ? lean : rule(context)];
  };
}

/** The gradient of `x[start:end:step]` along one axis. */
const slice: VjpRule = ({ node, grad }) => {
  const x = node.inputs[0]!;
  const [[from], [axis], [step = 1]] = [1, 3, 4].map((i) => constantInts(node.inputs[i])) as [
    [number],
    [number],
    [number?],
  ];
  const [dim, count] = [x.shape[axis], grad.shape[axis]];
  if (typeof dim !== "number" || typeof count !== "number") {
    return [symbolicSlice(x, grad, from, axis, step)];
  }
  if (step === 1) return [new Padded(grad, axis, from, dim - from - count)];
  // Forwards, then zeros between the elements.
  const forward = step > 0 ? grad : ops.slice(grad, axis, Infinity, -Infinity, -1);
  const first = step > 0 ? from : from + (count - 1) * step;
  const stride = Math.abs(step);
  let spread = forward;
  if (stride > 1 && count > 1) {
    const widths = Array<number>(x.rank + 1).fill(0);
    const apart = ops.pad(
      ops.unsqueeze(forward, [axis + 1]),
      widths,
      widths.with(axis + 1, stride - 1),
    );
    const sizes = sizesOf(x).with(axis, count * stride);
    spread = ops.slice(ops.reshape(apart, sizes), axis, 0, (count - 1) * stride + 1);
  }
  const length = (count - 1) * stride + 1;
  return [new Padded(spread, axis, first, dim - first - length)];
};

/** The same where a size on the way is known only when the graph runs. */
function symbolicSlice(x: Value, grad: Value, from: number, axis: number, step: number): Value {
  const { graph } = x;
  if (step === -1) return ops.slice(grad, axis, Infinity, -Infinity, -1);
  if (step !== 1) fail("slice", `the gradient of steps needs axis ${axis} as a number`, x);
  const size = (value: Value) =>
    graph.add("Shape", [value], [{ dtype: "int64", shape: [1] }], {
      start: { int: axis },
      end: { int: axis + 1 },
    })[0]!;
  const constant = (values: number[]) => graph.constant(values, [values.length], "int64");
  const start = from < 0 ? ops.add(size(x), constant([from])) : constant([from]);
  const rest = ops.sub(ops.sub(size(x), size(grad)), start);
  const zeros = (count: number) => count === 0 ? [] : [constant(Array<number>(count).fill(0))];
  const [head, tail] = [axis, x.rank - axis - 1];
  const widths = ops.concat(
    [...zeros(head), start, ...zeros(tail), ...zeros(head), rest, ...zeros(tail)],
    0,
  );
  const zero = graph.constant(0, [], x.dtype);
  return graph.add("Pad", [grad, widths, zero], [{ dtype: x.dtype, shape: x.shape }], {
    mode: { string: "constant" },
  })[0]!;
}

/** The rules by ONNX's names. */
export const shapeRules: Readonly<Record<string, VjpRule>> = {
  Reshape: moving(({ node, grad }) => reshape(grad, sizesOf(node.inputs[0]!))),
  Unsqueeze: moving(({ node, grad }) =>
    viewed(grad, node.inputs[0]!) ?? ops.squeeze(grad, constantInts(node.inputs[1]))
  ),
  Squeeze: moving(({ node, grad }) =>
    viewed(grad, node.inputs[0]!) ?? ops.unsqueeze(grad, constantInts(node.inputs[1]))
  ),
  Transpose: moving(({ node, lean }) => {
    const permutation = attributeInts(node, "perm");
    const inverse = permutation.map((_, i) => permutation.indexOf(i));
    const y = node.outputs[0]!;
    return transpose(lean.rank === y.rank ? lean : full(lean, y), inverse);
  }),
  Expand: ({ node, lean }) => {
    return [sumToShape(lean, node.outputs[0]!, node.inputs[0]!.shape), null];
  },
  Tile: ({ node, grad }) => {
    const x = node.inputs[0]!;
    const repeats = constantInts(node.inputs[1]);
    const repeated = repeats.flatMap((count, axis) => count === 1 ? [] : [axis]);
    if (repeated.length === 0) return [grad, null];
    // An axis of its own for each count.
    const sizes = sizesOf(x).flatMap((dim, axis) =>
      repeated.includes(axis) ? [repeats[axis]!, dim] : [dim]
    );
    const axes = repeated.map((axis, before) => axis + before);
    return [ops.reduceSum(ops.reshape(grad, sizes), axes), null];
  },
  Concat: (context) => {
    const { node, lean } = context;
    if (isScalar(lean) && lean.rank <= node.outputs[0]!.rank) return node.inputs.map(() => lean);
    const axis = attribute(node, "axis");
    const { inputs } = node;
    const known = inputs.every((input) => typeof input!.shape[axis] === "number");
    if (known) {
      const sizes = inputs.map((input) => input!.shape[axis] as number);
      const wanted = inputs.flatMap((_, i) => context.wants(i) ? [i] : []);
      if (wanted.length > 1) return ops.split(context.grad, sizes, axis);
      const start = sizes.slice(0, wanted[0]).reduce((a, b) => a + b, 0);
      return inputs.map((_, i) =>
        i === wanted[0] ? ops.slice(context.grad, axis, start, start + sizes[i]!) : null
      );
    }
    return splitAtRunTime(context.grad, inputs as Value[], axis);
  },
  Slice: slice,
  Pad: ({ node, grad }) => {
    const x = node.inputs[0]!;
    const widths = constantInts(node.inputs[1]);
    let inner = grad;
    for (const [axis, dim] of x.shape.entries()) {
      if (inner.shape[axis] === dim) continue;
      const end = widths[axis + x.rank]!;
      inner = ops.slice(inner, axis, widths[axis]!, end === 0 ? Infinity : -end);
    }
    return [inner, null, null];
  },
  SpaceToDepth: moving(({ node, grad }) => ops.depthToSpace(grad, attribute(node, "blocksize"))),
  DepthToSpace: moving(({ node, grad }) => ops.spaceToDepth(grad, attribute(node, "blocksize"))),
  Shape: none,
};

/** Cuts a gradient into the parts of a concatenation, some of them of symbolic size. */
function splitAtRunTime(grad: Value, parts: readonly Value[], axis: number): Value[] {
  const { graph } = grad;
  const sizes = parts.map((part) => {
    const dim = part.shape[axis];
    if (typeof dim === "number") return graph.constant([dim], [1], "int64");
    return graph.add("Shape", [part], [{ dtype: "int64", shape: [1] }], {
      start: { int: axis },
      end: { int: axis + 1 },
    })[0]!;
  });
  const results = parts.map((part) => ({ dtype: grad.dtype, shape: part.shape }));
  return graph.add("Split", [grad, ops.concat(sizes, 0)], results, { axis: { int: axis } });
}
