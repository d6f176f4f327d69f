/**
 * A set of models with the networks' real structure, a few channels and random weights: what they
 * say means nothing, but everything around them can be tried.
 *
 * @module
 */
import { Graph, ParameterScope } from "../lib/graph/mod.ts";
import { Rng } from "../lib/rng.ts";
import { trainBpe } from "../lib/text/bpe.ts";
import { imageEncoder } from "../plugins/networks/image_encoder.ts";
import { maskDecoder } from "../plugins/networks/mask_decoder.ts";
import { textEncoder } from "../plugins/networks/text_encoder.ts";

const jointSize = 16;

/** The models by the names of their files; they don't touch a file system. */
export function tinyModels(): Record<string, Uint8Array<ArrayBuffer>> {
  const files: Record<string, Uint8Array<ArrayBuffer>> = {};
  const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
  const rng = new Rng(5);
  const scope = (graph: Graph) =>
    new ParameterScope(graph, (_name, shape, init) => {
      const size = shape.reduce((a, b) => a * b, 1);
      const data = Float32Array.from(
        { length: size },
        () => "constant" in init ? init.constant : 3 * init.normal * rng.normal(),
      );
      return graph.constant(data, [...shape]);
    });
  const write = (name: string, graph: Graph) => {
    files[`${name}.onnx`] = Uint8Array.from(graph.toOnnx());
  };

  const image = new Graph("image_encoder");
  const features = imageEncoder(scope(image), image.input("image", ["B", 3, "H", "W"]), {
    stemWidth: 4,
    widths: [8, 16],
    depths: [1, 1],
    jointSize,
  });
  for (const [name, value] of Object.entries(features)) image.output(name, value);
  write("image_encoder", image);

  const bpe = trainBpe(["slice of pizza", "dog", "guitar"], 520);
  files["tokenizer.json"] = json(bpe);
  const text = new Graph("text_encoder");
  text.output(
    "embeddings",
    textEncoder(
      scope(text),
      text.input("tokens", ["C", "L"], "int64"),
      text.input("mask", ["C", "L"]),
      { vocabularySize: 600, maxLength: 24, width: 16, depth: 1, heads: 2, jointSize },
    ),
  );
  write("text_encoder", text);

  const decoder = new Graph("mask_decoder");
  const predictions = maskDecoder(
    scope(decoder),
    {
      features: decoder.input("features", ["B", jointSize, "H8", "W8"]),
      pyramid4: decoder.input("pyramid4", ["B", 8, "2*H8", "2*W8"]),
      pyramid8: decoder.input("pyramid8", ["B", 32, "H8", "W8"]),
    },
    {
      numQueries: 8,
      width: 16,
      heads: 2,
      pixelDepth: 1,
      depth: 1,
      grid: 4,
      maskWidth: 8,
      jointSize,
    },
  );
  const { maskLogits, queryEmbeddings } = predictions.at(-1)!;
  decoder.output("mask_logits", maskLogits);
  decoder.output("query_embeddings", queryEmbeddings);
  write("mask_decoder", decoder);

  files["ovsnet.json"] = json({
    voidEmbedding: Array.from({ length: jointSize }, () => rng.normal()),
    logitScale: 20,
  });
  return files;
}
