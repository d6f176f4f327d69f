/**
 * What is true of every fuser.
 *
 * @module
 */
import type fc from "fast-check";
import { OptionError, ShapeError } from "../errors.ts";
import type { Device } from "../runtime.ts";
import { modelsIn, type ModelSource } from "../stages/models.ts";
import type { OptionValue } from "../stages/options.ts";
import { type AnyPlugin, openStage } from "../stages/plugin.ts";
import type { Slots } from "../stages/slots.ts";
import { type AnyStage, formatStage } from "../stages/stage.ts";
import { formatShape, type Tensor } from "../tensor.ts";
import { countDevice, hostDevice } from "./counting_device.ts";
import {
  drawFuserInput,
  type FuserCase,
  fuserCases,
  type FuserInput,
  type FuserInputChange,
  fuserInputNames,
  fuserTensors,
  reflectFuserRows,
} from "./fuser_case.ts";
import { bindLaw, defineLaw, type Law, type LawOf } from "./law.ts";
import { difference, longestRow, permutation, permuteRows, sameBits } from "./numbers.ts";

/** The laws of fusers, as `except` names them. */
export const fuserLawNames = [
  "shape",
  "finite",
  "determinism",
  "permutation",
  "rotation",
  "inputs",
  "disposal",
] as const;

/** One of {@linkcode fuserLawNames}. */
export type FuserLawName = typeof fuserLawNames[number];

/** Options of {@linkcode fuserLaws}. */
export interface FuserLawsOptions {
  /** The fuser's own options, where they differ from their defaults. */
  readonly options?: Readonly<Record<string, OptionValue>>;
  /** Where it computes; left out, it may use host memory alone. The caller disposes of it. */
  readonly device?: Device;
  /** Where its model files are; left out, there are none. */
  readonly models?: ModelSource;
  /** Laws that it lacks by design. */
  readonly except?: readonly FuserLawName[];
  /**
   * How far rows may be off after a permutation or a rotation, relative to the longest row; 1e-4
   * where left out, which is some hundred roundings of float32.
   */
  readonly tolerance?: number;
}

interface Subject {
  readonly stage: AnyStage;
  /** The same, opened a second time. */
  readonly twin: AnyStage;
  readonly device: Device;
  /** Opens a stage on another device. */
  open(device: Device): Promise<AnyStage>;
}

async function run(
  stage: AnyStage,
  device: Device,
  c: FuserCase,
  input: FuserInput,
): Promise<Float32Array> {
  const lent = Object.fromEntries(
    stage.needs.map((name) => [name, input[name as keyof FuserInput]]),
  ) as Partial<Slots>;
  const given = await stage.run(lent, {
    device,
    signal: new AbortController().signal,
    progress() {},
  });
  const { fused } = given;
  if (fused === undefined) throw new ShapeError("it gives no fused");
  try {
    const wanted = formatShape([c.masks, c.channels]);
    if (fused.dtype !== "float32" || formatShape(fused.shape) !== wanted) {
      throw new ShapeError(
        `fused is ${fused.dtype} ${formatShape(fused.shape)}, must be float32 ${wanted}`,
      );
    }
    const data = await fused.read();
    if (data.length !== c.masks * c.channels) {
      throw new ShapeError(`fused of shape ${wanted} holds ${data.length} numbers`);
    }
    return data.slice();
  } finally {
    // A tensor that was lent may come back, and stays the lender's.
    const own = fuserTensors(input).map(([, tensor]) => tensor as Tensor);
    if (!own.includes(fused)) fused.dispose();
  }
}

function fuse(
  { stage, device }: Pick<Subject, "stage" | "device">,
  c: FuserCase,
  change: FuserInputChange = {},
): Promise<Float32Array> {
  return run(stage, device, c, drawFuserInput(c, change));
}

/** Relative to the longest row of either; null where the law of finite rows has its say. */
function distance(
  a: Float32Array,
  b: Float32Array | Float64Array,
  columns: number,
): number | null {
  if (!b.every(Number.isFinite)) return null;
  const d = difference(a, b);
  return d === 0 ? 0 : d / Math.max(longestRow(a, columns), longestRow(b, columns));
}

type Judge = (subject: Subject, c: FuserCase) => Promise<number | null>;

const judges: Record<FuserLawName, { text: string; judge: Judge }> = {
  shape: {
    text: "fused is float32 N×D, whatever N and D",
    async judge(subject, c) {
      await fuse(subject, c);
      return 0;
    },
  },
  finite: {
    text: "finite inputs give finite rows",
    async judge(subject, c) {
      const fused = await fuse(subject, c);
      const at = fused.findIndex((value) => !Number.isFinite(value));
      if (at < 0) return 0;
      const row = Math.floor(at / c.channels);
      throw new Error(`row ${row} of fused has ${fused[at]} in column ${at % c.channels}`);
    },
  },
  determinism: {
    text: "the same inputs give the same bits, beside other runs and in another stage too",
    async judge(subject, c) {
      const first = await fuse(subject, c);
      const [again] = await Promise.all([
        fuse(subject, c),
        fuse(subject, { ...c, masks: c.masks + 1, seed: c.seed + 1 }),
      ]);
      if (!sameBits(first, again!)) throw new Error(differs(first, again!, "when run again"));
      const twin = await fuse({ stage: subject.twin, device: subject.device }, c);
      if (!sameBits(first, twin)) throw new Error(differs(first, twin, "in a stage opened anew"));
      return 0;
    },
  },
  permutation: {
    text: "permuted masks give permuted rows",
    async judge(subject, c) {
      const order = permutation(c.masks, c.seed + 3);
      const [plain, permuted] = [await fuse(subject, c), await fuse(subject, c, { order })];
      const shape = [c.masks, c.channels];
      const expected = permuteRows({ shape, data: plain } as never, order);
      return distance(permuted, expected.data, c.channels);
    },
  },
  rotation: {
    text: "a reflection of the feature space reflects the rows",
    async judge(subject, c) {
      const plain = await fuse(subject, c);
      const reflected = await fuse(subject, c, { reflected: true });
      return distance(reflected, reflectFuserRows(c)(plain), c.channels);
    },
  },
  inputs: {
    text: "inputs are left as they are, and are not disposed of",
    async judge(subject, c) {
      const [input, copy] = [drawFuserInput(c), drawFuserInput(c)];
      await run(subject.stage, subject.device, c, input);
      const before = fuserTensors(copy);
      fuserTensors(input).forEach(([name, tensor], i) => {
        if (tensor.disposals > 0) throw new Error(`${name} was only lent, and is disposed of`);
        const was = before[i]![1];
        const at = tensor.data.findIndex((value, j) => !Object.is(value, was.data[j]));
        if (at < 0) return;
        throw new Error(`${name}: element ${at} was ${was.data[at]}, is now ${tensor.data[at]}`);
      });
      return 0;
    },
  },
  disposal: {
    text: "a stage that is disposed of leaves no session and no GPU buffer behind",
    async judge({ device, open }, c) {
      const counting = countDevice(device);
      const live = async () => {
        const stage = await open(counting.device);
        try {
          await fuse({ stage, device: counting.device }, c);
        } finally {
          await stage.dispose?.();
        }
        return [counting.sessions(), counting.buffers()] as const;
      };
      try {
        // What the first life leaves may be a cache of the device's; it must not grow.
        const [sessions, buffers] = await live();
        const [moreSessions, moreBuffers] = await live();
        const grown = [
          moreSessions > sessions ? `${moreSessions - sessions} sessions` : "",
          moreBuffers > buffers ? `${moreBuffers - buffers} GPU buffers` : "",
        ].filter((words) => words !== "");
        if (grown.length > 0) throw new Error(`${grown.join(" and ")} are left after its disposal`);
        return 0;
      } finally {
        counting.restore();
      }
    },
  },
};

function differs(a: Float32Array, b: Float32Array, when: string): string {
  const at = a.findIndex((value, i) => !Object.is(value, b[i]));
  return `element ${at} is ${a[at]}, but ${b[at]} ${when}`;
}

/**
 * The laws of fusers, about one plugin. Pass each to a test of your runner, or all of them to
 * {@linkcode checkLaws}.
 *
 * @param plugin Any plugin that gives `fused`, whatever its role; it may need any slot of this
 *   package that a decoder, an encoder or a pooler gives.
 * @param options Its own options, the device, and the laws that it lacks by design.
 * @throws {OptionError} If the plugin gives no `fused`, or needs a slot that can't be drawn.
 *
 * @example
 * ```ts
 * import { fuserLaws } from "@ovstage/ovstage/testing";
 * import type { NoOptions, StagePlugin } from "@ovstage/ovstage";
 * const first: StagePlugin<["pooled"], ["fused"], NoOptions> = {
 *   role: "fuser",
 *   name: "first",
 *   description: "what the image says, and nothing else",
 *   needs: ["pooled"],
 *   gives: ["fused"],
 *   options: {},
 *   create: () => ({ run: ({ pooled }) => ({ fused: pooled.embeddings }) }),
 * };
 * for (const law of fuserLaws(first)) await law.check({ cases: 20 });
 * ```
 */
export function fuserLaws(plugin: AnyPlugin, options: FuserLawsOptions = {}): Law[] {
  const title = formatStage(plugin);
  if (!plugin.gives.includes("fused")) {
    throw new OptionError(
      `${title} gives ${plugin.gives.join(", ") || "nothing"}; a fuser gives fused`,
    );
  }
  const strange = plugin.needs.filter((name) =>
    !(fuserInputNames as readonly string[]).includes(name)
  );
  if (strange.length > 0) {
    throw new OptionError(
      `${title} needs ${strange.join(", ")}, which the laws of fusers can't draw; they draw ` +
        fuserInputNames.join(", "),
    );
  }
  for (const name of options.except ?? []) {
    if (fuserLawNames.includes(name)) continue;
    throw new OptionError(
      `${title}: there is no law of fusers "${name}"; except takes ${fuserLawNames.join(", ")}`,
    );
  }
  const device = options.device ?? hostDevice();
  const models = options.models ?? modelsIn({});
  const open = (device: Device) => openStage(plugin, options.options ?? {}, { device, models });
  return fuserLawNames.map((id) => {
    const { text, judge } = judges[id];
    const law = defineLaw<Subject, FuserCase>(
      `${id}: ${text}`,
      fuserCases as fc.Arbitrary<FuserCase>,
      judge,
      { tolerance: options.tolerance ?? 1e-4 },
    );
    return bindLaw(
      withStages(law, open, device, options.except?.includes(id) ?? false),
      undefined,
      `${title}: ${law.name}`,
    );
  });
}

/** Opens the stages that a law is about, and disposes of them when it is checked. */
function withStages(
  law: LawOf<Subject>,
  open: (device: Device) => Promise<AnyStage>,
  device: Device,
  excepted: boolean,
): LawOf<undefined> {
  return {
    name: law.name,
    lacks: () => excepted ? "excepted by design" : null,
    async run(_, options) {
      const stage = await open(device);
      try {
        const twin = await open(device);
        try {
          return await law.run({ stage, twin, device, open }, options);
        } finally {
          await twin.dispose?.();
        }
      } finally {
        await stage.dispose?.();
      }
    },
  };
}
