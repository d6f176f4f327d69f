/**
 * What the ONNX Runtime packages have in common: tensors back and forth, and checked inputs.
 *
 * @module
 */
import type {
  Env,
  InferenceSession,
  Tensor as OrtTensor,
  TensorConstructor,
} from "onnxruntime-common";
import { DeviceLostError, ModelError, ShapeError } from "../../lib/errors.ts";
import type { Session } from "../../lib/runtime.ts";
import { type DType, formatShape, HostTensor, type Tensor } from "../../lib/tensor.ts";
import { GpuTensor } from "../../kernels/dispatch/gpu_tensor.ts";

/** The part of an ONNX Runtime package that the engines use. */
export interface Ort {
  /** Process-wide settings. */
  readonly env: Env;
  /** The constructor of its tensors. */
  readonly Tensor: TensorConstructor;
  /** Loads models. */
  readonly InferenceSession: {
    create(model: Uint8Array, options?: InferenceSession.SessionOptions): Promise<InferenceSession>;
  };
}

/** The first line of whatever was thrown. */
export function reason(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split("\n", 1)[0]!.trim();
}

/** Turns whatever ONNX Runtime says about a model into one line. */
export function modelError(error: unknown, bytes: number): ModelError {
  const detail = reason(error)
    .replace(/^Can't create a session\. */, "")
    .replace(/^(ERROR_CODE: \d+, )?ERROR_MESSAGE: */, "")
    .replace(/\.$/, "");
  return new ModelError(
    `model of ${bytes} bytes can't be loaded: ${detail}; give the bytes of a whole .onnx file`,
    { cause: error },
  );
}

const dtypes: ReadonlySet<string> = new Set<DType>(
  ["float32", "float64", "float16", "int32", "int64", "uint8", "bool"],
);

function isDType(type: string): type is DType {
  return dtypes.has(type);
}

/** Runs a task, perhaps after others. */
export type Exclusively = <T>(task: () => Promise<T>) => Promise<T>;

/** A {@linkcode Session} over an ONNX Runtime session; on a device when `gpu` is given. */
export class OrtSession implements Session {
  /** Names of the graph's inputs. */
  readonly inputNames: readonly string[];
  /** Names of the graph's outputs. */
  readonly outputNames: readonly string[];
  readonly #ort: Ort;
  readonly #session: InferenceSession;
  readonly #gpu: GPUDevice | null;
  readonly #isLost: () => string | null;
  readonly #exclusively: Exclusively;
  #disposed = false;

  /**
   * @param ort The package that made `session`.
   * @param session The loaded model.
   * @param gpu The device whose buffers it takes and gives; null on the CPU.
   * @param isLost Why the device is gone; null while it lives.
   * @param exclusively Runs a task after those before it, where the package can't overlap them.
   */
  constructor(
    ort: Ort,
    session: InferenceSession,
    gpu: GPUDevice | null = null,
    isLost: () => string | null = () => null,
    exclusively: Exclusively = (task) => task(),
  ) {
    this.#ort = ort;
    this.#session = session;
    this.#gpu = gpu;
    this.#isLost = isLost;
    this.#exclusively = exclusively;
    this.inputNames = session.inputNames;
    this.outputNames = session.outputNames;
  }

  /**
   * Executes the graph once.
   *
   * @throws {ShapeError} If an input is missing, unknown, or of another type or shape than declared.
   * @throws {DeviceLostError} If the device has gone away.
   * @throws {ModelError} If an operator fails.
   */
  async run(inputs: Readonly<Record<string, Tensor>>): Promise<Record<string, Tensor>> {
    if (this.#disposed) throw new ModelError("the session was disposed of; load the model again");
    this.#assertAlive();
    this.#check(inputs);
    const feeds: Record<string, OrtTensor> = {};
    for (const name of this.inputNames) feeds[name] = await this.#toOrt(inputs[name]!);
    let results: InferenceSession.ReturnType;
    try {
      results = await this.#exclusively(() => this.#session.run(feeds));
    } catch (error) {
      this.#assertAlive();
      throw new ModelError(`the model failed while running: ${reason(error)}`, { cause: error });
    }
    const outputs: Record<string, Tensor> = {};
    for (const name of this.outputNames) outputs[name] = this.#fromOrt(name, results[name]!);
    return outputs;
  }

  /** Frees the session; a second call does nothing. */
  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await this.#exclusively(() => this.#session.release());
  }

  #assertAlive(): void {
    const lost = this.#isLost();
    if (lost !== null) throw new DeviceLostError(lost);
  }

  /** ONNX Runtime's own complaints differ between packages and don't always name the input. */
  #check(inputs: Readonly<Record<string, Tensor>>): void {
    const takes = () => `the model takes ${this.inputNames.map((n) => `"${n}"`).join(", ")}`;
    for (const name of Object.keys(inputs)) {
      if (!this.inputNames.includes(name)) throw new ShapeError(`input "${name}": ${takes()}`);
    }
    const sizes = new Map<string, { size: number; input: string }>();
    for (const meta of this.#session.inputMetadata) {
      const tensor = inputs[meta.name];
      if (!tensor) throw new ShapeError(`input "${meta.name}" is missing: ${takes()}`);
      if (!meta.isTensor) continue;
      if (tensor.dtype !== meta.type) {
        throw new ShapeError(`input "${meta.name}" is ${tensor.dtype}; must be ${meta.type}`);
      }
      const { shape } = tensor;
      const fits = shape.length === meta.shape.length &&
        meta.shape.every((dim, i) => typeof dim === "string" || dim === shape[i]);
      if (!fits) {
        throw new ShapeError(
          `input "${meta.name}" has shape ${formatShape(shape)}; must be ${
            formatShape(meta.shape)
          }`,
        );
      }
      meta.shape.forEach((dim, i) => {
        if (typeof dim !== "string" || dim === "") return;
        const size = shape[i]!;
        const first = sizes.get(dim);
        if (!first) sizes.set(dim, { size, input: meta.name });
        else if (first.size !== size) {
          throw new ShapeError(
            `input "${meta.name}" has shape ${
              formatShape(shape)
            } where ${dim} = ${size}, but input "${first.input}" has ${dim} = ${first.size}; must agree`,
          );
        }
      });
    }
  }

  async #toOrt(tensor: Tensor): Promise<OrtTensor> {
    if (
      this.#gpu && tensor instanceof GpuTensor && tensor.gpu === this.#gpu &&
      tensor.dtype !== "float64"
    ) {
      return this.#ort.Tensor.fromGpuBuffer(tensor.buffer, {
        dataType: tensor.dtype,
        dims: tensor.shape,
      });
    }
    const data = await tensor.read();
    const made = new this.#ort.Tensor(tensor.dtype, data, tensor.shape);
    // Half floats turn into a Float16Array where there is one, of which the native binding sees no
    // byte. It does take their bits.
    if (made.data !== data) Object.defineProperty(made, "cpuData", { value: data });
    return made;
  }

  #fromOrt(name: string, tensor: OrtTensor): Tensor {
    const { type, dims } = tensor;
    if (!isDType(type)) throw new ModelError(`output "${name}" has the unsupported type ${type}`);
    if (tensor.location === "gpu-buffer" && this.#gpu && type !== "float64") {
      // The package's type of its buffers leaves out all but their size.
      const buffer = tensor.gpuBuffer as GPUBuffer;
      return GpuTensor.wrap(this.#gpu, buffer, type, dims, () => tensor.dispose());
    }
    const data = tensor.data as HostTensor["data"];
    // Where the runtime has Float16Array, half floats arrive as one.
    if (type === "float16" && !(data instanceof Uint16Array)) {
      const { buffer, byteOffset, length } = data;
      return new HostTensor(type, dims, new Uint16Array(buffer, byteOffset, length));
    }
    return new HostTensor(type, dims, data);
  }
}
