/**
 * What is said about a model's tensors before it runs: ONNX Runtime's own complaints differ between
 * packages, come late and don't always name the tensor.
 *
 * @module
 */
import type { InferenceSession } from "onnxruntime-common";
import { OptionError, ShapeError } from "../../lib/errors.ts";
import { formatShape, HostTensor, type Tensor } from "../../lib/tensor.ts";
import { GpuTensor } from "../../kernels/dispatch/gpu_tensor.ts";

/** Tensors by the names of a model's inputs or outputs. */
export type NamedTensors = Readonly<Record<string, Tensor>>;

type Metadata = InferenceSession.ValueMetadata;

/** The sizes that a run's inputs give to the model's symbolic axes, and the input that did. */
export type NamedSizes = ReadonlyMap<string, { readonly size: number; readonly input: string }>;

function quoted(metadata: readonly Metadata[]): string {
  return metadata.map(({ name }) => `"${name}"`).join(", ");
}

function refuseUnknown(
  kind: "input" | "output",
  metadata: readonly Metadata[],
  given: NamedTensors,
): void {
  for (const name of Object.keys(given)) {
    if (metadata.some((meta) => meta.name === name)) continue;
    const verb = kind === "input" ? "takes" : "gives";
    throw new ShapeError(`${kind} "${name}": the model ${verb} ${quoted(metadata)}`);
  }
}

/** Type and shape of one tensor, against a declared shape whose unknown sizes are strings. */
function checkTensor(
  what: string,
  meta: Metadata & { isTensor: true },
  { dtype, shape }: Tensor,
  declared: readonly (number | string)[],
): void {
  if (dtype !== meta.type) throw new ShapeError(`${what} is ${dtype}; must be ${meta.type}`);
  const fits = shape.length === declared.length &&
    declared.every((dim, i) => typeof dim === "string" || dim === shape[i]);
  if (!fits) {
    const is = formatShape(declared);
    const was = formatShape(meta.shape);
    throw new ShapeError(
      `${what} has shape ${formatShape(shape)}; must be ${is}${is === was ? "" : ` (${was})`}`,
    );
  }
}

/**
 * Checks the inputs of a run.
 *
 * @param metadata What the model takes.
 * @param inputs What it is given.
 * @returns The sizes of the model's symbolic axes.
 * @throws {ShapeError} If an input is missing, unknown, or of another type or shape than declared.
 */
export function checkInputs(metadata: readonly Metadata[], inputs: NamedTensors): NamedSizes {
  refuseUnknown("input", metadata, inputs);
  const sizes = new Map<string, { size: number; input: string }>();
  for (const meta of metadata) {
    const tensor = inputs[meta.name];
    if (!tensor) {
      throw new ShapeError(
        `input "${meta.name}" is missing: the model takes ${quoted(metadata)}`,
      );
    }
    if (!meta.isTensor) continue;
    checkTensor(`input "${meta.name}"`, meta, tensor, meta.shape);
    meta.shape.forEach((dim, i) => {
      if (typeof dim !== "string" || dim === "") return;
      const size = tensor.shape[i]!;
      const first = sizes.get(dim);
      if (!first) sizes.set(dim, { size, input: meta.name });
      else if (first.size !== size) {
        throw new ShapeError(
          `input "${meta.name}" has shape ${
            formatShape(tensor.shape)
          } where ${dim} = ${size}, but input "${first.input}" has ${dim} = ${first.size}; must agree`,
        );
      }
    });
  }
  return sizes;
}

/**
 * Checks tensors that results are to be written to.
 *
 * @param metadata What the model gives.
 * @param outputs The tensors for some of its outputs.
 * @param inputs The run's inputs.
 * @param sizes What {@linkcode checkInputs} returned.
 * @returns The names of those whose whole shape is known, and right, before the model runs.
 * @throws {ShapeError} If an output is unknown, or of another type or shape than declared.
 * @throws {OptionError} If two outputs, or an output and an input, share memory.
 */
export function checkOutputs(
  metadata: readonly Metadata[],
  outputs: NamedTensors,
  inputs: NamedTensors,
  sizes: NamedSizes,
): ReadonlySet<string> {
  refuseUnknown("output", metadata, outputs);
  const certain = new Set<string>();
  const others = Object.entries(inputs).map(([name, tensor]) => ({
    what: `input "${name}"`,
    tensor,
  }));
  for (const meta of metadata) {
    const tensor = outputs[meta.name];
    if (!tensor || !meta.isTensor) continue;
    const what = `output "${meta.name}"`;
    const declared = meta.shape.map((dim) =>
      typeof dim === "string" ? sizes.get(dim)?.size ?? dim : dim
    );
    checkTensor(what, meta, tensor, declared);
    if (declared.every((dim) => typeof dim === "number")) certain.add(meta.name);
    for (const other of others) {
      if (!overlap(tensor, other.tensor)) continue;
      throw new OptionError(`${what} shares memory with ${other.what}; must have its own`);
    }
    others.push({ what, tensor });
  }
  return certain;
}

function overlap(a: Tensor, b: Tensor): boolean {
  if (a instanceof GpuTensor && b instanceof GpuTensor) return a.buffer === b.buffer;
  if (!(a instanceof HostTensor && b instanceof HostTensor)) return false;
  const [x, y] = [a.data, b.data];
  return x.buffer === y.buffer && x.byteOffset < y.byteOffset + y.byteLength &&
    y.byteOffset < x.byteOffset + x.byteLength;
}
