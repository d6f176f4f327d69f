/**
 * Bare ONNX Runtime: `onnxruntime-node` on the CPU and `onnxruntime-web`'s WebGPU provider on the
 * device that the kernels use. On WebGPU the inputs lie in device memory and the outputs stay
 * there, as the kernels' do.
 *
 * @module
 */
import { Graph } from "../../../lib/graph/graph.ts";
import * as ops from "../../../lib/graph/ops.ts";
import type { Engine } from "../../../lib/runtime.ts";
import { HostTensor, type Tensor } from "../../../lib/tensor.ts";
import { GpuTensor } from "../../../kernels/dispatch/gpu_tensor.ts";
import { joined } from "../contest.ts";
import type { Competitor, Side } from "../harness.ts";
import type { KernelTask, PoolingTask } from "../tasks.ts";
import { type OnnxTask, onnxTask } from "./onnx_graphs.ts";

/** An engine and its version. */
export interface BareEngine {
  /** Loads graphs. */
  readonly engine: Engine;
  /** Of the package. */
  readonly version: string;
}

/** The graph of each task: on the CPU, or on a device. */
export function bareOrt({ engine, version }: BareEngine, gpu: GPUDevice | null) {
  return {
    name: gpu ? "onnxruntime-web WebGPU" : "onnxruntime-node",
    version,
    gpu,
    open: (task) => openGraph(engine, gpu, onnxTask(task)),
  } satisfies Competitor<KernelTask>;
}

/**
 * The matrix product of pooling alone: the 0/1 weights, ready-made, times the features, which are
 * P×D, the faster order. What is left of mask pooling when all else were free.
 */
export function bareProduct({ engine, version }: BareEngine) {
  return {
    name: "onnxruntime-node MatMul",
    version,
    open(task) {
      const { features, maskLogits } = task as PoolingTask;
      const [d, h, w] = features.shape as [number, number, number];
      const n = maskLogits.shape[0]!;
      const graph = new Graph("product");
      const a = graph.input("a", [n, h * w]), b = graph.input("b", [h * w, d]);
      graph.output("y", ops.matMul(a, b));
      const weights = new Float32Array(n * h * w).map((_, i) => i % 2);
      const transposed = new Float32Array(features.data.length);
      for (let i = 0; i < d; i++) {
        for (let p = 0; p < h * w; p++) transposed[p * d + i] = features.data[i * h * w + p]!;
      }
      return openGraph(engine, null, {
        model: graph.toOnnx(),
        inputs: {
          a: new HostTensor("float32", [n, h * w], weights),
          b: new HostTensor("float32", [h * w, d], transposed),
        },
        outputs: [],
      });
    },
  } satisfies Competitor<KernelTask>;
}

async function openGraph(engine: Engine, gpu: GPUDevice | null, graph: OnnxTask): Promise<Side> {
  const session = await engine.load(graph.model);
  const inputs: Record<string, Tensor> = {};
  for (const [name, tensor] of Object.entries(graph.inputs)) {
    inputs[name] = gpu ? await GpuTensor.upload(gpu, tensor, name) : tensor;
  }
  const settle = async () => {
    if (gpu) await gpu.queue.onSubmittedWorkDone();
  };
  return {
    async time(times) {
      const begin = performance.now();
      for (let i = 0; i < times; i++) {
        const outputs = await session.run(inputs);
        await settle();
        for (const output of Object.values(outputs)) output.dispose();
      }
      return performance.now() - begin;
    },
    ...(graph.outputs.length === 0 ? {} : {
      async result() {
        const outputs = await session.run(inputs);
        const data = await Promise.all(graph.outputs.map((name) => outputs[name]!.read()));
        for (const output of Object.values(outputs)) output.dispose();
        return joined(data as (Float32Array | Int32Array)[]);
      },
    }),
    async dispose() {
      for (const input of Object.values(inputs)) input.dispose();
      await session.dispose();
    },
  };
}
