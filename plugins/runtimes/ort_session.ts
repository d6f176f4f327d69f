/**
 * What the ONNX Runtime packages have in common: tensors back and forth, checked before.
 *
 * @module
 */
import type {
  Env,
  InferenceSession,
  Tensor as OrtTensor,
  TensorConstructor,
} from "onnxruntime-common";
import {
  DeviceError,
  DeviceLostError,
  ModelError,
  OptionError,
  ShapeError,
} from "../../lib/errors.ts";
import { firstLine } from "../../lib/first_line.ts";
import type { Session } from "../../lib/runtime.ts";
import { type DType, formatShape, HostTensor, sizeOf, type Tensor } from "../../lib/tensor.ts";
import { KernelContext, tensorUsage } from "../../kernels/dispatch/context.ts";
import { GpuTensor } from "../../kernels/dispatch/gpu_tensor.ts";
import { checkInputs, checkOutputs, type NamedTensors } from "./check_tensors.ts";

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
  return firstLine(error).trim();
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

const elementBytes: Readonly<Record<DType, number>> = {
  float32: 4,
  float64: 8,
  float16: 2,
  int32: 4,
  int64: 8,
  uint8: 1,
  bool: 1,
};

function isDType(type: string): type is DType {
  return Object.hasOwn(elementBytes, type);
}

/** Checks a bound on threads. */
export function checkThreads(threads: number | undefined): void {
  if (threads !== undefined && !(Number.isSafeInteger(threads) && threads >= 1)) {
    throw new OptionError(`threads is ${threads}; must be a positive integer`);
  }
}

/** How long a failure may precede the report of the lost device that caused it, in ms. */
const lossDelay = 2000;

/** Runs a task, perhaps after others. */
export type Exclusively = <T>(task: () => Promise<T>) => Promise<T>;

/** What differs between the packages. */
export interface OrtSessionOptions {
  /** The device whose buffers it takes and gives; left out on the CPU. */
  gpu?: GPUDevice;
  /** Why the device is gone; null while it lives. */
  isLost?: () => string | null;
  /** Called when a run fails because the device has gone away. */
  onLossInRun?: () => void;
  /** Runs a task after those before it, where the package can't overlap them. */
  exclusively?: Exclusively;
  /** Whether the package writes to host tensors that it is given for outputs. */
  writesToHost?: boolean;
}

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
  readonly #onLossInRun: () => void;
  readonly #exclusively: Exclusively;
  readonly #writesToHost: boolean;
  #disposed = false;
  #failure: string | null = null;

  /**
   * @param ort The package that made `session`.
   * @param session The loaded model.
   * @param options What differs between the packages.
   */
  constructor(ort: Ort, session: InferenceSession, options: OrtSessionOptions = {}) {
    this.#ort = ort;
    this.#session = session;
    this.#gpu = options.gpu ?? null;
    this.#isLost = options.isLost ?? (() => null);
    this.#onLossInRun = options.onLossInRun ?? (() => {});
    this.#exclusively = options.exclusively ?? ((task) => task());
    this.#writesToHost = options.writesToHost ?? false;
    this.inputNames = session.inputNames;
    this.outputNames = session.outputNames;
  }

  /**
   * Executes the graph once.
   *
   * @throws {ShapeError} If an input is missing, unknown, or of another type or shape than declared;
   * or a given output unknown or of another type or shape.
   * @throws {OptionError} If a given output shares memory with an input or another output, or is on
   * a device where the engine has none.
   * @throws {DeviceError} If a tensor is in the memory of another device.
   * @throws {DeviceLostError} If the device has gone away.
   * @throws {ModelError} If an operator fails.
   */
  async run(inputs: NamedTensors, outputs: NamedTensors = {}): Promise<Record<string, Tensor>> {
    this.#assertUsable();
    const sizes = checkInputs(this.#session.inputMetadata, inputs);
    const certain = checkOutputs(this.#session.outputMetadata, outputs, inputs, sizes);
    this.#checkPlaces("input", inputs);
    this.#checkPlaces("output", outputs);
    const feeds: Record<string, OrtTensor> = {};
    const fetches: Record<string, OrtTensor | null> = {};
    const padded: GpuTensor[] = [];
    try {
      for (const name of this.inputNames) {
        let tensor = inputs[name]!;
        if (this.#gpu && isOnDevice(tensor) && !isPadded(tensor)) {
          padded.push(tensor = await pad(tensor));
        }
        feeds[name] = await this.#toOrt(tensor);
      }
      for (const name of this.outputNames) {
        const given = certain.has(name) ? outputs[name]! : null;
        fetches[name] = given && this.#isWrittenInPlace(given) ? await this.#toOrt(given) : null;
      }
      const results = await this.#exclusively(() => this.#execute(feeds, fetches));
      return await this.#collect(results, fetches, outputs);
    } finally {
      for (const tensor of padded) tensor.dispose();
    }
  }

  /** Frees the session; a second call does nothing. */
  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await this.#exclusively(() => this.#session.release());
  }

  #assertUsable(): void {
    if (this.#disposed) throw new ModelError("the session was disposed of; load the model again");
    const lost = this.#isLost();
    if (lost !== null) throw new DeviceLostError(lost);
    if (this.#failure !== null) throw new ModelError(this.#failure);
  }

  async #execute(
    feeds: Record<string, OrtTensor>,
    fetches: Record<string, OrtTensor | null>,
  ): Promise<InferenceSession.ReturnType> {
    this.#assertUsable();
    // A loss that is noticed only in the run leaves onnxruntime-web broken.
    if (this.#gpu) await KernelContext.of(this.#gpu).assertAlive();
    try {
      return await this.#session.run(feeds, fetches);
    } catch (error) {
      const why = reason(error);
      if (this.#gpu) {
        // Seen with onnxruntime-web 1.30: the next run of this session would never end.
        this.#failure = `the model failed in an earlier run on WebGPU (${why}); load it again`;
        const lost = await this.#awaitLoss(this.#gpu);
        if (lost !== null) {
          this.#onLossInRun();
          throw lost;
        }
      }
      throw new ModelError(`the model failed while running: ${why}`, { cause: error });
    }
  }

  /** After a failure: the loss of the device that would explain it. */
  async #awaitLoss(gpu: GPUDevice): Promise<DeviceLostError | null> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const patience = new Promise<null>((resolve) => timer = setTimeout(resolve, lossDelay, null));
    const info = await Promise.race([gpu.lost, patience]);
    clearTimeout(timer);
    if (info === null) return null;
    return new DeviceLostError(
      this.#isLost() ?? `the WebGPU device was lost (${info.message || info.reason})`,
    );
  }

  #checkPlaces(kind: "input" | "output", tensors: NamedTensors): void {
    for (const [name, tensor] of Object.entries(tensors)) {
      if (kind === "output" && !(tensor instanceof HostTensor)) {
        const where = this.#gpu === null ? "the model runs on the CPU" : "WebGPU has no float64";
        if (!(tensor instanceof GpuTensor)) {
          throw new OptionError(`output "${name}" must be a HostTensor or a GpuTensor`);
        }
        if (this.#gpu === null || tensor.dtype === "float64") {
          throw new OptionError(
            `output "${name}" is on a WebGPU device, but ${where}; must be a HostTensor`,
          );
        }
      }
      if (this.#gpu && tensor instanceof GpuTensor && tensor.gpu !== this.#gpu) {
        throw new DeviceError(
          `${kind} "${name}" is in the memory of another WebGPU device than the model; ` +
            "read it to the host first",
        );
      }
    }
  }

  #isWrittenInPlace(tensor: Tensor): boolean {
    return tensor instanceof HostTensor
      ? this.#writesToHost
      : isOnDevice(tensor) && isPadded(tensor);
  }

  /** The results as tensors: the given ones where there are any. */
  async #collect(
    results: InferenceSession.ReturnType,
    fetches: Readonly<Record<string, OrtTensor | null>>,
    outputs: NamedTensors,
  ): Promise<Record<string, Tensor>> {
    const tensors: Record<string, Tensor> = {};
    const copies: [name: string, made: Tensor][] = [];
    for (const name of this.outputNames) {
      const given = outputs[name];
      if (fetches[name]) {
        tensors[name] = given!;
        if (given instanceof HostTensor) free(results[name]!.data as HostTensor["data"], given);
        continue;
      }
      tensors[name] = this.#fromOrt(name, results[name]!);
      if (given) copies.push([name, tensors[name]]);
    }
    try {
      for (const [name, { shape }] of copies) {
        const given = outputs[name]!;
        if (shape.length === given.shape.length && shape.every((n, i) => n === given.shape[i])) {
          continue;
        }
        throw new ShapeError(
          `output "${name}" has shape ${formatShape(given.shape)}; must be ${formatShape(shape)}`,
        );
      }
      await Promise.all(copies.map(([name, made]) => this.#copy(made, outputs[name]!)));
    } catch (error) {
      for (const [name, tensor] of Object.entries(tensors)) {
        if (tensor !== outputs[name]) tensor.dispose();
      }
      throw error;
    }
    for (const [name, made] of copies) {
      const given = outputs[name]!;
      if (made instanceof HostTensor) free(made.data, given);
      made.dispose();
      tensors[name] = given;
    }
    return tensors;
  }

  /** Copies a result to the tensor that was given for it, of the same type and shape. */
  async #copy(made: Tensor, given: Tensor): Promise<void> {
    if (given instanceof HostTensor) {
      // The two have the same element type, of which TypeScript knows nothing here.
      (given.data as Uint8Array).set(await made.read() as Uint8Array);
    } else if (made instanceof GpuTensor && given instanceof GpuTensor) {
      await copyOnDevice("output", made, given.buffer);
    }
  }

  async #toOrt(tensor: Tensor): Promise<OrtTensor> {
    if (this.#gpu && isOnDevice(tensor)) {
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

/** On a device, and of a type that ONNX Runtime takes there. */
function isOnDevice(tensor: Tensor): tensor is GpuTensor<Exclude<DType, "float64">> {
  return tensor instanceof GpuTensor && tensor.dtype !== "float64";
}

function bytesOf({ dtype, shape }: Tensor): number {
  return sizeOf(shape) * elementBytes[dtype];
}

/** ONNX Runtime's kernels take four numbers at a time, and drop the last ones of a shorter buffer. */
const padding = 16;

function isPadded(tensor: GpuTensor): boolean {
  return tensor.buffer.size >= Math.ceil(bytesOf(tensor) / padding) * padding;
}

/** A copy whose buffer is long enough for ONNX Runtime. */
async function pad(tensor: GpuTensor): Promise<GpuTensor> {
  const { gpu, dtype, shape } = tensor;
  const context = KernelContext.of(gpu);
  const bytes = Math.ceil(bytesOf(tensor) / padding) * padding;
  const buffer = context.createBuffer("padded input", bytes, tensorUsage);
  const copy = GpuTensor.wrap(gpu, buffer, dtype, shape, () => context.destroyBuffer(buffer));
  try {
    await copyOnDevice("input", tensor, buffer);
    return copy;
  } catch (error) {
    copy.dispose();
    throw error;
  }
}

/** Copies a tensor's elements to a buffer on the same device. */
async function copyOnDevice(what: string, tensor: GpuTensor, to: GPUBuffer): Promise<void> {
  const { gpu, buffer } = tensor;
  await KernelContext.of(gpu).guard(`copy of an ${what}`, () => {
    const encoder = gpu.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, 0, to, 0, Math.ceil(bytesOf(tensor) / 4) * 4);
    gpu.queue.submit([encoder.finish()]);
  });
}

/**
 * Frees the memory of a result whose elements are in a given tensor: the garbage collector would get
 * round to it much later. The native binding returns such copies although it has written in place.
 */
function free({ buffer }: HostTensor["data"], given: Tensor): void {
  const isGivenOne = given instanceof HostTensor && given.data.buffer === buffer;
  if (buffer instanceof ArrayBuffer && !isGivenOne) buffer.transfer?.(0);
}
