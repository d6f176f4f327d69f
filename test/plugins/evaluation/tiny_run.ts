/**
 * A data set and a pipeline that are small and wrong now and then, for tests of evaluation.
 *
 * @module
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Dataset, type DatasetClass, fingerprintDataset } from "../../../lib/data/dataset.ts";
import { Image } from "../../../lib/image/image.ts";
import { Rng } from "../../../lib/rng.ts";
import { Pipeline } from "../../../lib/stages/pipeline.ts";
import { type AnyStage, defineStage } from "../../../lib/stages/stage.ts";
import { float32, HostTensor } from "../../../lib/tensor.ts";
import type { PipelineIdentity } from "../../../plugins/evaluation/pipeline_identity.ts";
import type { OpenPipeline } from "../../../plugins/evaluation/split_pipeline.ts";
import { fakeDevice } from "../../lib/stages/fakes.ts";

/** Names that a careless report would take for markup. */
export const tinyNames = ["dog", "<b>guitar</b>", 'slice & "pizza"', "others"];

/** What differs between tiny data sets. */
export interface TinyOptions {
  /** Number of images. */
  length?: number;
  /** Class names. */
  names?: readonly string[];
  /** Index of "others". */
  others?: number | null;
  /** Called with the index before an image is read. */
  onRead?: (index: number) => void;
}

/** Images of 9×7 pixels whose red channel is the class. */
export function tinyDataset(options: TinyOptions = {}): Dataset {
  const { length = 11, names = tinyNames, others = null, onRead } = options;
  const classes: DatasetClass[] = names.map((name) => ({
    name,
    synonyms: [name, `a ${name}`],
    isThing: null,
  }));
  const outline = {
    name: "tiny",
    classes,
    othersIndex: others,
    hasSegments: false,
    length,
    id: (index: number) => `folder/<i>image ${index}.png`,
  };
  return {
    ...outline,
    fingerprint: () => fingerprintDataset(outline),
    read(index) {
      onRead?.(index);
      const rng = new Rng(index);
      const labels = new Int32Array(63);
      for (let i = 0; i < 63;) {
        const end = Math.min(63, i + 1 + rng.integer(9));
        labels.fill(rng.integer(names.length + 1) - 1, i, end);
        i = end;
      }
      const rgb = new Uint8Array(63 * 3);
      labels.forEach((label, i) => rgb[3 * i] = label < 0 ? 200 : label);
      return Promise.resolve({ id: outline.id(index), image: new Image(9, 7, rgb), labels });
    },
  };
}

/** How often each stage ran. */
export type Runs = Record<string, number>;

/**
 * A pipeline of an image encoder, a text encoder and a segmenter, which errs more the more names
 * there are.
 */
export function tinyPipeline(runs: Runs = {}): OpenPipeline {
  const count = (name: string) => runs[name] = (runs[name] ?? 0) + 1;
  const stages = [
    defineStage({
      role: "image-encoder",
      name: "red",
      needs: ["image"],
      gives: ["features"],
      run({ image: { width, height, rgb } }) {
        count("image");
        const red = Float32Array.from({ length: width * height }, (_, i) => rgb[3 * i]!);
        return { features: float32([1, height, width], red) };
      },
    }),
    defineStage({
      role: "text-encoder",
      name: "length",
      needs: ["vocabulary"],
      gives: ["text"],
      run({ vocabulary: { names } }) {
        count("text");
        return { text: float32([names.length, 1], Float32Array.from(names, (n) => n.length)) };
      },
    }),
    defineStage({
      role: "segmenter",
      name: "semantic",
      needs: ["features", "text", "vocabulary"],
      gives: ["segmentation"],
      async run({ features, vocabulary: { names } }) {
        count("segmenter");
        const [, height, width] = features.shape as [number, number, number];
        const labels = Int32Array.from(await features.read(), (red, i) => {
          const guess = (i * 7919 + red * 31) % (40 + names.length);
          return guess < names.length ? guess : guess === 41 ? -1 : red < 4 ? red : 0;
        });
        return {
          segmentation: {
            labels: new HostTensor("int32", [height, width], labels),
            scores: float32([height, width]),
          },
        };
      },
    }),
  ];
  return new Pipeline(
    fakeDevice(),
    ["image", "vocabulary"],
    stages as unknown as AnyStage[],
  ) as unknown as OpenPipeline;
}

/** What a tiny pipeline calls itself. */
export function tinyIdentity(omega = 0.5): PipelineIdentity {
  return {
    document: { version: 1, stages: [{ role: "fuser", name: "gfa", options: { omega } }] },
    models: { "a.onnx": "00" },
    plugins: [],
    device: "cpu",
  };
}

/** The bytes of all files below a folder, by path. */
export function filesOf(path: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(path, { recursive: true, withFileTypes: true }).filter((file) => file.isFile())
      .map((file) => join(file.parentPath, file.name)).sort()
      .map((file) => [file.slice(path.length), readFileSync(file).toString("hex")]),
  );
}
