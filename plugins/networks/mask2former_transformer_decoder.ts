/**
 * Mask2Former's transformer decoder with masked attention (Cheng et al., 2022, section 3.2).
 *
 * @module
 */
import type { ParameterScope, Value } from "../../lib/graph/mod.ts";
import { ops } from "../../lib/graph/mod.ts";
import { attention, maskedAttentionMask } from "./attention.ts";
import { feedForward, multiLayerPerceptron } from "./feed_forward.ts";
import { convolution, layerNorm, linear, toTokens } from "./layers.ts";
import type { PixelDecoderOutputs } from "./mask2former_pixel_decoder.ts";
import { sinePositions } from "./position_embedding.ts";

/** Sizes of the transformer decoder; see `mask2FormerSizes` for the published ones. */
export interface TransformerDecoderConfig {
  /** N, the number of queries. */
  numQueries: number;
  /** C, channels of a query. */
  width: number;
  /** Heads of every attention. */
  heads: number;
  /** Number of layers. */
  depth: number;
  /** Width of the layers' hidden layer. */
  hiddenWidth: number;
  /** K, the number of classes; without it there is no class head. */
  numClasses?: number;
}

/** What the decoder predicts after one of its layers. */
export interface LayerPrediction {
  /** B×N×H×W. */
  maskLogits: Value;
  /** B×N×(K + 1), the last one for no object; null without a class head. */
  classLogits: Value | null;
  /** B×N×C, the normalised queries: what heads of one's own begin with. */
  queries: Value;
}

/**
 * Builds the decoder.
 *
 * @param pixels What the pixel decoder gives; layer i looks at level i modulo their number.
 * @returns A prediction from the untouched queries and one after each layer; the last one counts, the
 * others are for deep supervision, and for the masks of the next layer's attention.
 *
 * @example
 * ```ts
 * import { Graph, ParameterLayout } from "@ovstage/ovstage/graph";
 * import {
 *   mask2FormerPixelDecoder,
 *   mask2FormerSizes,
 *   mask2FormerTransformerDecoder,
 * } from "@ovstage/ovstage/networks";
 * const graph = new Graph("mask2former");
 * const pyramid = [128, 256, 512, 1024].map((channels, i) =>
 *   graph.input(`stride${4 << i}`, ["B", channels, 128 >> i, 128 >> i])
 * );
 * const layout = ParameterLayout.of(graph, (scope) => {
 *   const { pixelDecoder, transformerDecoder } = mask2FormerSizes;
 *   const pixels = mask2FormerPixelDecoder(scope.scope("pixelDecoder"), pyramid, pixelDecoder);
 *   const predictions = mask2FormerTransformerDecoder(
 *     scope.scope("transformerDecoder"),
 *     pixels,
 *     { ...transformerDecoder, numClasses: 133 },
 *   );
 *   graph.output("maskLogits", predictions.at(-1)!.maskLogits); // B×100×128×128
 * });
 * console.log(layout.size); // 20037446
 * ```
 */
export function mask2FormerTransformerDecoder(
  scope: ParameterScope,
  { maskFeatures, levels }: PixelDecoderOutputs,
  config: TransformerDecoderConfig,
): LayerPrediction[] {
  const { numQueries, width, heads, depth, hiddenWidth, numClasses } = config;
  const maskWidth = maskFeatures.shape[1] as number;
  const batch = ops.dimOf(maskFeatures, 0);
  const size = [ops.dimOf(maskFeatures, 2), ops.dimOf(maskFeatures, 3)];
  const pixels = ops.reshape(maskFeatures, [batch, maskWidth, -1]);

  const normal = { normal: 1 };
  const levelTable = scope.parameter("levelEmbedding", [levels.length, width], normal);
  const sources = levels.map((map, i) => {
    const [h, w] = [ops.dimOf(map, 2), ops.dimOf(map, 3)];
    const part = scope.scope("inputs").scope(i);
    const fitting = map.shape[1] === width ? map : convolution(part, map, width, { kernel: 1 });
    return {
      tokens: ops.add(toTokens(fitting), ops.slice(levelTable, 0, i, i + 1)),
      keyPosition: sinePositions(scope.graph, h, w, width),
      height: h,
      width: w,
    };
  });

  const predict = (x: Value): LayerPrediction => {
    const queries = layerNorm(scope.scope("norm"), x);
    const widths = [width, width, maskWidth];
    const embedding = multiLayerPerceptron(scope.scope("maskHead"), queries, widths);
    const logits = ops.matMul(embedding, pixels);
    return {
      maskLogits: ops.reshape(logits, [batch, numQueries, ...size]),
      classLogits: numClasses === undefined
        ? null
        : linear(scope.scope("classHead"), queries, numClasses + 1),
      queries,
    };
  };

  const content = scope.parameter("queries", [numQueries, width], normal);
  const place = scope.parameter("queryPosition", [numQueries, width], normal);
  let x = ops.expand(ops.unsqueeze(content, [0]), [batch, numQueries, width]);
  const predictions = [predict(x)];
  for (let i = 0; i < depth; i++) {
    const layer = scope.scope("layers").scope(i);
    const source = sources[i % sources.length]!;
    const seen = attention(layer.scope("crossAttention"), ops.add(x, place), source.tokens, {
      heads,
      keyPosition: source.keyPosition,
      mask: maskedAttentionMask(predictions[i]!.maskLogits, source.height, source.width),
    });
    x = layerNorm(layer.scope("crossNorm"), ops.add(x, seen));
    const mutual = attention(layer.scope("selfAttention"), ops.add(x, place), x, {
      heads,
      keyPosition: place,
    });
    x = layerNorm(layer.scope("selfNorm"), ops.add(x, mutual));
    const mixed = feedForward(layer.scope("feedForward"), x, { hiddenWidth });
    x = layerNorm(layer.scope("feedForwardNorm"), ops.add(x, mixed));
    predictions.push(predict(x));
  }
  return predictions;
}
