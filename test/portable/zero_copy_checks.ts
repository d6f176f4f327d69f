/**
 * Checks that a frame crosses between host and device twice: the image there, the result back.
 *
 * @module
 */
import { liveBuffers } from "../../kernels/dispatch/gpu_tensor.ts";
import { readAll } from "../../kernels/dispatch/read_all.ts";
import { Rng } from "../../lib/rng.ts";
import { modelsIn } from "../../lib/stages/models.ts";
import type { ImageSlot, Slots } from "../../lib/stages/slots.ts";
import { vocabulary } from "../../lib/stages/vocabulary.ts";
import { openPipeline } from "../../plugins/methods/open_pipeline.ts";
import { ovsnetDocument } from "../../plugins/methods/ovsnet.ts";
import { acquireDevice, type AcquireOptions } from "../../plugins/runtimes/mod.ts";
import { countTransfers, type Transfers } from "../count_transfers.ts";
import { tinyModels } from "../tiny_networks.ts";
import { type Check, ensure } from "./check.ts";

const [width, height] = [80, 60];
/** The image as the encoder takes it: 3 planes of float32, 64 pixels wide. */
const encodedBytes = 3 * 4 * 64 * 48;

function picture(seed: number): ImageSlot {
  const rng = new Rng(seed);
  return {
    width,
    height,
    rgb: Uint8Array.from({ length: 3 * width * height }, () => rng.integer(256)),
  };
}

/** Checks of whole pipelines whose networks run on the device, too. */
export function zeroCopyChecks(options: AcquireOptions): Check[] {
  return [{
    name: "webgpu: a frame is one upload, the image, and one read-back, the result",
    async run() {
      await using device = await acquireDevice("webgpu", { ...options, networks: "webgpu" });
      const gpu = device.gpu!;
      const models = modelsIn(tinyModels());
      // Labels and scores; mask and class logits, which panoptic inference works with on the host.
      const variants = [
        { task: "semantic", classifier: "cosine", results: 8 * width * height },
        { task: "semantic", classifier: "query_void", results: 8 * width * height },
        { task: "semantic", classifier: "cosine", output: "mean", results: 8 * width * height },
        { task: "semantic", classifier: "cosine", output: "query", results: 8 * width * height },
        { task: "semantic", classifier: "geometric_ensemble", results: 8 * width * height },
        { task: "semantic", classifier: "trained_words", results: 8 * width * height },
        { task: "panoptic", classifier: "query_void", results: 4 * 8 * 16 * 12 },
      ] as const;
      for (const { task, classifier, results, ...fuser } of variants) {
        const document = ovsnetDocument({ task, classifier, inputSize: 64, stages: { fuser } });
        await using pipeline = await openPipeline(document, { device, models });
        const segment = async (seed: number, names: readonly string[]) => {
          const output = task === "semantic" ? "segmentation" : "panoptic";
          const words = { ...vocabulary(names), trained: names.map((_, c) => c > 0) };
          const inputs = { image: picture(seed), vocabulary: words };
          using result = await pipeline.run(inputs, { outputs: [output] });
          const { segmentation } = result.outputs as Partial<Slots>;
          if (segmentation) await readAll([segmentation.labels, segmentation.scores]);
        };
        const names = ["dog", "guitar", "slice of pizza"];
        await segment(0, names);
        for (let frame = 1; frame <= 2; frame++) {
          const found = await countTransfers(gpu, () => segment(frame, names));
          ensureZeroCopy(`${task}, ${classifier}, frame ${frame}`, found, results);
        }
        // Words that are new cross once, and their embeddings come back to be kept.
        const others = await countTransfers(gpu, () => segment(3, ["dog", "house"]));
        ensure(others.readBacks.length === 2, `${others.readBacks.length} read-backs by new words`);
        const words = others.uploads.filter(({ label }) => label === "words");
        ensure(words.length === 1, `${words.length} uploads of words`);
        const again = await countTransfers(gpu, () => segment(4, ["dog", "house"]));
        ensureZeroCopy(`${task}, ${classifier}, new words again`, again, results);
      }
      ensure(liveBuffers(gpu) === 0, `${liveBuffers(gpu)} buffers are left`);
    },
  }];
}

/** One read-back, at least as large as the results; the image, and what only depends on sizes. */
function ensureZeroCopy(what: string, { readBacks, uploads }: Transfers, results: number): void {
  ensure(readBacks.length === 1, `${what}: read back ${readBacks.join(", ")} bytes`);
  const [bytes] = readBacks as [number];
  ensure(bytes >= results && bytes <= results + 1024, `${what}: ${bytes} bytes, not ${results}`);
  const fixed = ["faults", "runs"];
  const data = uploads.filter(({ label, uniform }) => !uniform && !fixed.includes(label));
  const image = data.filter(({ bytes }) => bytes === encodedBytes);
  ensure(
    image.length === 1 && data.length === 1,
    `${what}: uploaded ${data.map(({ label, bytes }) => `${label} ${bytes}`).join(", ")}`,
  );
}
