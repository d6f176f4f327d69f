/**
 * Losses through this package's own kernels: forward and gradient of mask pooling and GFA on a
 * device, with the rest of the loss as ONNX graphs before and behind them.
 *
 * A kernel's gradient enters the step's graph as that of a linear term: with ḡ = ∂L/∂x from the
 * kernel, held constant, Σ ḡ·x has the gradient ḡ by x, and the chain rule does the rest.
 *
 * @module
 */
import { Gfa, MaskPooling } from "../../kernels/mod.ts";
import { gradients, Graph, ops, type ParameterLayout } from "../../lib/graph/mod.ts";
import type { Device, Session } from "../../lib/runtime.ts";
import { float32, HostTensor, type Tensor } from "../../lib/tensor.ts";
import { classifier, classLoss, type LossSizes, maskSide, ProxyGraph } from "./decoder_loss.ts";
import type { Proxies } from "./proxies.ts";
import type { OvsnetConfig } from "./train_config.ts";

/** What a step knows before its gradient. */
export interface KernelInput {
  /** Flat parameters. */
  readonly parameters: Tensor;
  /** C×D. */
  readonly text: Tensor;
  /** B×G. */
  readonly segments: Tensor;
  /** B×G×C. */
  readonly classes: Tensor;
  /** B×D×h×w. */
  readonly features: Tensor;
  /** B×N×h'×w' of the last prediction. */
  readonly maskLogits: Tensor;
  /** B×N×D of the last prediction. */
  readonly queryEmbeddings: Tensor;
  /** For each of the B·G slots its query, −1 where there is none. */
  readonly queryOfSlot: Int32Array;
  /** B×G×N, the same one-hot. */
  readonly matching: Tensor;
  /** Pairs of slots; null where Proxy Calibration is off. */
  readonly proxies: Proxies | null;
  /** What the losses are the mean over: segments with a class, and the class loss's weights. */
  readonly named: number;
  /** See {@linkcode KernelInput.named}. */
  readonly weights: number;
}

/** What the step's graph gets. */
export interface KernelOutput {
  /** Its inputs: `maskCotangent`, `queryCotangent`, `pooled`, `empty`, `fusedRows`. */
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** Terms of the loss that the step's graph doesn't know. */
  readonly terms: Readonly<Record<string, number>>;
}

const numbers = async (tensor: Tensor) => await tensor.read() as Float32Array;

/** Mask pooling and GFA of a training step. */
export class KernelLosses {
  readonly #device: Device;
  readonly #config: OvsnetConfig;
  readonly #sizes: LossSizes;
  /** Whether mask pooling is this class's, or the step's graph's. */
  readonly pools: boolean;
  #soft: MaskPooling | null = null;
  #hard: MaskPooling | null = null;
  #gfa: Gfa | null = null;
  #pooledLoss: Session | null = null;
  #fusedLoss: Session | null = null;

  private constructor(device: Device, config: OvsnetConfig, sizes: LossSizes, pools: boolean) {
    this.#device = device;
    this.#config = config;
    this.#sizes = sizes;
    this.pools = pools;
  }

  /**
   * Compiles what the config asks for.
   *
   * @param device Where the kernels run.
   * @param pools Whether mask pooling runs there too; the step's graph has it otherwise.
   */
  static async open(
    device: Device,
    config: OvsnetConfig,
    sizes: LossSizes,
    layout: ParameterLayout,
    pools: boolean,
  ): Promise<KernelLosses> {
    const losses = new KernelLosses(device, config, sizes, pools);
    const { engine } = device;
    if (pools && config.loss.proxyClip > 0) {
      losses.#soft = new MaskPooling(device, { mode: "soft" });
      losses.#pooledLoss = await engine.load(pooledLossGraph(config, sizes));
    }
    if (config.fuser !== undefined && (pools || config.fuser.kind === "gfa")) {
      losses.#hard = new MaskPooling(device, { mode: "hard" });
    }
    if (config.fuser?.kind === "gfa") {
      const { omega, lambda } = config.fuser;
      losses.#gfa = new Gfa(device, { omega, lambda });
      losses.#fusedLoss = await engine.load(fusedLossGraph(config, sizes, layout));
    }
    return losses;
  }

  /** Runs the kernels forward and backward. */
  async run(input: KernelInput): Promise<KernelOutput> {
    const inputs: Record<string, Tensor> = {};
    const terms: Record<string, number> = {};
    if (this.#soft !== null && input.proxies !== null) {
      const { value, cotangent } = await this.#proxyClip(this.#soft, input, input.proxies);
      inputs["maskCotangent"] = cotangent;
      terms["proxyClip"] = value;
    }
    if (this.#hard !== null) {
      const { pooled, empty } = await this.#pool(this.#hard, input);
      if (this.#gfa === null) {
        inputs["pooled"] = pooled;
        inputs["empty"] = float32(empty.shape, Float32Array.from(empty.data));
      } else {
        Object.assign(inputs, await this.#fuse(this.#gfa, input, pooled, empty.data));
      }
    }
    return { inputs, terms };
  }

  async #proxyClip(kernel: MaskPooling, input: KernelInput, { partner, alpha }: Proxies) {
    const { images } = this.#sizes;
    const { maxSegments } = this.#config.data;
    const side = maskSide(this.#config);
    const cells = side * side;
    const queries = this.#config.network.numQueries;
    const all = await numbers(input.maskLogits);
    const matched = float32([images, maxSegments, side, side]);
    input.queryOfSlot.forEach((query, slot) => {
      if (query < 0) return;
      const from = (Math.floor(slot / maxSegments) * queries + query) * cells;
      matched.data.set(all.subarray(from, from + cells), slot * cells);
    });
    const pooling = { features: input.features, maskLogits: matched };
    using out = await kernel.run(pooling);
    const { loss, gradient } = await this.#pooledLoss!.run({
      pooled: float32(out.pooled.shape, await out.pooled.read()),
      classes: input.classes,
      text: input.text,
      partner: new HostTensor("int64", [partner.length], partner),
      alpha: float32([alpha.length, 1], alpha),
      count: float32([1], Float32Array.of(input.named)),
    });
    using back = await kernel.gradients(pooling, { pooled: gradient as Tensor<"float32"> });
    const weight = this.#config.loss.proxyClip;
    const cotangent = (await back.maskLogits!.read()).map((g) => weight * g);
    return {
      value: (await numbers(loss!))[0]!,
      cotangent: float32([images, maxSegments, side, side], cotangent),
    };
  }

  async #pool(kernel: MaskPooling, { features, maskLogits }: KernelInput) {
    using out = await kernel.run({ features, maskLogits });
    const [pooled, flags] = [await out.pooled.read(), await out.empty()];
    return {
      pooled: float32(out.pooled.shape, pooled.slice()),
      empty: new HostTensor("uint8", out.pooled.shape.slice(0, 2), Uint8Array.from(flags, Number)),
    };
  }

  /** GFA of every image; masks without pixels take no part, as in the fuser "gfa". */
  async #fuse(
    kernel: Gfa,
    input: KernelInput,
    pooled: HostTensor<"float32">,
    empty: Uint8Array,
  ): Promise<Record<string, Tensor>> {
    const { images, jointSize } = this.#sizes;
    const queries = this.#config.network.numQueries;
    const query = await numbers(input.queryEmbeddings);
    const shape = [images, queries, jointSize];
    const each = queries * jointSize;
    const rowsOf = (b: number) => {
      const used = [...Array(queries).keys()].filter((n) => !empty[b * queries + n]);
      if (used.length === 0) return null;
      const clip = float32([used.length, jointSize]);
      used.forEach((n, i) => {
        const from = (b * queries + n) * jointSize;
        clip.data.set(pooled.data.subarray(from, from + jointSize), i * jointSize);
      });
      const rows = query.slice(b * each, (b + 1) * each);
      return { clip, query: float32([queries, jointSize], rows) };
    };
    const pairs = Array.from({ length: images }, (_, b) => rowsOf(b));

    // Where all masks are empty, the queries speak alone.
    const fused = float32(shape, query.slice());
    for (const [b, pair] of pairs.entries()) {
      if (pair === null) continue;
      using out = await kernel.run(pair);
      fused.data.set(await out.query.read(), b * each);
    }
    const { gradient } = await this.#fusedLoss!.run({
      parameters: input.parameters,
      fused,
      text: input.text,
      segments: input.segments,
      classes: input.classes,
      matching: input.matching,
      weights: float32([1], Float32Array.of(input.weights)),
    });
    const weight = this.#config.loss.fused;
    const byFused = (await numbers(gradient!)).map((g) => weight * g);
    const byQuery = float32(shape, byFused.slice());
    for (const [b, pair] of pairs.entries()) {
      if (pair === null) continue;
      using back = await kernel.gradients(pair, {
        clip: float32(pair.clip.shape),
        query: float32([queries, jointSize], byFused.slice(b * each, (b + 1) * each)),
      });
      byQuery.data.set(await back.query.read(), b * each);
    }
    return { fusedRows: fused, queryCotangent: byQuery };
  }

  /** Frees kernels and sessions; the device stays. */
  async dispose(): Promise<void> {
    for (
      const part of [this.#soft, this.#hard, this.#gfa, this.#pooledLoss, this.#fusedLoss]
    ) {
      await part?.dispose();
    }
  }
}

/** L_PC of pooled features, and its gradient by them. */
function pooledLossGraph(config: OvsnetConfig, sizes: LossSizes): Uint8Array {
  const graph = new Graph("pooled_loss");
  const { images, jointSize, numClasses } = sizes;
  const { maxSegments } = config.data;
  const pooled = graph.input("pooled", [images, maxSegments, jointSize]);
  const classes = graph.input("classes", [images, maxSegments, numClasses]);
  const text = graph.input("text", [numClasses, jointSize]);
  const proxies = new ProxyGraph(classes, text, graph.input("count", [1]));
  const loss = ops.reduceSum(proxies.distance(pooled));
  graph.output("loss", loss);
  graph.output("gradient", gradients(loss, [pooled])[0]!);
  return graph.toOnnx();
}

/** The gradient of the fused embeddings' class loss by them. */
function fusedLossGraph(
  config: OvsnetConfig,
  sizes: LossSizes,
  layout: ParameterLayout,
): Uint8Array {
  const graph = new Graph("fused_loss");
  const { images, jointSize, numClasses } = sizes;
  const { data: { maxSegments }, network: { numQueries }, loss: { noObject } } = config;
  const { scope } = layout.scopeOver(graph.input("parameters", [layout.size]));
  const fused = graph.input("fused", [images, numQueries, jointSize]);
  const text = graph.input("text", [numClasses, jointSize]);
  const classes = graph.input("classes", [images, maxSegments, numClasses]);
  const segments = graph.input("segments", [images, maxSegments]);
  const matching = graph.input("matching", [images, maxSegments, numQueries]);
  const weights = graph.input("weights", [1]);
  const loss = ops.reduceSum(
    classLoss(
      classifier(scope, text)(fused),
      matching,
      { segments, classes },
      weights,
      noObject,
    ),
  );
  graph.output("gradient", gradients(loss, [fused])[0]!);
  return graph.toOnnx();
}
