/**
 * Convolutions.
 *
 * @module
 */
import { convSize, productOf, sumOf } from "../dims.ts";
import type { Attribute, Dim, Value } from "../graph.ts";
import { fail, one, staticSize } from "./core.ts";

/** Geometry of a convolution. */
export interface ConvOptions {
  /** Step of the window along each spatial axis. */
  strides?: readonly [number, number];
  /** Zeros around the input: top, left, bottom, right. */
  pads?: readonly [number, number, number, number];
  /** Step between the window's own taps. */
  dilations?: readonly [number, number];
  /** Number of independent groups of channels. */
  groups?: number;
}

/** {@linkcode ConvOptions} with every default filled in. */
export function convGeometry(options: ConvOptions): Required<ConvOptions> {
  return { strides: [1, 1], pads: [0, 0, 0, 0], dilations: [1, 1], groups: 1, ...options };
}

function convAttributes(
  kernel: readonly Dim[],
  g: Required<ConvOptions>,
): Record<string, Attribute> {
  return {
    kernel_shape: { ints: kernel as number[] },
    strides: { ints: g.strides },
    pads: { ints: g.pads },
    dilations: { ints: g.dilations },
    group: { int: g.groups },
  };
}

/**
 * 2-D convolution (cross-correlation, as everywhere in this field).
 *
 * @param x B×C×H×W.
 * @param weight O×(C/groups)×kh×kw.
 * @param bias O, or null.
 * @returns B×O×H'×W'.
 */
export function conv(
  x: Value,
  weight: Value,
  bias: Value | null,
  options: ConvOptions = {},
): Value {
  const g = convGeometry(options);
  if (x.rank !== 4 || weight.rank !== 4) fail("conv", "input and weight need four axes", x, weight);
  // The channels may be symbolic: in a weight's gradient they are the batch.
  const perGroup = weight.shape[1]!;
  const [out, kh, kw] = [0, 2, 3].map((axis) => staticSize("conv", weight, axis)) as [
    number,
    number,
    number,
  ];
  const channels = productOf([perGroup, g.groups]);
  if (x.shape[1] !== channels || out % g.groups !== 0) {
    fail(
      "conv",
      `${x.shape[1]} channels in, weight takes ${perGroup} × ${g.groups} groups`,
      x,
      weight,
    );
  }
  if (bias !== null && (bias.rank !== 1 || bias.shape[0] !== out)) {
    fail("conv", `the bias must have ${out} elements`, x, weight, bias);
  }
  const height = convSize(x.shape[2]!, kh, g.strides[0], g.pads[0] + g.pads[2], g.dilations[0]);
  const width = convSize(x.shape[3]!, kw, g.strides[1], g.pads[1] + g.pads[3], g.dilations[1]);
  if (Number(height) < 1 || Number(width) < 1) {
    fail("conv", "the window is larger than the input", x, weight);
  }
  const shape = [x.shape[0]!, out, height, width];
  return one("Conv", [x, weight, bias], { dtype: x.dtype, shape }, convAttributes([kh, kw], g));
}

/**
 * Transposed 2-D convolution, the adjoint of {@linkcode conv} with the same geometry.
 *
 * @param x B×C×H×W.
 * @param weight C×(O/groups)×kh×kw.
 * @param bias O, or null.
 * @param options Geometry, and rows and columns added at the end of the result.
 * @returns B×O×H'×W'.
 */
export function convTranspose(
  x: Value,
  weight: Value,
  bias: Value | null,
  options: ConvOptions & { outputPadding?: readonly [number, number] } = {},
): Value {
  const { outputPadding = [0, 0], ...geometry } = options;
  const g = convGeometry(geometry);
  if (x.rank !== 4 || weight.rank !== 4) {
    fail("convTranspose", "input and weight need four axes", x, weight);
  }
  const [channels, perGroup, kh, kw] = weight.staticShape() as [number, number, number, number];
  if (x.shape[1] !== channels || channels % g.groups !== 0) {
    fail("convTranspose", `the weight takes ${channels} channels, ${g.groups} groups`, x, weight);
  }
  if (bias !== null && (bias.rank !== 1 || bias.shape[0] !== perGroup * g.groups)) {
    fail("convTranspose", `the bias must have ${perGroup * g.groups} elements`, x, weight, bias);
  }
  const size = (dim: Dim, kernel: number, axis: 0 | 1): Dim => {
    const stride = g.strides[axis];
    const extra = g.dilations[axis] * (kernel - 1) + 1 - stride + outputPadding[axis] -
      g.pads[axis] - g.pads[axis + 2]!;
    return sumOf([productOf([dim, stride]), extra]);
  };
  const shape = [
    x.shape[0]!,
    perGroup * g.groups,
    size(x.shape[2]!, kh, 0),
    size(x.shape[3]!, kw, 1),
  ];
  if (Number(shape[2]) < 1 || Number(shape[3]) < 1) {
    fail("convTranspose", "the padding leaves nothing of the result", x, weight);
  }
  return one("ConvTranspose", [x, weight, bias], { dtype: x.dtype, shape }, {
    ...convAttributes([kh, kw], g),
    output_padding: { ints: outputPadding },
  });
}
