/**
 * A float64 interpreter of graphs: slow, one plain loop per operator, written from the ONNX operator
 * specification and not from the code that it judges. Booleans are 0 and 1, integers are exact.
 *
 * @module
 */
import type { Graph, GraphNode, Value } from "../../../lib/graph/graph.ts";
import { sizeOf } from "../../../lib/tensor.ts";

/** A tensor of the interpreter. */
export interface Array64 {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** A tensor filled by a function of the index along each axis. */
export function build(shape: readonly number[], at: (index: number[]) => number): Array64 {
  const data = new Float64Array(sizeOf(shape));
  for (let i = 0; i < data.length; i++) data[i] = at(indexOf(i, shape));
  return { shape: [...shape], data };
}

/** Position in row-major order → index along each axis. */
function indexOf(position: number, shape: readonly number[]): number[] {
  const index = new Array<number>(shape.length);
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index[axis] = position % shape[axis]!;
    position = Math.floor(position / shape[axis]!);
  }
  return index;
}

/** The element at an index; axes of size 1 and missing leading axes broadcast. */
function get(x: Array64, index: readonly number[]): number {
  const lead = index.length - x.shape.length;
  let position = 0;
  x.shape.forEach((dim, axis) => {
    const i = dim === 1 ? 0 : index[lead + axis]!;
    if (!(i >= 0 && i < dim)) throw new Error(`index ${index} is outside of ${x.shape}`);
    position = position * dim + i;
  });
  return x.data[position]!;
}

function broadcast(...shapes: (readonly number[])[]): number[] {
  const rank = Math.max(...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, i) => {
    const dims = shapes.map((shape) => shape[i - rank + shape.length] ?? 1);
    const size = dims.find((dim) => dim !== 1) ?? 1;
    if (dims.some((dim) => dim !== 1 && dim !== size)) throw new Error(`broadcast ${shapes}`);
    return size;
  });
}

/** The error function: its power series near zero, a continued fraction for the tail. */
export function erf(x: number): number {
  const a = Math.abs(x);
  if (a < 2.5) {
    let term = a;
    let sum = a;
    for (let n = 1; Math.abs(term) > 1e-18 * sum; n++) {
      term *= -a * a / n;
      sum += term / (2 * n + 1);
    }
    return Math.sign(x) * 2 / Math.sqrt(Math.PI) * sum;
  }
  let fraction = 0;
  for (let n = 120; n > 0; n--) fraction = n / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction));
}

const unary: Record<string, (x: number) => number> = {
  Identity: (x) => x,
  Neg: (x) => -x,
  Abs: Math.abs,
  Sign: Math.sign,
  Sqrt: Math.sqrt,
  Exp: Math.exp,
  Log: Math.log,
  Erf: erf,
  Sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  Softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  Tanh: Math.tanh,
  Relu: (x) => Math.max(x, 0),
  Sin: Math.sin,
  Cos: Math.cos,
  Floor: Math.floor,
  Ceil: Math.ceil,
  Round: (x) => {
    const low = Math.floor(x);
    if (x - low !== 0.5) return Math.round(x);
    return low % 2 === 0 ? low : low + 1;
  },
  Not: (x) => Number(x === 0),
};

const binary: Record<string, (a: number, b: number) => number> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => a / b,
  Pow: (a, b) => a ** b,
  Min: Math.min,
  Max: Math.max,
  Greater: (a, b) => Number(a > b),
  Less: (a, b) => Number(a < b),
  GreaterOrEqual: (a, b) => Number(a >= b),
  LessOrEqual: (a, b) => Number(a <= b),
  And: (a, b) => Number(a !== 0 && b !== 0),
  Or: (a, b) => Number(a !== 0 || b !== 0),
  Xor: (a, b) => Number((a !== 0) !== (b !== 0)),
  Mod: (a, b) => a - b * Math.floor(a / b),
  Equal: (a, b) => Number(a === b),
};

const reductions: Record<string, (xs: number[]) => number> = {
  ReduceSum: (xs) => xs.reduce((a, b) => a + b, 0),
  ReduceMean: (xs) => xs.reduce((a, b) => a + b, 0) / xs.length,
  ReduceMax: (xs) => Math.max(...xs),
  ReduceMin: (xs) => Math.min(...xs),
  ReduceL2: (xs) => Math.sqrt(xs.reduce((a, b) => a + b * b, 0)),
  ReduceLogSumExp: (xs) => {
    const top = Math.max(...xs);
    return top + Math.log(xs.reduce((sum, x) => sum + Math.exp(x - top), 0));
  },
};

/** One operator on known inputs; `null` stands for an optional input left out. */
function apply(node: GraphNode, inputs: (Array64 | null)[]): Array64[] {
  const { op } = node;
  const x = inputs[0]!;
  const int = (name: string) => (node.attributes[name] as { int: number }).int;
  const ints = (name: string) => (node.attributes[name] as { ints: readonly number[] }).ints;
  const string = (name: string) => (node.attributes[name] as { string: string }).string;
  const list = (i: number) => Array.from(inputs[i]!.data);

  if (op in unary) {
    const f = unary[op]!;
    return [{ shape: x.shape, data: x.data.map((v) => f(v)) }];
  }
  if (op in binary) {
    const f = binary[op]!;
    const b = inputs[1]!;
    return [build(broadcast(x.shape, b.shape), (i) => f(get(x, i), get(b, i)))];
  }
  if (op in reductions) {
    const f = reductions[op]!;
    const axes = list(1);
    if (axes.length === 0 && int("noop_with_empty_axes") === 1) return [x];
    const keep = x.shape.map((dim, axis) => axes.includes(axis) ? 1 : dim);
    const inner = axes.map((axis) => x.shape[axis]!);
    const kept = build(keep, (index) => {
      const elements: number[] = [];
      for (let k = 0; k < sizeOf(inner); k++) {
        const at = [...index];
        indexOf(k, inner).forEach((i, n) => (at[axes[n]!] = i));
        elements.push(get(x, at));
      }
      return f(elements);
    });
    const dropped = x.shape.filter((_, axis) => !axes.includes(axis));
    return [int("keepdims") === 1 ? kept : { shape: dropped, data: kept.data }];
  }

  switch (op) {
    case "Gelu": {
      const inner = (v: number) => Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3);
      const f = string("approximate") === "tanh"
        ? (v: number) => v / 2 * (1 + Math.tanh(inner(v)))
        : (v: number) => v / 2 * (1 + erf(v / Math.SQRT2));
      return [{ shape: x.shape, data: x.data.map(f) }];
    }
    case "Clip": {
      const [low, high] = [1, 2].map((i) => inputs[i]?.data[0]);
      const f = (v: number) => Math.min(Math.max(v, low ?? -Infinity), high ?? Infinity);
      return [{ shape: x.shape, data: x.data.map(f) }];
    }
    case "CumSum": {
      const [axis] = list(1) as [number];
      const last = x.shape[axis]! - 1;
      return [build(x.shape, (index) => {
        const [from, to] = int("reverse") === 1 ? [index[axis]!, last] : [0, index[axis]!];
        let sum = 0;
        for (let i = from; i <= to; i++) sum += get(x, index.with(axis, i));
        return sum;
      })];
    }
    case "ArgMax":
    case "TopK": {
      const axis = int("axis");
      const k = op === "TopK" ? list(1)[0]! : 1;
      // Positions by descending element; a stable sort keeps the first of equals first.
      const ranked = (index: number[]) => {
        const row = Array.from({ length: x.shape[axis]! }, (_, i) => get(x, index.with(axis, i)));
        return row.map((_, i) => i).sort((a, b) => row[b]! - row[a]!);
      };
      const shape = x.shape.with(axis, k);
      const indices = build(shape, (index) => ranked(index)[index[axis]!]!);
      if (op === "ArgMax") {
        return [{ shape: x.shape.toSpliced(axis, 1), data: indices.data }];
      }
      return [build(shape, (index) => get(x, index.with(axis, get(indices, index)))), indices];
    }
    case "Tile":
      return [
        build(
          x.shape.map((dim, i) => dim * list(1)[i]!),
          (index) => x.data[positionOf(index.map((i, axis) => i % x.shape[axis]!), x.shape)]!,
        ),
      ];
    case "Cast": {
      // 1, 10, 11 are the float types: nothing is rounded, so that differences stay smooth.
      const to = int("to");
      const convert = (v: number) => to === 9 ? Number(v !== 0) : Math.trunc(v);
      return [[1, 10, 11].includes(to) ? x : { shape: x.shape, data: x.data.map(convert) }];
    }
    case "Where": {
      const [, a, b] = inputs as Array64[];
      const shape = broadcast(x.shape, a!.shape, b!.shape);
      return [build(shape, (i) => get(x, i) !== 0 ? get(a!, i) : get(b!, i))];
    }
    case "MatMul": {
      const b = inputs[1]!;
      const [m, k] = x.shape.slice(-2) as [number, number];
      const [l, n] = b.shape.slice(-2) as [number, number];
      if (k !== l) throw new Error(`MatMul ${x.shape} ${b.shape}`);
      const batch = broadcast(x.shape.slice(0, -2), b.shape.slice(0, -2));
      return [build([...batch, m, n], (index) => {
        const [i, j] = index.slice(-2) as [number, number];
        const lead = index.slice(0, -2);
        let sum = 0;
        for (let t = 0; t < k; t++) sum += get(x, [...lead, i, t]) * get(b, [...lead, t, j]);
        return sum;
      })];
    }
    case "Gemm": {
      const b = inputs[1]!;
      const [tA, tB] = [int("transA") === 1, int("transB") === 1];
      const [m, k] = tA ? [x.shape[1]!, x.shape[0]!] : [x.shape[0]!, x.shape[1]!];
      const n = tB ? b.shape[0]! : b.shape[1]!;
      if (k !== (tB ? b.shape[1] : b.shape[0])) throw new Error(`Gemm ${x.shape} ${b.shape}`);
      return [build([m, n], ([i, j]) => {
        let sum = 0;
        for (let t = 0; t < k; t++) {
          sum += get(x, tA ? [t, i!] : [i!, t]) * get(b, tB ? [j!, t] : [t, j!]);
        }
        return sum;
      })];
    }
    case "Conv":
    case "ConvTranspose":
      return [convolution(node, x, inputs[1]!, inputs[2] ?? null)];
    case "Softmax":
    case "LogSoftmax": {
      const axis = int("axis");
      return [build(x.shape, (index) => {
        const row = Array.from({ length: x.shape[axis]! }, (_, i) => get(x, index.with(axis, i)));
        const top = Math.max(...row);
        const total = row.reduce((sum, v) => sum + Math.exp(v - top), 0);
        const shifted = get(x, index) - top;
        return op === "Softmax" ? Math.exp(shifted) / total : shifted - Math.log(total);
      })];
    }
    case "LayerNormalization": {
      const [, scale, bias] = inputs as Array64[];
      const epsilon = (node.attributes["epsilon"] as { float: number }).float;
      const width = x.shape.at(-1)!;
      const row = (index: number[]) =>
        Array.from({ length: width }, (_, i) => get(x, index.with(-1, i)));
      const lead = [...x.shape.slice(0, -1), 1];
      const mean = build(lead, (index) => row(index).reduce((a, b) => a + b, 0) / width);
      const inverse = build(lead, (index) => {
        const m = get(mean, index);
        return 1 / Math.sqrt(row(index).reduce((a, b) => a + (b - m) ** 2, 0) / width + epsilon);
      });
      const y = build(x.shape, (i) => {
        const normal = (get(x, i) - get(mean, i)) * get(inverse, i);
        return normal * get(scale!, i) + (bias ? get(bias, i) : 0);
      });
      return [y, mean, inverse];
    }
    case "Shape":
      return [arrayOf(x.shape.slice(int("start"), int("end")))];
    case "Reshape": {
      const wanted = list(1).map((dim, i) => dim === 0 ? x.shape[i]! : dim);
      const known = wanted.reduce((product, dim) => dim === -1 ? product : product * dim, 1);
      const shape = wanted.map((dim) => dim === -1 ? x.data.length / known : dim);
      if (sizeOf(shape) !== x.data.length) throw new Error(`Reshape ${x.shape} to ${shape}`);
      return [{ shape, data: x.data }];
    }
    case "Transpose": {
      const perm = ints("perm");
      const source = (index: number[]) => {
        const at = new Array<number>(index.length);
        perm.forEach((axis, i) => (at[axis] = index[i]!));
        return at;
      };
      return [build(perm.map((axis) => x.shape[axis]!), (index) => get(x, source(index)))];
    }
    case "Unsqueeze": {
      const shape = [...x.shape];
      for (const axis of list(1).sort((a, b) => a - b)) shape.splice(axis, 0, 1);
      return [{ shape, data: x.data }];
    }
    case "Squeeze": {
      const axes = list(1);
      if (axes.some((axis) => x.shape[axis] !== 1)) throw new Error(`Squeeze ${x.shape} ${axes}`);
      return [{ shape: x.shape.filter((_, i) => !axes.includes(i)), data: x.data }];
    }
    case "Expand":
      return [build(broadcast(x.shape, list(1)), (index) => get(x, index))];
    case "Concat": {
      const axis = int("axis");
      const parts = inputs as Array64[];
      const total = parts.reduce((sum, part) => sum + part.shape[axis]!, 0);
      return [build(x.shape.with(axis, total), (index) => {
        let at = index[axis]!;
        for (const part of parts) {
          if (at < part.shape[axis]!) {
            return part.data[positionOf(index.with(axis, at), part.shape)]!;
          }
          at -= part.shape[axis]!;
        }
        throw new Error("unreachable");
      })];
    }
    case "Split": {
      const axis = int("axis");
      let start = 0;
      return list(1).map((size) => {
        const from = start;
        start += size;
        return build(
          x.shape.with(axis, size),
          (index) => x.data[positionOf(index.with(axis, from + index[axis]!), x.shape)]!,
        );
      });
    }
    case "Slice": {
      const [[start], [end], [axis]] = [list(1), list(2), list(3)] as [
        [number],
        [number],
        [number],
      ];
      const step = inputs[4]?.data[0] ?? 1;
      const dim = x.shape[axis]!;
      const clamp = (i: number, low: number, high: number) =>
        Math.min(Math.max(i < 0 ? i + dim : i, low), high);
      const [from, to] = step > 0
        ? [clamp(start, 0, dim), clamp(end, 0, dim)]
        : [clamp(start, 0, dim - 1), clamp(end, -1, dim - 1)];
      const size = Math.max(0, Math.ceil((to - from) / step));
      return [build(
        x.shape.with(axis, size),
        (index) => x.data[positionOf(index.with(axis, from + index[axis]! * step), x.shape)]!,
      )];
    }
    case "Pad": {
      const widths = list(1);
      const rank = x.shape.length;
      const shape = x.shape.map((dim, i) => widths[i]! + dim + widths[rank + i]!);
      return [build(shape, (index) => {
        const at = index.map((i, axis) => i - widths[axis]!);
        const inside = at.every((i, axis) => i >= 0 && i < x.shape[axis]!);
        return inside ? x.data[positionOf(at, x.shape)]! : inputs[2]!.data[0]!;
      })];
    }
    case "Gather": {
      const rows = inputs[1]!;
      const axis = int("axis");
      const size = x.shape[axis]!;
      return [build(x.shape.toSpliced(axis, 1, ...rows.shape), (index) => {
        const row = rows.data[positionOf(index.slice(axis, axis + rows.shape.length), rows.shape)]!;
        if (!(row >= -size && row < size)) throw new Error(`Gather: no row ${row}`);
        const at = index.toSpliced(axis, rows.shape.length, row < 0 ? row + size : row);
        return x.data[positionOf(at, x.shape)]!;
      })];
    }
    case "GatherElements": {
      const axis = int("axis");
      const indices = inputs[1]!;
      return [build(indices.shape, (index) => {
        const i = indices.data[positionOf(index, indices.shape)]!;
        return x.data[positionOf(index.with(axis, i), x.shape)]!;
      })];
    }
    case "GatherND": {
      const indices = inputs[1]!;
      const batch = int("batch_dims");
      const outer = indices.shape.slice(0, -1);
      const depth = indices.shape.at(-1)!;
      return [build([...outer, ...x.shape.slice(batch + depth)], (index) => {
        const head = index.slice(0, outer.length);
        const named = Array.from({ length: depth }, (_, k) => get(indices, [...head, k]));
        const at = [...head.slice(0, batch), ...named, ...index.slice(outer.length)];
        return x.data[positionOf(at, x.shape)]!;
      })];
    }
    case "ScatterElements": {
      const [, indices, updates] = inputs as Array64[];
      const axis = int("axis");
      const data = x.data.slice();
      updates!.data.forEach((value, i) => {
        const at = indexOf(i, updates!.shape).with(axis, indices!.data[i]!);
        const position = positionOf(at, x.shape);
        data[position] = string("reduction") === "add" ? data[position]! + value : value;
      });
      return [{ shape: x.shape, data }];
    }
    case "ScatterND": {
      const [, indices, updates] = inputs as Array64[];
      const depth = indices!.shape.at(-1)!;
      const width = sizeOf(x.shape.slice(depth));
      const data = x.data.slice();
      for (let i = 0; i < indices!.data.length / depth; i++) {
        const given = Array.from(indices!.data.subarray(i * depth, (i + 1) * depth));
        const at = given.map((k, axis) => k < 0 ? k + x.shape[axis]! : k);
        const row = positionOf(at, x.shape.slice(0, depth)) * width;
        for (let j = 0; j < width; j++) {
          const value = updates!.data[i * width + j]!;
          data[row + j] = string("reduction") === "add" ? data[row + j]! + value : value;
        }
      }
      return [{ shape: x.shape, data }];
    }
    case "GridSample": {
      const grid = inputs[1]!;
      if (string("mode") !== "linear" || string("padding_mode") !== "zeros") {
        throw new Error("GridSample: only linear with zeros around");
      }
      const aligned = int("align_corners") === 1;
      const [n, c, h, w] = x.shape as [number, number, number, number];
      const [, rows, columns] = grid.shape as [number, number, number];
      const place = (g: number, size: number) =>
        aligned ? (g + 1) / 2 * (size - 1) : ((g + 1) * size - 1) / 2;
      return [build([n, c, rows, columns], ([b, k, i, j]) => {
        const u = place(get(grid, [b!, i!, j!, 0]), w);
        const v = place(get(grid, [b!, i!, j!, 1]), h);
        let sum = 0;
        for (let p = 0; p < h; p++) {
          for (let q = 0; q < w; q++) {
            const hat = Math.max(0, 1 - Math.abs(v - p)) * Math.max(0, 1 - Math.abs(u - q));
            if (hat > 0) sum += hat * x.data[positionOf([b!, k!, p, q], x.shape)]!;
          }
        }
        return sum;
      })];
    }
    case "SpaceToDepth": {
      const s = int("blocksize");
      const [b, c, h, w] = x.shape as [number, number, number, number];
      return [build([b, c * s * s, h / s, w / s], ([n, k, i, j]) => {
        const block = Math.floor(k! / c);
        return get(x, [n!, k! % c, i! * s + Math.floor(block / s), j! * s + block % s]);
      })];
    }
    case "DepthToSpace": {
      const s = int("blocksize");
      if (string("mode") !== "DCR") throw new Error("DepthToSpace: only DCR");
      const [b, k, h, w] = x.shape as [number, number, number, number];
      const c = k / (s * s);
      return [build([b, c, h * s, w * s], ([n, ch, i, j]) => {
        const block = (i! % s) * s + j! % s;
        return get(x, [n!, block * c + ch!, Math.floor(i! / s), Math.floor(j! / s)]);
      })];
    }
    case "Resize": {
      const coordinates = string("coordinate_transformation_mode");
      if (string("mode") !== "linear" || !["half_pixel", "align_corners"].includes(coordinates)) {
        throw new Error(`Resize: ${string("mode")} ${coordinates}`);
      }
      const shape = list(3);
      // Product of two hat functions around the sampled point, edges repeated.
      const taps = (i: number, axis: number) => {
        const size = x.shape[axis]!;
        const corners = shape[axis] === 1 ? 0 : i * (size - 1) / (shape[axis]! - 1);
        const middle = (i + 0.5) * size / shape[axis]! - 0.5;
        const at = coordinates === "half_pixel" ? middle : corners;
        const low = Math.floor(at);
        const clamp = (k: number) => Math.min(Math.max(k, 0), size - 1);
        return [[clamp(low), low + 1 - at], [clamp(low + 1), at - low]] as const;
      };
      return [build(shape, ([n, c, i, j]) => {
        let sum = 0;
        for (const [r, u] of taps(i!, 2)) {
          for (const [s, v] of taps(j!, 3)) {
            sum += u * v * x.data[positionOf([n!, c!, r, s], x.shape)]!;
          }
        }
        return sum;
      })];
    }
  }
  throw new Error(`the interpreter has no operator ${op}`);
}

function positionOf(index: readonly number[], shape: readonly number[]): number {
  return index.reduce((position, i, axis) => position * shape[axis]! + i, 0);
}

/** Every (input pixel, weight, output pixel) triple that a convolution connects, one after another. */
function convolution(node: GraphNode, x: Array64, weight: Array64, bias: Array64 | null): Array64 {
  const ints = (name: string) => (node.attributes[name] as { ints: readonly number[] }).ints;
  const [strides, pads, dilations] = [ints("strides"), ints("pads"), ints("dilations")];
  const group = (node.attributes["group"] as { int: number }).int;
  const [batch, channels, ...size] = x.shape as [number, number, number, number];
  const [first, second, ...kernel] = weight.shape as [number, number, number, number];
  const transposed = node.op === "ConvTranspose";
  const out = transposed ? second * group : first;
  const spatial = [0, 1].map((a) => {
    const span = dilations[a]! * (kernel[a]! - 1) + 1;
    const pad = pads[a]! + pads[a + 2]!;
    if (transposed) return strides[a]! * (size[a]! - 1) + span + ints("output_padding")[a]! - pad;
    return Math.floor((size[a]! + pad - span) / strides[a]!) + 1;
  }) as [number, number];
  const shape = [batch, out, ...spatial];
  const data = new Float64Array(sizeOf(shape));
  // The side that strides are counted on: the result of Conv, the operand of ConvTranspose.
  const coarse = transposed ? size : spatial;
  const fine = transposed ? spatial : size;
  const inPerGroup = channels / group;
  const outPerGroup = out / group;
  for (let b = 0; b < batch; b++) {
    for (let o = 0; o < out; o++) {
      for (let c = 0; c < inPerGroup; c++) {
        const input = Math.floor(o / outPerGroup) * inPerGroup + c;
        const w = (i: number, j: number) =>
          transposed ? [input, o % outPerGroup, i, j] : [o, c, i, j];
        for (let p = 0; p < coarse[0]; p++) {
          for (let q = 0; q < coarse[1]; q++) {
            for (let i = 0; i < kernel[0]!; i++) {
              for (let j = 0; j < kernel[1]!; j++) {
                const r = p * strides[0]! + i * dilations[0]! - pads[0]!;
                const s = q * strides[1]! + j * dilations[1]! - pads[1]!;
                if (r < 0 || s < 0 || r >= fine[0] || s >= fine[1]) continue;
                const from = transposed ? [b, input, p, q] : [b, input, r, s];
                const to = transposed ? [b, o, r, s] : [b, o, p, q];
                data[positionOf(to, shape)]! += x.data[positionOf(from, x.shape)]! *
                  weight.data[positionOf(w(i, j), weight.shape)]!;
              }
            }
          }
        }
      }
    }
  }
  return build(shape, (index) => {
    return data[positionOf(index, shape)]! + (bias === null ? 0 : bias.data[index[1]!]!);
  });
}

/** A vector of these numbers, or another shape of them. */
export function arrayOf(values: ArrayLike<number | bigint>, shape?: readonly number[]): Array64 {
  return { shape: shape ?? [values.length], data: Float64Array.from(values, Number) };
}

/**
 * Computes values of a graph, and what they depend on, from its inputs by name.
 *
 * @throws {Error} If an input is missing or the graph is not valid ONNX.
 */
export function interpret(
  graph: Graph,
  feeds: Readonly<Record<string, Array64>>,
  wanted: readonly Value[],
): Array64[] {
  const known = new Map<Value, Array64>();
  for (const value of [...graph.parameters.values(), ...graph.constants]) {
    known.set(value, arrayOf(value.data!.data, value.shape as number[]));
  }
  for (const value of graph.inputs) {
    if (feeds[value.name] !== undefined) known.set(value, feeds[value.name]!);
  }
  const needed = new Set<Value | null>(wanted);
  for (const node of graph.nodes.toReversed()) {
    if (node.outputs.some((value) => needed.has(value))) node.inputs.forEach((v) => needed.add(v));
  }
  for (const node of graph.nodes) {
    if (!node.outputs.some((value) => needed.has(value))) continue;
    const results = apply(
      node,
      node.inputs.map((value) => {
        if (value === null) return null;
        const array = known.get(value);
        if (array === undefined) throw new Error(`${node.op} needs "${value.name}", not known yet`);
        return array;
      }),
    );
    node.outputs.forEach((value, i) => known.set(value, results[i]!));
  }
  return wanted.map((value) => known.get(value)!);
}
