/**
 * Per-pixel classification without WebGPU.
 *
 * @module
 */
import { fromFloat16Array } from "../../lib/float16.ts";
import { Graph } from "../../lib/graph/graph.ts";
import * as ops from "../../lib/graph/ops.ts";
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
const graphClasses = 512;
/**
 * N·H·W and C·H·W of what the graph takes. It holds every mask and every class at the size of the
 * image; and below the lower number, the other method is done before a session is made.
 */
const graphElements = { least: 2 ** 18, most: 2 ** 26 };

/** The better of the two CPU methods; see {@linkcode PixelClassification}. */
export class CpuClassification {
  readonly #options: ClassificationOptions;
  readonly #session: LazySession;

  /**
   * @param engine Executes the graph.
   * @param options Threshold.
   */
  constructor(engine: Engine, options: ClassificationOptions = {}) {
    this.#options = options;
    this.#session = new LazySession(engine, () => {
      const graph = new Graph("classification");
      // As long as the image is high and wide, so that one session serves all sizes.
      const rows = graph.input("rows", ["H"]);
      const columns = graph.input("columns", ["W"]);
      const { labels, scores } = classificationGraph(
        graph.input("maskLogits", ["N", "h", "w"]),
        graph.input("probabilities", ["N", "C"]),
        ops.dimOf(rows, 0),
        ops.dimOf(columns, 0),
        options,
      );
      graph.output("labels", labels);
      graph.output("scores", scores);
      return graph.toOnnx();
    });
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
    const pixels = height * width;
    const fits = masks * pixels >= least && Math.max(masks, classes) * pixels <= most;
    if (classes <= graphClasses && fits) {
      const { labels, scores } = await this.#session.run({
        rows: float32([height]),
        columns: float32([width]),
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
  dispose(): Promise<void> {
    return this.#session.dispose();
  }
}

async function toFloat32(tensor: Tensor): Promise<HostTensor<"float32">> {
  const data = await tensor.read();
  const floats = data instanceof Uint16Array ? fromFloat16Array(data) : data as Float32Array;
  return float32(tensor.shape, floats);
}
