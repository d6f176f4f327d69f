/**
 * jax-js, on WebGPU and on Wasm.
 *
 * Each task is one jitted function over arrays that are already on the device. Pooling is an
 * einsum of the thresholded masks and the features, which was its quickest order of the axes. GFA
 * sums the Neumann series by repeated squaring: `numpy.linalg.solve` can't be jitted and was
 * slower, 29 ms for a system of 100 on Wasm where the whole of this took 14 ms, 298 ms and 93 ms
 * on a software WebGPU adapter. Classification goes over bands of rows, and over the classes in
 * groups that fit a binding, keeping the best class so far; jax-js has no resize, so a band's rows
 * and columns are gathered and blended.
 *
 * @module
 */
import {
  blockUntilReady,
  defaultDevice,
  getWebGPUDevice,
  init,
  jit,
  nn,
  numpy as np,
} from "@jax-js/jax";
import type { HostTensor } from "../../../lib/tensor.ts";
import { joined } from "../contest.ts";
import type { Competitor, Side } from "../harness.ts";
import type { ClassificationTask, GfaTask, KernelTask, PoolingTask } from "../tasks.ts";
import { bandPlan, resizeTaps } from "./bands.ts";

type Backend = "wasm" | "webgpu";

/** Puts a tensor on the default device. */
function put(tensor: HostTensor<"float32">, shape: readonly number[] = tensor.shape): np.Array {
  return np.array(tensor.data as Float32Array<ArrayBuffer>, {
    shape: [...shape],
    dtype: np.float32,
  });
}

/** Bilinear resize of the last two axes as PyTorch does it, by gathering rows and columns. */
function resize(m: np.Array, height: number, width: number): np.Array {
  const [, h, w] = m.shape as [number, number, number];
  const tap = (at: ArrayLike<number>, dtype = np.int32) => np.array(Array.from(at), { dtype });
  const rows = resizeTaps(h, height), columns = resizeTaps(w, width);
  const blend = (x: np.Array, taps: typeof rows, axis: 1 | 2) => {
    const share = tap(taps.share, np.float32).reshape(axis === 1 ? [-1, 1] : [-1]);
    const low = np.take(x.ref, tap(taps.low), axis);
    return low.ref.add(np.take(x, tap(taps.high), axis).sub(low).mul(share));
  };
  return blend(blend(m, rows, 1), columns, 2);
}

function pooling({ features, maskLogits }: PoolingTask) {
  const [d, h, w] = features.shape as [number, number, number];
  const [n, mh, mw] = maskLogits.shape as [number, number, number];
  const run = jit((x: np.Array, m: np.Array) => {
    const resized = mh === h && mw === w ? m : resize(m, h, w);
    const a = resized.greater(0).astype(np.float32).reshape([n, h * w]);
    const area = a.ref.sum(1, { keepdims: true });
    return np.einsum("np,dp->nd", a, x).div(area.add(1e-8));
  });
  const inputs = [put(features, [d, h * w]), put(maskLogits)] as const;
  return { inputs, run: () => [run(inputs[0].ref, inputs[1].ref)] };
}

function gfa({ clip, query, omega, lambda }: GfaTask) {
  const normalize = (x: np.Array) => x.ref.div(np.sqrt(np.square(x).sum(1, { keepdims: true })));
  const run = jit((rawClip: np.Array, rawQuery: np.Array) => {
    const c = normalize(rawClip), q = normalize(rawQuery);
    const z = nn.softmax(np.einsum("id,jd->ij", c.ref, q.ref).mul(lambda), 1);
    const p = z.ref.div(z.ref.sum(0, { keepdims: true }));
    const system = np.einsum("ij,ik->jk", p.ref, z.ref);
    const right = q.add(np.einsum("ij,id->jd", p, c.ref).mul(omega)).mul(1 - omega);
    // After k rounds the terms 0 … 2ᵏ − 1 are in.
    let fused = right;
    let power = system.mul(omega ** 2);
    for (let terms = 1; omega ** (2 * terms) > 2 ** -25; terms *= 2) {
      if (terms > 1) power = np.matmul(power.ref, power);
      fused = fused.ref.add(np.matmul(power.ref, fused));
    }
    power.dispose();
    const fusedClip = np.matmul(z, fused.ref).mul(omega).add(c.mul(1 - omega));
    return [fusedClip, fused];
  });
  const inputs = [put(clip), put(query)] as const;
  return { inputs, run: () => run(inputs[0].ref, inputs[1].ref) as np.Array[] };
}

function classification(task: ClassificationTask, backend: Backend) {
  const { maskLogits, height, width } = task;
  const [masks, classes] = task.probabilities.shape as [number, number];
  const plan = bandPlan(masks, classes, height, width, backend === "webgpu" ? 96e6 : 32e6);
  const [, h, w] = maskLogits.shape as [number, number, number];
  const m = put(maskLogits);
  const rows = resizeTaps(h, height), columns = resizeTaps(w, width);
  const ints = (x: ArrayLike<number>) => np.array(Int32Array.from(Array.from(x)));
  const floats = (x: ArrayLike<number>) => np.array(Float32Array.from(Array.from(x)));
  const across = [ints(columns.low), ints(columns.high), floats(columns.share)];
  const down = plan.bands.map(({ begin, end }) => [
    ints(rows.low.subarray(begin, end)),
    ints(rows.high.subarray(begin, end)),
    floats(rows.share.subarray(begin, end)).reshape([-1, 1]),
  ]);
  const groups = plan.groups.map(({ begin, end }) => {
    const data = new Float32Array((end - begin) * masks);
    for (let n = 0; n < masks; n++) {
      for (let c = begin; c < end; c++) {
        data[(c - begin) * masks + n] = task.probabilities.data[n * classes + c]!;
      }
    }
    return np.array(data, { shape: [end - begin, masks], dtype: np.float32 });
  });
  const offsets = plan.groups.map(({ begin }) => ints([begin]));
  const lerp = (a: np.Array, b: np.Array, share: np.Array) => a.ref.add(b.sub(a).mul(share));
  const weigh = jit((m: np.Array, down: np.Array[], across: np.Array[]) => {
    const [top, bottom, fy] = down as [np.Array, np.Array, np.Array];
    const [left, right, fx] = across as [np.Array, np.Array, np.Array];
    const band = lerp(np.take(m.ref, top, 1), np.take(m, bottom, 1), fy);
    const all = lerp(np.take(band.ref, left, 2), np.take(band, right, 2), fx);
    return nn.sigmoid(all).reshape([masks, -1]);
  });
  const best = jit((p: np.Array, weights: np.Array) => {
    const scores = np.matmul(p, weights);
    return [np.max(scores.ref, 0), np.argmax(scores, 0)];
  });
  const merge = jit((state: np.Array[], next: np.Array[], offset: np.Array) => {
    const [score, label] = state as [np.Array, np.Array];
    const [nextScore, nextLabel] = next as [np.Array, np.Array];
    const better = nextScore.ref.greater(score.ref);
    return [
      np.where(better.ref, nextScore, score) as np.Array,
      np.where(better, nextLabel.add(offset), label) as np.Array,
    ];
  });
  const run = () =>
    down.flatMap((taps) => {
      const weights = weigh(m.ref, taps.map((x) => x.ref), across.map((x) => x.ref));
      let state: np.Array[] | null = null;
      groups.forEach((p, g) => {
        const next = best(p.ref, weights.ref) as np.Array[];
        state = state === null ? next : merge(state, next, offsets[g]!.ref) as np.Array[];
      });
      weights.dispose();
      return state!;
    });
  return { inputs: [m, ...across, ...down.flat(), ...groups, ...offsets], run };
}

async function open(task: KernelTask, backend: Backend): Promise<Side> {
  defaultDevice(backend);
  const { inputs, run } = task.kernel === "pooling"
    ? pooling(task)
    : task.kernel === "gfa"
    ? gfa(task)
    : classification(task, backend);
  await blockUntilReady(inputs.map((input) => input.ref));
  const settle = async (outputs: np.Array[]) => {
    await Promise.all(outputs.map((output) => output.blockUntilReady()));
    if (backend === "webgpu") await getWebGPUDevice().queue.onSubmittedWorkDone();
  };
  return {
    async time(times) {
      defaultDevice(backend);
      const begin = performance.now();
      for (let i = 0; i < times; i++) {
        const outputs = run();
        await settle(outputs);
        for (const output of outputs) output.dispose();
      }
      return performance.now() - begin;
    },
    async result() {
      defaultDevice(backend);
      const outputs = run();
      const data = await Promise.all(outputs.map((output) => output.data()));
      // Of a classification the odd ones are the labels.
      const kept = task.kernel === "classification" ? data.filter((_, i) => i % 2 === 1) : data;
      return joined(kept);
    },
    dispose() {
      for (const input of inputs) input.dispose();
      return Promise.resolve();
    },
  };
}

/**
 * jax-js on one of its backends.
 *
 * @throws {Error} If the backend can't be had.
 */
export async function jaxJs(backend: Backend, version: string): Promise<Competitor<KernelTask>> {
  const backends = await init(backend);
  if (!backends.includes(backend)) throw new Error(`jax-js finds no ${backend} here`);
  return {
    name: `jax-js ${backend === "wasm" ? "Wasm" : "WebGPU"}`,
    version,
    gpu: backend === "webgpu" ? getWebGPUDevice() : null,
    open: (task) => open(task, backend),
  };
}
