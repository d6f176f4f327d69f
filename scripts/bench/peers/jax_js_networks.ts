/**
 * The networks of `bench graphs` in jax-js on Wasm: one jitted function per pass, the training step
 * with AdamW in it.
 *
 * @module
 */
import {
  blockUntilReady,
  defaultDevice,
  init,
  jit,
  lax,
  nn,
  numpy as np,
  valueAndGrad,
} from "@jax-js/jax";
import { type HostTensor, sizeOf } from "../../../lib/tensor.ts";
import { joined } from "../contest.ts";
import type { Competitor, Side } from "../harness.ts";
import type { NetworkTask } from "../network_task.ts";

type Tree = Record<string, np.Array>;

/** Hands out parameters by the names that this project gives them. */
type Scope = (name: string) => np.Array;

const inner = (scope: Scope, prefix: string): Scope => (name) => scope(`${prefix}.${name}`);

function linear(scope: Scope, x: np.Array): np.Array {
  return np.matmul(x, scope("weight")).add(scope("bias"));
}

function layerNorm(scope: Scope, x: np.Array, epsilon: number): np.Array {
  return nn.standardize(x, -1, { epsilon }).mul(scope("scale")).add(scope("bias"));
}

function convolution(
  scope: Scope,
  x: np.Array,
  stride: number,
  padding: number,
  groups = 1,
): np.Array {
  const pads: [number, number] = [padding, padding];
  const y = lax.convGeneralDilated(x, scope("weight"), [stride, stride], [pads, pads], {
    featureGroupCount: groups,
  });
  return y.add(scope("bias").reshape([1, -1, 1, 1]));
}

/** Windows side by side are a matrix product, which is quicker here than a convolution. */
function patches(scope: Scope, x: np.Array, size: number): np.Array {
  const [b, c, h, w] = x.shape as [number, number, number, number];
  const cells = x.reshape([b, c, h / size, size, w / size, size])
    .transpose([0, 2, 4, 1, 3, 5]).reshape([b, h / size, w / size, c * size * size]);
  const weight = scope("weight");
  const flat = weight.reshape([weight.shape[0]!, -1]);
  return np.matmul(cells, flat.transpose()).add(scope("bias"));
}

function feedForward(scope: Scope, x: np.Array): np.Array {
  const hidden = nn.gelu(linear(inner(scope, "expand"), x), { approximate: false });
  return linear(inner(scope, "contract"), hidden);
}

function visionTransformer(scope: Scope, image: np.Array, config: NetworkTask["config"]): np.Array {
  const { patch, tokens, width, depth, heads } = config as Record<string, number>;
  const batch = image.shape[0]!;
  let x = patches(inner(scope, "patchEmbedding"), image, patch!)
    .reshape([batch, tokens!, width!]).add(scope("position"));
  for (let i = 0; i < depth!; i++) {
    const block = inner(scope, `blocks.${i}`);
    const normal = layerNorm(inner(block, "attentionNorm"), x.ref, 1e-5);
    const attention = inner(block, "attention");
    const [query, key, value] = ["query", "key", "value"].map((part) =>
      linear(inner(attention, part), normal.ref).reshape([batch, tokens!, heads!, width! / heads!])
    ) as [np.Array, np.Array, np.Array];
    normal.dispose();
    const mixed = nn.dotProductAttention(query, key, value).reshape([batch, tokens!, width!]);
    x = x.add(linear(inner(attention, "output"), mixed));
    const again = layerNorm(inner(block, "feedForwardNorm"), x.ref, 1e-5);
    x = x.add(feedForward(inner(block, "feedForward"), again));
  }
  return linear(inner(scope, "head"), np.mean(layerNorm(inner(scope, "norm"), x, 1e-5), 1));
}

function convnext(scope: Scope, image: np.Array, config: NetworkTask["config"]): np.Array {
  const { widths, depths } = config as { widths: readonly number[]; depths: readonly number[] };
  const trunk = inner(scope, "trunk");
  const epsilon = 1e-6;
  // B×H×W×C between the blocks' convolutions.
  let x = layerNorm(
    inner(trunk, "stem.norm"),
    patches(inner(trunk, "stem.convolution"), image, 4),
    epsilon,
  );
  widths.forEach((width, i) => {
    const stage = inner(trunk, `stages.${i}`);
    if (i > 0) {
      const normal = layerNorm(inner(stage, "downsample.norm"), x, epsilon);
      x = patches(inner(stage, "downsample.convolution"), normal.transpose([0, 3, 1, 2]), 2);
    }
    for (let j = 0; j < depths[i]!; j++) {
      const block = inner(stage, `blocks.${j}`);
      const near = convolution(
        inner(block, "depthwise"),
        x.ref.transpose([0, 3, 1, 2]),
        1,
        3,
        width,
      );
      const rows = layerNorm(inner(block, "norm"), near.transpose([0, 2, 3, 1]), epsilon);
      x = x.add(feedForward(inner(block, "feedForward"), rows).mul(block("layerScale")));
    }
  });
  const mean = layerNorm(inner(scope, "norm"), np.mean(x, [1, 2]), epsilon);
  return linear(inner(scope, "head"), mean);
}

function put(tensor: HostTensor): np.Array {
  const { data, shape, dtype } = tensor;
  if (dtype === "int64") {
    const ints = Int32Array.from(data as BigInt64Array, Number);
    return np.array(ints, { shape: [...shape], dtype: np.int32 });
  }
  return np.array(data as Float32Array<ArrayBuffer>, { shape: [...shape], dtype: np.float32 });
}

async function open(task: NetworkTask): Promise<Side> {
  if (task.kind === "mask2former") {
    throw new Error(
      "not written for jax-js, which has neither grid sampling nor image resizing",
    );
  }
  defaultDevice("wasm");
  const network = task.kind === "vit" ? visionTransformer : convnext;
  let parameters: Tree = {};
  for (const { name, shape, offset } of task.entries) {
    const part = task.parameters.data.slice(offset, offset + sizeOf(shape));
    parameters[name] = np.array(part, { shape: [...shape], dtype: np.float32 });
  }
  const inputs = task.inputs.map(put);
  const scopeOf = (tree: Tree): Scope => (name) => tree[name]!.ref;
  const refs = (tree: Tree): Tree =>
    Object.fromEntries(Object.entries(tree).map(([name, x]) => [name, x.ref]));
  const free = (tree: Tree) => Object.values(tree).forEach((x) => x.dispose());
  await blockUntilReady([...inputs, ...Object.values(parameters)].map((x) => x.ref));
  const disposeInputs = () => inputs.forEach((x) => x.dispose());

  if (task.pass === "forward") {
    const run = jit((tree: Tree, image: np.Array) => network(scopeOf(tree), image, task.config));
    return {
      async time(times) {
        defaultDevice("wasm");
        const begin = performance.now();
        for (let i = 0; i < times; i++) {
          const y = run(refs(parameters), inputs[0]!.ref);
          await y.blockUntilReady();
          y.dispose();
        }
        return performance.now() - begin;
      },
      async result() {
        defaultDevice("wasm");
        return joined([await run(refs(parameters), inputs[0]!.ref).data()]);
      },
      dispose() {
        free(parameters);
        disposeInputs();
        return Promise.resolve();
      },
    };
  }

  const loss = (tree: Tree, image: np.Array, labels: np.Array) => {
    const logits = nn.logSoftmax(network(scopeOf(tree), image, task.config), -1);
    const classes = logits.shape[1]!;
    return np.mean(np.sum(logits.mul(nn.oneHot(labels, classes)), 1)).mul(-1);
  };
  const [beta1, beta2, epsilon, decay] = [0.9, 0.999, 1e-8, 0.01];
  const rate = task.learningRate;
  const step = jit(
    (
      tree: Tree,
      first: Tree,
      second: Tree,
      corrections: np.Array[],
      image: np.Array,
      labels: np.Array,
    ) => {
      const [value, grads] = valueAndGrad(loss)(refs(tree), image, labels) as [np.Array, Tree];
      const [c1, c2] = corrections as [np.Array, np.Array];
      const [nextTree, nextFirst, nextSecond]: [Tree, Tree, Tree] = [{}, {}, {}];
      for (const name of Object.keys(tree)) {
        const g = grads[name]!;
        const m = first[name]!.mul(beta1).add(g.ref.mul(1 - beta1));
        const v = second[name]!.mul(beta2).add(np.square(g).mul(1 - beta2));
        const change = m.ref.mul(c1.ref).div(np.sqrt(v.ref.mul(c2.ref)).add(epsilon));
        nextTree[name] = tree[name]!.mul(1 - rate * decay).sub(change.mul(rate));
        nextFirst[name] = m;
        nextSecond[name] = v;
      }
      return [nextTree, nextFirst, nextSecond, value];
    },
  );
  const zeros = (): Tree =>
    Object.fromEntries(task.entries.map(({ name, shape }) => [name, np.zeros([...shape])]));
  let [first, second] = [zeros(), zeros()];
  let steps = 0;
  const losses: number[] = [];
  const once = async () => {
    steps++;
    const corrections = [1 / (1 - beta1 ** steps), 1 / (1 - beta2 ** steps)].map((c) =>
      np.array([c])
    );
    const [a, b, c, value] = step(
      parameters,
      first,
      second,
      corrections,
      inputs[0]!.ref,
      inputs[1]!.ref,
    ) as [Tree, Tree, Tree, np.Array];
    [parameters, first, second] = [a, b, c];
    await blockUntilReady(Object.values(parameters).map((x) => x.ref));
    losses.push((await value.data())[0]!);
  };
  return {
    async time(times) {
      defaultDevice("wasm");
      const begin = performance.now();
      for (let i = 0; i < times; i++) await once();
      return performance.now() - begin;
    },
    async result() {
      defaultDevice("wasm");
      while (steps < 3) await once();
      return losses.slice(0, 3);
    },
    dispose() {
      [parameters, first, second].forEach(free);
      disposeInputs();
      return Promise.resolve();
    },
  };
}

/**
 * jax-js on Wasm.
 *
 * @throws {Error} If there is no Wasm backend.
 */
export async function jaxJsNetworks(version: string): Promise<Competitor<NetworkTask>> {
  if (!(await init("wasm")).includes("wasm")) throw new Error("jax-js finds no wasm here");
  return { name: "jax-js Wasm", version, open };
}
