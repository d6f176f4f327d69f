/**
 * A pipeline cut where the sliders act: what the encoder and the decoder computed is kept.
 *
 * @module
 */
import {
  type AnyStage,
  classColours,
  classProbabilities,
  clipFuser,
  type Device,
  encodeLabelPng,
  gfaFuser,
  imageEncoder,
  type ImageSlot,
  labelPlaces,
  maskDecoder,
  maskPooling,
  meanFuser,
  type ModelSource,
  openAll,
  openStage,
  Pipeline,
  type PipelineResult,
  queryFuser,
  readAll,
  type Rgb,
  segments,
  semanticSegmenter,
  type SlotName,
  type Slots,
  type Stage,
  type StageTiming,
  textEncoder,
  toHex,
  trainedWordsClassifier,
  vocabulary,
} from "@ovstage/ovstage";
import { enlarge } from "./enlarge.ts";
import { paintLayers } from "./paint_layers.ts";
import type {
  FoundSegment,
  Picture,
  RankedClass,
  SegmentedPicture,
  Settings,
  StageReport,
} from "./protocol.ts";
import { rankClasses, type RankInput } from "./rank_classes.ts";

const seenSlots = ["maskLogits", "queryEmbeddings", "pooled"] as const;
const fuserPlugins = { gfa: gfaFuser, mean: meanFuser, clip: clipFuser, query: queryFuser };

type Fuser = Stage<readonly ["pooled", "queryEmbeddings"], readonly ["fused"]>;
type Ends = readonly [
  Stage<typeof trainedWordsClassifier.needs, typeof trainedWordsClassifier.gives>,
  Stage<typeof semanticSegmenter.needs, typeof semanticSegmenter.gives>,
];

/** The stage for pipelines that don't own it. */
function lent<S extends AnyStage>(stage: S): S {
  return { ...stage, dispose: () => {} };
}

/** A run whose outputs are kept, and for which input they are. */
interface Kept<Name extends SlotName> {
  readonly key: string;
  readonly result: PipelineResult<Name>;
}

/** How {@linkcode Session.segment} goes about it. */
export interface SegmentOptions {
  /** From how many milliseconds for a whole result on a draft is welcome; never if left out. */
  readonly draftFrom?: number;
  /** Called when a stage begins. */
  onStage?(role: string): void;
}

/** OVSNet on one device, for one picture at a time. */
export class Session {
  readonly #device: Device;
  readonly #sight: Pipeline<"image", SlotName>;
  readonly #words: Pipeline<"vocabulary", SlotName>;
  readonly #ends: Ends;
  #fuser: { key: string; stage: Fuser } | null = null;
  /** What the last whole result took from the fuser on, in milliseconds. */
  #wholeTook = 0;
  #seen: Kept<(typeof seenSlots)[number]> | null = null;
  #read: Kept<"text"> | null = null;
  #last: {
    result: PipelineResult<"segmentation" | "classLogits">;
    settings: Settings;
    labels: Int32Array;
    colours: readonly Rgb[];
    picture: ImageSlot;
    rank: Promise<RankInput> | null;
  } | null = null;

  private constructor(
    device: Device,
    sight: Pipeline<"image", SlotName>,
    words: Pipeline<"vocabulary", SlotName>,
    ends: Ends,
  ) {
    this.#device = device;
    this.#sight = sight;
    this.#words = words;
    this.#ends = ends;
  }

  /**
   * Opens the stages.
   *
   * @throws {ModelError} If a model is not what its stage expects.
   */
  static async open(device: Device, models: ModelSource): Promise<Session> {
    const environment = { device, models };
    const [image, decoder, pooler, text, classifier, segmenter] = await openAll([
      openStage(imageEncoder, {}, environment),
      openStage(maskDecoder, {}, environment),
      openStage(maskPooling, {}, environment),
      openStage(textEncoder, {}, environment),
      openStage(trainedWordsClassifier, {}, environment),
      openStage(semanticSegmenter, {}, environment),
    ]);
    const sight = new Pipeline(device, ["image"], []).pipe(image).pipe(decoder).pipe(pooler);
    const words = new Pipeline(device, ["vocabulary"], []).pipe(text);
    return new Session(
      device,
      sight as unknown as Pipeline<"image", SlotName>,
      words as unknown as Pipeline<"vocabulary", SlotName>,
      [classifier, segmenter],
    );
  }

  /**
   * Segments, and computes only what the change since the last call asks for.
   *
   * @throws {InputError} If a class is blank or there twice.
   * @throws {DeviceLostError} If the device went away.
   */
  async segment(
    picture: Picture,
    settings: Settings,
    { draftFrom = Infinity, onStage }: SegmentOptions = {},
  ): Promise<SegmentedPicture> {
    const started = performance.now();
    const options = { onProgress: ({ role }: { role: string }) => onStage?.(role) };
    const words = vocabulary(settings.names);
    const ran: StageTiming[] = [];

    const wordsKey = JSON.stringify(settings.names);
    if (this.#read?.key !== wordsKey) {
      const result = await this.#words.run({ vocabulary: words }, {
        ...options,
        outputs: ["text"],
      });
      this.#read?.result.dispose();
      this.#read = { key: wordsKey, result: result as PipelineResult<"text"> };
      ran.push(...result.timings);
    }
    const pictureKey = `${picture.key}`;
    if (this.#seen?.key !== pictureKey) {
      const result = await this.#sight.run({ image: picture }, { ...options, outputs: seenSlots });
      this.#seen?.result.dispose();
      this.#seen = {
        key: pictureKey,
        result: result as PipelineResult<(typeof seenSlots)[number]>,
      };
      ran.push(...result.timings);
    }
    const tailStarted = performance.now();
    const isDraft = this.#wholeTook >= draftFrom;
    const [maskHeight, maskWidth] = this.#seen.result.outputs.maskLogits.shape.slice(1) as [
      number,
      number,
    ];
    // No stage from here on looks at the pixels.
    const frame = isDraft
      ? { width: maskWidth, height: maskHeight, rgb: new Uint8Array(3 * maskWidth * maskHeight) }
      : picture;
    const replaced = this.#fuser?.stage;
    const fuser = await this.#openFuser(settings);
    const [classifier, segmenter] = this.#ends;
    const tail = new Pipeline(
      this.#device,
      ["image", "vocabulary", "text", ...seenSlots],
      [],
    ).pipe(lent(fuser)).pipe(lent(classifier)).pipe(lent(segmenter));
    let result: PipelineResult<"segmentation" | "classLogits">;
    try {
      result = await tail.run(
        {
          image: frame,
          vocabulary: words,
          ...this.#read.result.outputs,
          ...this.#seen.result.outputs,
        },
        { ...options, outputs: ["segmentation", "classLogits"] },
      );
    } finally {
      // Only now: fusers that differ in ω alone have sessions in common.
      if (replaced !== fuser) await replaced?.dispose?.();
    }
    ran.push(...result.timings);

    const { segmentation } = result.outputs;
    const found = await readAll([segmentation.labels, segmentation.scores]);
    const { width, height } = picture;
    const map = {
      width: frame.width,
      height: frame.height,
      labels: Int32Array.from(found[0]),
      scores: found[1],
    };
    const labels = isDraft
      ? enlarge(map.labels, [map.width, map.height], [width, height])
      : map.labels;
    const listed = segments(map, settings.names);
    const colours = classColours(settings.names.length, listed.map(({ index }) => index));
    this.#last?.result.dispose();
    this.#last = { result, settings, labels, colours, picture, rank: null };
    const places = labelPlaces(map.labels, map.width, map.height, settings.names.length);
    const [acrossX, acrossY] = [width / map.width, height / map.height];
    const layers = paintLayers(labels, width, height, colours);
    if (!isDraft) this.#wholeTook = performance.now() - tailStarted;
    return {
      pictureKey: picture.key,
      settings,
      isDraft,
      width,
      height,
      labels: labels.slice(),
      segments: listed.map((segment): FoundSegment => {
        const { index, area, bbox: [left, top, boxWidth, boxHeight] } = segment;
        const place = places[index] ?? null;
        return {
          ...segment,
          area: Math.round(area * acrossX * acrossY),
          bbox: [left * acrossX, top * acrossY, boxWidth * acrossX, boxHeight * acrossY],
          colour: toHex(colours[index]!),
          place: place && {
            x: Math.floor((place.x + 0.5) * acrossX),
            y: Math.floor((place.y + 0.5) * acrossY),
            room: place.room * Math.min(acrossX, acrossY),
          },
        };
      }),
      ...layers,
      stages: this.#report(ran),
      milliseconds: performance.now() - started,
    };
  }

  /**
   * Ranks the classes at a pixel of the last result.
   *
   * @param x Column.
   * @param y Row.
   * @param count How many classes.
   */
  async rank(x: number, y: number, count: number): Promise<RankedClass[]> {
    const last = this.#last;
    const seen = this.#seen;
    if (last === null || seen === null) return [];
    const { width, height } = last.picture;
    // Read once a result: the masks lie on the device.
    last.rank ??= this.#readMasks(seen.result.outputs.maskLogits, last.result.outputs.classLogits);
    const ranks = rankClasses(await last.rank, x, y, [width, height], count);
    return ranks.map(({ index, score }) => ({ label: last.settings.names[index]!, score }));
  }

  /** The last label map as a PNG whose values are class indices, in the overlay's colours. */
  async labelPng(): Promise<Uint8Array> {
    const last = this.#last;
    if (last === null) throw new TypeError("there is no result yet");
    const { labels, colours, picture: { width, height } } = last;
    return await encodeLabelPng(labels, width, height, colours);
  }

  /** Frees everything but the device. */
  async dispose(): Promise<void> {
    for (const kept of [this.#last, this.#seen, this.#read]) kept?.result.dispose();
    for (const stage of [this.#fuser?.stage, ...this.#ends]) await stage?.dispose?.();
    await this.#sight.dispose();
    await this.#words.dispose();
  }

  async #openFuser({ fuser, omega, lambda }: Settings): Promise<Fuser> {
    const options = fuser === "gfa" ? { omega, lambda } : {};
    const key = JSON.stringify([fuser, options]);
    if (this.#fuser?.key === key) return this.#fuser.stage;
    const environment = {
      device: this.#device,
      models: {
        location: "nowhere",
        read: () => Promise.reject(new TypeError("fusers have no models")),
      },
    };
    const plugin = fuserPlugins[fuser] as typeof gfaFuser;
    const stage = await openStage(plugin, options, environment) as unknown as Fuser;
    this.#fuser = { key, stage };
    return stage;
  }

  async #readMasks(
    maskLogits: Slots["maskLogits"],
    { logits, hasVoid }: Slots["classLogits"],
  ): Promise<RankInput> {
    const [numMasks, maskHeight, maskWidth] = maskLogits.shape as [number, number, number];
    const numClasses = logits.shape[1]! - (hasVoid ? 1 : 0);
    const [ofPixels, classLogits] = await readAll([maskLogits, logits]);
    return {
      maskLogits: ofPixels,
      probabilities: classProbabilities(
        { classLogits, numMasks, numClasses, hasVoid },
        new Float32Array(numMasks * numClasses),
      ),
      numMasks,
      numClasses,
      maskHeight,
      maskWidth,
    };
  }

  readonly #timings = new Map<string, StageTiming>();

  #report(ran: readonly StageTiming[]): StageReport[] {
    for (const timing of ran) this.#timings.set(timing.role, timing);
    const networks = this.#device.engine.kind === "webgpu";
    const kernels = ["pooler", "segmenter"];
    // Only GFA leaves the embeddings where they are, so that classifiers find them there.
    if (this.#timings.get("fuser")?.name === "gfa") kernels.push("fuser", "classifier");
    const order = [
      imageEncoder,
      textEncoder,
      maskDecoder,
      maskPooling,
      gfaFuser,
      trainedWordsClassifier,
      semanticSegmenter,
    ];
    return order.flatMap(({ role }) => {
      const timing = this.#timings.get(role);
      if (timing === undefined) return [];
      const onGpu = ["image-encoder", "text-encoder", "decoder"].includes(role)
        ? networks
        : this.#device.kind === "webgpu" && kernels.includes(role);
      return [{ ...timing, ran: ran.includes(timing), device: onGpu ? "GPU" : "CPU" } as const];
    });
  }
}
