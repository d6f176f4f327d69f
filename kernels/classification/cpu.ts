/**
 * Per-pixel classification without WebGPU.
 *
 * @module
 */
import { fromFloat16Array } from "../../lib/float16.ts";
import { Graph } from "../../lib/graph/graph.ts";
import type { Engine } from "../../lib/runtime.ts";
import { float32, HostTensor, type Tensor } from "../../lib/tensor.ts";
import { LazySession } from "../dispatch/lazy_session.ts";
import { refuseNonFinite } from "../finite.ts";
import {
  checkClassification,
  type ClassificationInput,
  type ClassificationOptions,
  type ClassificationRun,
  PixelLabels,
} from "./contract.ts";
import { classificationGraph } from "./cpu_graph.ts";
import { prunedClassification } from "./pruned.ts";

/** Up to so many classes, scoring all of them as matrix products is quicker than leaving most out. */
const graphClasses = 64;
/**
 * N·H·W of what the graph takes. It holds every mask at the size of the image, twice; and below the
 * lower number, the other method is done before a session is made.
 */
const graphElements = { least: 2 ** 20, most: 2 ** 26 };

/** The better of the two CPU methods; see {@linkcode PixelClassification}. */
export class CpuClassification {
  readonly #engine: Engine;
  readonly #options: ClassificationOptions;
  #session: { height: number; width: number; graph: LazySession } | null = null;

  /**
   * @param engine Executes the graph.
   * @param options Threshold.
   */
  constructor(engine: Engine, options: ClassificationOptions = {}) {
    this.#engine = engine;
    this.#options = options;
  }

  /** Labels once; see {@linkcode PixelClassification.run}. */
  async run(input: ClassificationInput, run: ClassificationRun = {}): Promise<PixelLabels> {
    const sizes = checkClassification(input);
    run.signal?.throwIfAborted();
    const { masks, classes, height, width } = sizes;
    const maskLogits = await toFloat32(input.maskLogits);
    const probabilities = await toFloat32(input.probabilities);
    if (this.#options.checkFinite) {
      refuseNonFinite("classification", "maskLogits", maskLogits);
      refuseNonFinite("classification", "probabilities", probabilities);
    }
    const { least, most } = graphElements;
    const elements = masks * height * width;
    if (classes <= graphClasses && elements >= least && elements <= most) {
      const { labels, scores } = await (await this.#graph(height, width)).run({
        maskLogits,
        probabilities,
      });
      run.signal?.throwIfAborted();
      return new PixelLabels(labels as Tensor<"int32">, scores as Tensor<"float32">);
    }
    const { threshold = 0 } = this.#options;
    const { labels, scores } = await prunedClassification(
      { ...sizes, maskLogits: maskLogits.data, probabilities: probabilities.data, threshold },
      run,
    );
    return new PixelLabels(
      new HostTensor("int32", [height, width], labels),
      float32([height, width], scores),
    );
  }

  /** Frees the session. */
  async dispose(): Promise<void> {
    const session = this.#session;
    this.#session = null;
    await session?.graph.dispose();
  }

  /** The session for an output size; the last one is kept. */
  async #graph(height: number, width: number): Promise<LazySession> {
    if (this.#session?.height === height && this.#session.width === width) {
      return this.#session.graph;
    }
    await this.dispose();
    const graph = new LazySession(this.#engine, () => {
      const graph = new Graph("classification");
      const { labels, scores } = classificationGraph(
        graph.input("maskLogits", ["N", "maskHeight", "maskWidth"]),
        graph.input("probabilities", ["N", "C"]),
        height,
        width,
        this.#options,
      );
      graph.output("labels", labels);
      graph.output("scores", scores);
      return graph.toOnnx();
    });
    this.#session = { height, width, graph };
    return graph;
  }
}

async function toFloat32(tensor: Tensor): Promise<HostTensor<"float32">> {
  const data = await tensor.read();
  const floats = data instanceof Uint16Array ? fromFloat16Array(data) : data as Float32Array;
  return float32(tensor.shape, floats);
}
