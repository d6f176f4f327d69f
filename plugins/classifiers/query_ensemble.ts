/**
 * What the classifiers have in common in which queries and other embeddings vote together.
 *
 * @module
 */
import { GpuQueryEnsemble } from "../../kernels/class_logits/gpu.ts";
import { exp, log } from "../../lib/portable_math.ts";
import type { StageEnvironment } from "../../lib/stages/plugin.ts";
import type { ClassLogitsSlot, VocabularySlot } from "../../lib/stages/slots.ts";
import type { Tensor } from "../../lib/tensor.ts";
import { EmptyMasks } from "../poolers/empty_masks.ts";
import { CosineModel } from "./cosine_model.ts";

/** Who votes, and on what. */
export interface Ballot {
  /** The categories. */
  readonly vocabulary: VocabularySlot;
  /** T × D. */
  readonly text: Tensor<"float32">;
  /** N × D. */
  readonly queryEmbeddings: Tensor<"float32">;
  /** N × D, who votes beside the queries. */
  readonly others: Tensor<"float32">;
  /** Of which masks the others know nothing; none where left out. */
  readonly empty?: Tensor<"uint8">;
  /** The others' share s of the vote on each of C categories, from 0 to 1. */
  readonly shares: Float32Array<ArrayBuffer>;
}

/** A name as the text encoder reads it: in lower case. */
function asRead(name: string): string {
  return name.trim().toLowerCase();
}

/** The logarithm of a sum of exponentials. */
function logSumExp(values: Float32Array | Float64Array): number {
  let top = -Infinity;
  for (const value of values) top = Math.max(top, value);
  let sum = 0;
  for (const value of values) sum += exp(value - top);
  return top + log(sum);
}

/**
 * Probabilities by the queries and by other embeddings of the same masks, joined geometrically:
 *
 *     p(c | n) ∝ p_query(c | n)^(1−s) · p_other(c | n)^s
 *
 * Only the decoder has learned what is no object, and only in its queries. So void is left to them,
 * and the categories share 1 − p_query(void | n). The logits are the logarithms of these.
 */
export class QueryEnsemble {
  readonly #owner: string;
  readonly #cosine: CosineModel;
  readonly #known: ReadonlySet<string> | null;
  readonly #onDevice: GpuQueryEnsemble | null;

  private constructor(owner: string, cosine: CosineModel, gpu: GPUDevice | null) {
    this.#owner = owner;
    this.#cosine = cosine;
    this.#known = cosine.trained && new Set(cosine.trained.map(asRead));
    this.#onDevice = gpu && new GpuQueryEnsemble(gpu);
  }

  /**
   * Reads the model.
   *
   * @param owner Whose work it is, for messages.
   * @param options Of every cosine classifier.
   * @throws {ModelError} If the file is missing or no classifier's.
   */
  static async read(
    owner: string,
    { logitScale, model }: { readonly logitScale: number; readonly model: string },
    environment: StageEnvironment,
  ): Promise<QueryEnsemble> {
    const cosine = await CosineModel.read(environment, model, logitScale);
    return new QueryEnsemble(owner, cosine, environment.device.gpu);
  }

  /**
   * For each active category, whether the decoder was trained on it: by the vocabulary, else by the
   * model's own list; null where neither knows.
   */
  trained({ names, active, trained }: VocabularySlot): boolean[] | null {
    if (trained !== undefined) return active.map((index) => trained[index]!);
    return this.#known && active.map((index) => this.#known!.has(asRead(names[index]!)));
  }

  /** Counts the votes. */
  async vote(ballot: Ballot): Promise<ClassLogitsSlot> {
    const { vocabulary, text, queryEmbeddings, others, empty, shares } = ballot;
    const [cosine, owner] = [this.#cosine, this.#owner];
    if (
      cosine.isOnDevice(others) && cosine.isOnDevice(queryEmbeddings) &&
      (empty === undefined || empty instanceof EmptyMasks)
    ) {
      const rows = [queryEmbeddings, others] as const;
      const [logits, ofOthers] = await cosine.deviceLogits(owner, rows, text, vocabulary);
      using _ofOthers = ofOthers;
      try {
        await this.#onDevice!.run(logits, ofOthers, shares, empty?.areas);
        return { logits, hasVoid: true };
      } catch (error) {
        logits.dispose();
        throw error;
      }
    }
    const logits = await cosine.hostLogits(owner, queryEmbeddings, text, vocabulary);
    const ofOthers = await cosine.hostLogits(owner, others, text, vocabulary);
    const isEmpty = await empty?.read();
    const [rows, columns] = logits.shape as readonly [number, number];
    const count = columns - 1;
    const joined = new Float64Array(count);
    for (let n = 0; n < rows; n++) {
      const row = logits.data.subarray(n * columns, (n + 1) * columns);
      const other = ofOthers.data.subarray(n * columns, n * columns + count);
      const all = logSumExp(row);
      const among = logSumExp(row.subarray(0, count));
      const amongOthers = logSumExp(other);
      for (let c = 0; c < count; c++) {
        const share = isEmpty?.[n] ? 0 : shares[c]!;
        joined[c] = (1 - share) * (row[c]! - among) + share * (other[c]! - amongOthers);
      }
      const whole = logSumExp(joined);
      for (let c = 0; c < count; c++) row[c] = joined[c]! - whole + among - all;
      row[count] = row[count]! - all;
    }
    return { logits, hasVoid: true };
  }

  /** Frees what is kept on the device. */
  dispose(): void {
    this.#cosine.dispose();
    this.#onDevice?.dispose();
  }
}
