/**
 * The kernels on a device, as the laws want them.
 *
 * @module
 */
import type { Device, Engine, Session } from "../lib/runtime.ts";
import { PixelClassification } from "./classification/classification.ts";
import type { ClassificationInput } from "./classification/contract.ts";
import { GpuClassification } from "./classification/gpu.ts";
import type { ClassificationImplementation, ClassificationNumbers } from "./classification/laws.ts";
import { Gfa } from "./gfa/gfa.ts";
import type { GfaImplementation } from "./gfa/laws.ts";
import type { MaskPoolingImplementation } from "./mask_pooling/laws.ts";
import { MaskPooling } from "./mask_pooling/mask_pooling.ts";

/** All kernels of one device; disposing of it frees them, and leaves the device. */
export interface KernelsOnDevice
  extends
    Required<Omit<GfaImplementation, "fresh">>,
    Required<Omit<MaskPoolingImplementation, "fresh">>,
    ClassificationImplementation,
    AsyncDisposable {
  /** Whether the device takes float16. */
  readonly float16: boolean;
}

interface Kernel {
  dispose(): Promise<void>;
}

/** Kernels that are kept for their next use; the cases of a law share few options. */
const kept = 32;

/** Loads a model once, however many kernels ask for it: ω and λ are no part of GFA's graphs. */
function loadingOnce(engine: Engine): { engine: Engine; dispose(): Promise<void> } {
  const loaded = new Map<string, Promise<Session>>();
  const latin1 = new TextDecoder("latin1");
  return {
    engine: {
      name: engine.name,
      kind: engine.kind,
      async load(model, options) {
        const key = `${options?.threads} ${latin1.decode(model)}`;
        const loading = loaded.get(key) ?? engine.load(model, options);
        loaded.set(key, loading);
        const session = await loading;
        return {
          inputNames: session.inputNames,
          outputNames: session.outputNames,
          run: (inputs, outputs) => session.run(inputs, outputs),
          dispose: () => Promise.resolve(),
        };
      },
    },
    async dispose() {
      for (const session of loaded.values()) await (await session).dispose();
      loaded.clear();
    },
  };
}

async function labels(
  kernel: Pick<PixelClassification, "run">,
  input: ClassificationInput,
): Promise<ClassificationNumbers> {
  using out = await kernel.run(input);
  const [labels, scores] = await Promise.all([out.labels.read(), out.scores.read()]);
  return { labels, scores };
}

function unpruned(gpu: GPUDevice): ClassificationImplementation["classification"] {
  return (input, { height, width, threshold = 0 }) =>
    labels(new GpuClassification(gpu, { threshold }, { prune: false }), {
      ...input,
      height,
      width,
    });
}

/**
 * This package's own kernels, for {@linkcode gfaLaws}, {@linkcode maskPoolingLaws} and
 * {@linkcode classificationLaws}.
 *
 * @param device Where they run; the caller disposes of it.
 */
export function kernelsOn(device: Device): KernelsOnDevice {
  const idle = new Map<string, Kernel>();
  const sessions = loadingOnce(device.engine);
  const shared: Device = {
    kind: device.kind,
    description: device.description,
    fallbackReason: device.fallbackReason,
    engine: sessions.engine,
    gpu: device.gpu,
    assertAlive: () => device.assertAlive(),
    dispose: () => device.dispose(),
  };

  /** Uses a kernel that nobody else is using. */
  async function withKernel<K extends Kernel, Options, R>(
    Kernel: new (device: Device, options: Options) => K,
    options: Options,
    use: (kernel: K) => Promise<R>,
  ): Promise<R> {
    const key = `${Kernel.name} ${JSON.stringify(options)}`;
    const kernel = (idle.get(key) ?? new Kernel(shared, options)) as K;
    idle.delete(key);
    try {
      return await use(kernel);
    } finally {
      const other = idle.get(key);
      idle.set(key, kernel);
      await other?.dispose();
      for (const [key, kernel] of idle) {
        if (idle.size <= kept) break;
        idle.delete(key);
        await kernel.dispose();
      }
    }
  }

  return {
    float16: device.gpu === null || device.gpu.features.has("shader-f16"),
    maskPooling: (input, options) =>
      withKernel(MaskPooling, options, async (kernel) => {
        using out = await kernel.run(input);
        const [pooled, area] = await Promise.all([out.pooled.read(), out.area.read()]);
        return { pooled, area, empty: await out.empty() };
      }),
    maskPoolingGradients: (input, cotangent, options) =>
      withKernel(MaskPooling, options, async (kernel) => {
        using out = await kernel.gradients(input, cotangent);
        const [features, maskLogits] = await Promise.all([
          out.features.read(),
          out.maskLogits?.read() ?? null,
        ]);
        return { features, maskLogits };
      }),
    gfa: (input, options) =>
      withKernel(Gfa, options, async (kernel) => {
        using out = await kernel.run(input);
        const [clip, query] = await Promise.all([out.clip.read(), out.query.read()]);
        return { clip, query, method: out.method, errorBound: out.errorBound };
      }),
    gfaGradients: (input, cotangent, options) =>
      withKernel(Gfa, options, async (kernel) => {
        using out = await kernel.gradients(input, cotangent);
        const [clip, query] = await Promise.all([out.clip.read(), out.query.read()]);
        return { clip, query };
      }),
    classification: (input, { height, width, threshold = 0 }) =>
      labels(new PixelClassification(shared, { threshold }), { ...input, height, width }),
    ...(device.gpu === null ? {} : { unprunedClassification: unpruned(device.gpu) }),
    async [Symbol.asyncDispose]() {
      for (const kernel of idle.values()) await kernel.dispose();
      idle.clear();
      await sessions.dispose();
    },
  };
}
