/**
 * A device and tensors for tests of the framework, which computes nothing itself.
 *
 * @module
 */
import { DeviceLostError, ModelError } from "../../../lib/errors.ts";
import type { Device } from "../../../lib/runtime.ts";
import type { PyramidLevel, SlotName, Slots } from "../../../lib/stages/slots.ts";
import { float32, HostTensor, type Tensor } from "../../../lib/tensor.ts";

/** A device that can be lost on demand. */
export function fakeDevice(): Device & { lose(): void } {
  let lost = false;
  return {
    kind: "cpu",
    description: "nothing",
    fallbackReason: null,
    engine: {
      name: "nothing",
      kind: "cpu",
      load: () => Promise.reject(new ModelError("nothing loads here")),
    },
    gpu: null,
    assertAlive() {
      if (lost) throw new DeviceLostError("the device was lost; open the pipeline again");
    },
    lose: () => lost = true,
    dispose: () => Promise.resolve(),
  };
}

/** Counts tensors that have not been disposed of. */
export class Tally {
  /** Tensors alive. */
  live = 0;
  /** Tensors that were disposed of more than once. */
  twice = 0;
  /** Tensors ever made. */
  made = 0;

  /** A counted tensor of zeros. */
  tensor(shape: readonly number[]): Tensor<"float32"> {
    const inner = float32(shape);
    let disposed = false;
    this.live++;
    this.made++;
    return {
      dtype: "float32",
      shape,
      location: "host",
      read: () => disposed ? Promise.reject(new Error("read after disposal")) : inner.read(),
      dispose: () => {
        if (disposed) this.twice++;
        else this.live--;
        disposed = true;
      },
    };
  }
}

/** The sizes of {@linkcode slotValue}. */
export interface Sizes {
  C: number;
  D: number;
  N: number;
  H: number;
  W: number;
}

/** Sizes that differ from each other, so that a mix-up shows. */
export const sizes: Sizes = { C: 5, D: 4, N: 3, H: 7, W: 6 };

/** A value that fits its slot. */
export function slotValue<Name extends SlotName>(
  slot: Name,
  { C, D, N, H, W }: Sizes = sizes,
  tally = new Tally(),
): Slots[Name] {
  const make: { [Slot in SlotName]?: () => Slots[Slot] } = {
    image: () => ({ width: W, height: H, rgb: new Uint8Array(3 * W * H) }),
    vocabulary: () => ({
      names: Array.from({ length: sizes.C }, (_, c) => `class ${c}`),
      active: Array.from({ length: C }, (_, c) => c),
    }),
    text: () => tally.tensor([C, D]),
    features: () => tally.tensor([D, 2, 3]),
    pyramid: (): PyramidLevel[] => [
      { stride: 4, features: tally.tensor([8, 4, 6]) },
      { stride: 8, features: tally.tensor([9, 2, 3]) },
    ],
    maskLogits: () => tally.tensor([N, 4, 6]),
    queryEmbeddings: () => tally.tensor([N, D]),
    pooled: () => ({
      embeddings: tally.tensor([N, D]),
      empty: new HostTensor("uint8", [N]),
    }),
    fused: () => tally.tensor([N, D]),
    classLogits: () => ({ logits: tally.tensor([N, C + 1]), hasVoid: true }),
    pixelLogits: () => tally.tensor([C, 4, 6]),
    segmentation: () => ({
      labels: new HostTensor("int32", [H, W]),
      scores: tally.tensor([H, W]),
    }),
  };
  return make[slot]!() as Slots[Name];
}
