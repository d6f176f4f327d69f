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
import {
  checkClassification,
  type ClassificationInput,
  type ClassificationOptions,
  type ClassificationRun,
  notFinite,
  PixelLabels,
} from "./contract.ts";
import { classificationGraph } from "./cpu_graph.ts";
import { prunedClassification } from "./pruned.ts";

/** Up to so many classes, scoring all of them as matrix products is quicker than leaving most out. */
const graphClasses = 64;
/** The graph holds every mask at the size of the image: so many floats at most, twice. */
const graphElements = 2 ** 26;

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
    const maskLogits = await numbers(input.maskLogits);
    const probabilities = await numbers(input.probabilities);
    if (this.#options.checkFinite) {
      checkFinite("mask logits", maskLogits, input.maskLogits);
      checkFinite("probabilities", probabilities, input.probabilities);
    }
    if (classes <= graphClasses && masks * height * width <= graphElements) {
      const { labels, scores } = await (await this.#graph(height, width)).run({
        maskLogits: float32(input.maskLogits.shape, maskLogits),
        probabilities: float32(input.probabilities.shape, probabilities),
      });
      run.signal?.throwIfAborted();
      return new PixelLabels(labels as Tensor<"int32">, scores as Tensor<"float32">);
    }
    const { threshold = 0 } = this.#options;
    const { labels, scores } = await prunedClassification(
      { ...sizes, maskLogits, probabilities, threshold },
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

async function numbers(tensor: Tensor): Promise<Float32Array> {
  const data = await tensor.read();
  return data instanceof Uint16Array ? fromFloat16Array(data) : data as Float32Array;
}

function checkFinite(name: string, data: Float32Array, { shape }: Tensor): void {
  // x·0 is NaN where x is not finite, and so is the sum; four sums, because each addition waits.
  const whole = data.length & ~3;
  let [a, b, c, d] = [0, 0, 0, 0];
  for (let i = 0; i < whole; i += 4) {
    a += data[i]! * 0;
    b += data[i + 1]! * 0;
    c += data[i + 2]! * 0;
    d += data[i + 3]! * 0;
  }
  for (let i = whole; i < data.length; i++) a += data[i]! * 0;
  if (a + b + c + d === 0) return;
  throw notFinite(name, shape, data.findIndex((value) => !Number.isFinite(value)));
}
