/**
 * WGSL in parts: what kernels share, and what a device's features change.
 *
 * @module
 */

/** The element type of a kernel's input. */
export type ElementType = "f32" | "f16";

/** What a kernel asks for beside its own code. */
export interface ShaderOptions {
  /** Names of element types, which the code uses as `array<Name>`; sums are float32 all the same. */
  readonly types?: Readonly<Record<string, ElementType>>;
  /** Adds `sum_over_workgroup` and `max_over_workgroup` for workgroups of 64. */
  readonly reduce?: boolean;
}

// Two levels of eight rather than six of two: a barrier costs more than the sums between.
const reduceBySteps = `
var<workgroup> lanes: array<f32, 64>;
var<workgroup> parts: array<f32, 8>;

fn sum_over_workgroup(value: f32, local: u32) -> f32 {
  lanes[local] = value;
  workgroupBarrier();
  if (local < 8u) {
    var part = lanes[local];
    for (var i = 8u; i < 64u; i += 8u) {
      part += lanes[local + i];
    }
    parts[local] = part;
  }
  workgroupBarrier();
  var sum = parts[0];
  for (var i = 1u; i < 8u; i++) {
    sum += parts[i];
  }
  return sum;
}

fn max_over_workgroup(value: f32, local: u32) -> f32 {
  lanes[local] = value;
  workgroupBarrier();
  if (local < 8u) {
    var part = lanes[local];
    for (var i = 8u; i < 64u; i += 8u) {
      part = max(part, lanes[local + i]);
    }
    parts[local] = part;
  }
  workgroupBarrier();
  var largest = parts[0];
  for (var i = 1u; i < 8u; i++) {
    largest = max(largest, parts[i]);
  }
  return largest;
}
`;

// How invocations are dealt to subgroups is the driver's choice, so each subgroup leaves its part
// at one of its own places, and the places are added up in a fixed order.
const reduceBySubgroups = `
var<workgroup> lanes: array<f32, 64>;

fn sum_over_workgroup(value: f32, local: u32) -> f32 {
  let part = subgroupAdd(value);
  let lane = subgroupExclusiveAdd(1u);
  let size = subgroupAdd(1u);
  workgroupBarrier();
  lanes[local] = select(0.0, part, lane == 0u);
  workgroupBarrier();
  var rest = 0.0;
  for (var i = lane; i < 64u; i += size) {
    rest += lanes[i];
  }
  return subgroupAdd(rest);
}

fn max_over_workgroup(value: f32, local: u32) -> f32 {
  let part = subgroupMax(value);
  let lane = subgroupExclusiveAdd(1u);
  let size = subgroupAdd(1u);
  workgroupBarrier();
  lanes[local] = part;
  workgroupBarrier();
  var rest = part;
  for (var i = lane; i < 64u; i += size) {
    rest = max(rest, lanes[i]);
  }
  return subgroupMax(rest);
}
`;

/**
 * Completes a kernel's code.
 *
 * @param code The kernel, with the entry point `main`.
 * @param options Types and helpers that it uses.
 * @param subgroups Whether the device has subgroup operations.
 */
export function composeShader(code: string, options: ShaderOptions, subgroups: boolean): string {
  const types = Object.entries(options.types ?? {});
  const useSubgroups = subgroups && options.reduce === true;
  return [
    ...(types.some(([, type]) => type === "f16") ? ["enable f16;"] : []),
    ...(useSubgroups ? ["enable subgroups;"] : []),
    ...types.map(([name, type]) => `alias ${name} = ${type};`),
    ...(options.reduce ? [useSubgroups ? reduceBySubgroups : reduceBySteps] : []),
    code,
  ].join("\n");
}

/** Distinguishes the pipelines of one kernel. */
export function shaderKey(options: ShaderOptions, subgroups: boolean): string {
  const types = Object.entries(options.types ?? {}).map(([name, type]) => `${name}=${type}`);
  return [...types, ...(subgroups && options.reduce ? ["subgroups"] : [])].join(",");
}
