/**
 * The networks that `bench graphs` times, made of this project's own layers.
 *
 * @module
 */
import {
  customGradient,
  Graph,
  ops,
  ParameterLayout,
  type ParameterScope,
  type Value,
} from "../../lib/graph/mod.ts";
import type { Rng } from "../../lib/rng.ts";
import { float32, HostTensor, sizeOf } from "../../lib/tensor.ts";
import {
  convnext,
  layerNorm,
  linear,
  mask2FormerPixelDecoder,
  mask2FormerTransformerDecoder,
  patchEmbedding,
  toTokens,
  transformerBlock,
} from "../../plugins/networks/mod.ts";

/** What a network takes: features or an image, and what its loss compares its outputs with. */
export interface NetworkInput {
  /** Its name in the graph. */
  readonly name: string;
  /** Its shape. */
  readonly shape: readonly number[];
  /** Whole numbers below this, where it has classes; noise where left out. */
  readonly classes?: number;
  /** 0 or 1, where it is a mask. */
  readonly mask?: boolean;
}

/** A network with its sizes. */
export interface BenchNetwork {
  /** As the rows call it. */
  readonly name: string;
  /** Which of the peers' networks it is. */
  readonly kind: "vit" | "convnext" | "mask2former";
  /** Images at once. */
  readonly batch: number;
  /** The same network for another number of images. */
  withBatch(batch: number): BenchNetwork;
  /** Sizes for the peers, by the names of their own arguments. */
  readonly config: Readonly<Record<string, number | readonly number[]>>;
  /** Inputs of the forward pass. */
  readonly inputs: readonly NetworkInput[];
  /** Further inputs of the loss. */
  readonly targets: readonly NetworkInput[];
  /** The outputs, and every prediction that the loss sees. */
  forward(scope: ParameterScope, inputs: readonly Value[]): NetworkOutputs;
  /** The training loss. */
  loss(outputs: NetworkOutputs, targets: readonly Value[]): Value;
}

/** What a network gives. */
export interface NetworkOutputs {
  /** What is compared with the peers. */
  readonly outputs: readonly Value[];
  /** What the loss is worked out from, prediction by prediction. */
  readonly predictions: readonly (readonly Value[])[];
}

/** The mean cross entropy of logits over the last axis, B×K, with labels, B. */
function crossEntropy(logits: Value, labels: Value): Value {
  const picked = ops.gatherElements(ops.logSoftmax(logits, -1), ops.unsqueeze(labels, [1]), 1);
  return ops.neg(ops.reduceMean(picked));
}

/**
 * The mean binary cross entropy of logits x with targets z from 0 to 1: max(x, 0) − xz + log(1 + e^−|x|),
 * whose slope is σ(x) − z. ONNX Runtime takes several times as long for its Softplus.
 */
function binaryCrossEntropy(x: Value, z: Value): Value {
  const rest = ops.log(ops.add(ops.exp(ops.neg(ops.abs(x))), 1));
  const entropy = ops.add(ops.sub(ops.relu(x), ops.mul(x, z)), rest);
  const [terms] = customGradient([x], [entropy], ([g]) => [
    ops.mul(ops.sub(ops.sigmoid(x), z), g!),
  ]);
  return ops.reduceMean(terms!);
}

/** Sizes of {@linkcode visionTransformer}. */
export interface VisionTransformerSizes {
  /** Images at once. */
  batch: number;
  /** Side of an image in pixels. */
  side: number;
  /** Side of a patch. */
  patch: number;
  /** Channels of a token. */
  width: number;
  /** Number of blocks. */
  depth: number;
  /** Heads of each. */
  heads: number;
  /** Number of classes. */
  classes: number;
}

/** A ViT that classifies by the mean of its tokens. */
export function visionTransformer(sizes: VisionTransformerSizes): BenchNetwork {
  const { batch, side, patch, width, depth, heads, classes } = sizes;
  const tokens = (side / patch) ** 2;
  return {
    name: `ViT, width ${width}, ${depth} layers, ${tokens} tokens, batch ${batch}`,
    kind: "vit",
    batch,
    withBatch: (batch) => visionTransformer({ ...sizes, batch }),
    config: { patch, tokens, width, depth, heads, classes },
    inputs: [{ name: "image", shape: [batch, 3, side, side] }],
    targets: [{ name: "labels", shape: [batch], classes }],
    forward(scope, [image]) {
      const map = patchEmbedding(scope.scope("patchEmbedding"), image!, width, {
        patchSize: patch,
      });
      const position = scope.parameter("position", [tokens, width], { normal: 0.02 });
      let x = ops.add(toTokens(map), position);
      for (let i = 0; i < depth; i++) {
        x = transformerBlock(scope.scope("blocks").scope(i), x, { heads, activation: "gelu" });
      }
      const mean = ops.reduceMean(layerNorm(scope.scope("norm"), x), [1]);
      const logits = linear(scope.scope("head"), mean, classes);
      return { outputs: [logits], predictions: [[logits]] };
    },
    loss: ({ outputs: [logits] }, [labels]) => crossEntropy(logits!, labels!),
  };
}

/** Sizes of {@linkcode convnextClassifier}. */
export interface ConvnextClassifierSizes {
  /** Images at once. */
  batch: number;
  /** Side of an image in pixels. */
  side: number;
  /** Channels of each stage. */
  widths: readonly number[];
  /** Blocks of each stage. */
  depths: readonly number[];
  /** Number of classes. */
  classes: number;
}

/** ConvNeXt with its classifying head. */
export function convnextClassifier(
  variant: string,
  sizes: ConvnextClassifierSizes,
): BenchNetwork {
  const { batch, side, widths, depths, classes } = sizes;
  return {
    name: `${variant}, ${side}×${side}, batch ${batch}`,
    kind: "convnext",
    batch,
    withBatch: (batch) => convnextClassifier(variant, { ...sizes, batch }),
    config: { widths, depths, classes },
    inputs: [{ name: "image", shape: [batch, 3, side, side] }],
    targets: [{ name: "labels", shape: [batch], classes }],
    forward(scope, [image]) {
      const last = convnext(scope.scope("trunk"), image!, { widths, depths }).at(-1)!;
      const mean = layerNorm(scope.scope("norm"), ops.reduceMean(last, [2, 3]), 1e-6);
      const logits = linear(scope.scope("head"), mean, classes);
      return { outputs: [logits], predictions: [[logits]] };
    },
    loss: ({ outputs: [logits] }, [labels]) => crossEntropy(logits!, labels!),
  };
}

/** Sizes of {@linkcode mask2FormerDecoder}. */
export interface Mask2FormerDecoderSizes {
  /** Images at once. */
  batch: number;
  /** Side of the finest map; each further one has half of it. */
  side: number;
  /** Channels of the maps, the finest first. */
  channels: readonly number[];
  /** Number of queries. */
  queries: number;
  /** Channels of a query, and of everything else. */
  width: number;
  /** Heads of every attention. */
  heads: number;
  /** Layers of the pixel decoder. */
  pixelDepth: number;
  /** Layers of the transformer decoder. */
  depth: number;
  /** Places that each head of the deformable attention looks at in each map. */
  points: number;
  /** Hidden width of the pixel decoder. */
  pixelHidden: number;
  /** Hidden width of the transformer decoder. */
  hidden: number;
  /** Groups of the convolutions' normalisation. */
  groups: number;
  /** Number of classes. */
  classes: number;
}

/**
 * Mask2Former's two decoders. The loss compares every prediction with masks and classes, query by
 * query: the matching, which needs the outputs on the host, is left out.
 */
export function mask2FormerDecoder(sizes: Mask2FormerDecoderSizes): BenchNetwork {
  const { batch, side, channels, queries, width, heads, classes, groups, points } = sizes;
  const { batch: _batch, side: _side, ...config } = sizes;
  return {
    name: `Mask2Former decoder, ${side}×${side}, ${queries} queries, batch ${batch}`,
    kind: "mask2former",
    batch,
    withBatch: (batch) => mask2FormerDecoder({ ...sizes, batch }),
    config,
    inputs: channels.map((count, i) => ({
      name: `stride${4 << i}`,
      shape: [batch, count, side >> i, side >> i],
    })),
    targets: [
      { name: "masks", shape: [batch, queries, side, side], mask: true },
      { name: "labels", shape: [batch * queries], classes: classes + 1 },
    ],
    forward(scope, pyramid) {
      const pixels = mask2FormerPixelDecoder(scope.scope("pixelDecoder"), pyramid, {
        width,
        maskWidth: width,
        heads,
        points,
        depth: sizes.pixelDepth,
        hiddenWidth: sizes.pixelHidden,
        groups,
      });
      const predictions = mask2FormerTransformerDecoder(
        scope.scope("transformerDecoder"),
        pixels,
        {
          numQueries: queries,
          width,
          heads,
          depth: sizes.depth,
          hiddenWidth: sizes.hidden,
          numClasses: classes,
        },
      ).map(({ maskLogits, classLogits }) => [maskLogits, classLogits!]);
      return { outputs: predictions.at(-1)!, predictions };
    },
    loss({ predictions }, [masks, labels]) {
      const terms = predictions.map(([maskLogits, classLogits]) =>
        ops.add(
          binaryCrossEntropy(maskLogits!, masks!),
          crossEntropy(ops.reshape(classLogits!, [-1, classes + 1]), labels!),
        )
      );
      return terms.reduce((a, b) => ops.add(a, b));
    },
  };
}

/** What a network asks for. */
export function layoutOf(network: BenchNetwork): ParameterLayout {
  return ParameterLayout.of(new Graph("layout"), (scope) => {
    network.forward(scope, declare(scope.graph, network.inputs));
  });
}

/** Declares inputs. */
export function declare(graph: Graph, inputs: readonly NetworkInput[]): Value[] {
  return inputs.map(({ name, shape, classes }) =>
    graph.input(name, shape, classes === undefined ? "float32" : "int64")
  );
}

/**
 * Parameters that make every part of a network count: what starts at 0 or at a millionth would hide
 * what it multiplies.
 */
export function startingPoint(layout: ParameterLayout, rng: Rng): Float32Array {
  const flat = layout.initialize(rng);
  for (const { init, shape, offset } of layout.entries) {
    if (!("constant" in init)) continue;
    for (let i = offset; i < offset + sizeOf(shape); i++) flat[i]! += 0.1 * rng.normal();
  }
  return flat;
}

/** Makes inputs. */
export function inputTensors(inputs: readonly NetworkInput[], rng: Rng): HostTensor[] {
  return inputs.map(({ shape, classes, mask }) => {
    if (classes !== undefined) {
      const labels = BigInt64Array.from(
        { length: sizeOf(shape) },
        () => BigInt(rng.integer(classes)),
      );
      return new HostTensor("int64", shape, labels);
    }
    return float32(
      shape,
      Float32Array.from({ length: sizeOf(shape) }, () => mask ? rng.integer(2) : rng.normal()),
    );
  });
}

/** The networks of a full run. */
export const networks: readonly BenchNetwork[] = [
  visionTransformer({
    batch: 32,
    side: 64,
    patch: 8,
    width: 192,
    depth: 6,
    heads: 3,
    classes: 1000,
  }),
  convnextClassifier("ConvNeXt-T", {
    batch: 8,
    side: 224,
    widths: [96, 192, 384, 768],
    depths: [3, 3, 9, 3],
    classes: 1000,
  }),
  mask2FormerDecoder({
    batch: 2,
    side: 64,
    channels: [96, 192, 384, 768],
    queries: 100,
    width: 256,
    heads: 8,
    pixelDepth: 6,
    depth: 9,
    points: 4,
    pixelHidden: 1024,
    hidden: 2048,
    groups: 32,
    classes: 133,
  }),
];

/** The same at sizes that take no time. */
export const smallNetworks: readonly BenchNetwork[] = [
  visionTransformer({ batch: 2, side: 16, patch: 4, width: 24, depth: 2, heads: 3, classes: 10 }),
  convnextClassifier("ConvNeXt", {
    batch: 2,
    side: 64,
    widths: [8, 12, 16, 24],
    depths: [1, 1, 2, 1],
    classes: 10,
  }),
  mask2FormerDecoder({
    batch: 2,
    side: 16,
    channels: [6, 8, 10, 12],
    queries: 5,
    width: 32,
    heads: 4,
    pixelDepth: 1,
    depth: 3,
    points: 2,
    pixelHidden: 48,
    hidden: 40,
    groups: 8,
    classes: 7,
  }),
];
