/**
 * The laws of the kernels, run on a device. It uses nothing of the runtime, so that the same cases
 * judge every engine.
 *
 * @module
 */
import { liveBuffers } from "../../kernels/dispatch/gpu_tensor.ts";
import { kernelsOn } from "../../kernels/testing.ts";
import type { Device } from "../../lib/runtime.ts";
import type { Tensor } from "../../lib/tensor.ts";
import { allLaws, type Implementation, type LawResult } from "./laws.ts";

/** Cases judged at a time: enough to hide that a read-back from a GPU takes its time. */
export const concurrency = 8;

/**
 * Remembers results by their inputs, since laws begin with the same cases: what one of them has
 * computed, the next need not.
 */
export function remembering<Subject extends Implementation>(
  fresh: Subject,
): Subject & { readonly fresh: Subject } {
  const results = new Map<string, Promise<unknown>>();
  const remembered = <Input extends object, Options, Result>(
    name: string,
    compute: (input: Input, options: Options) => Promise<Result>,
  ) =>
  (input: Input, options: Options): Promise<Result> => {
    const key = `${name} ${JSON.stringify(options)} ${fingerprint(input)}`;
    let result = results.get(key) as Promise<Result> | undefined;
    if (result === undefined) {
      result = compute(input, options);
      results.set(key, result);
      result.catch(() => results.delete(key));
    }
    return result;
  };
  return {
    ...fresh,
    maskPooling: remembered("maskPooling", (input, options) => fresh.maskPooling(input, options)),
    gfa: remembered("gfa", (input, options) => fresh.gfa(input, options)),
    fresh,
  };
}

/** Shapes, and 64 bits that stand for the elements (FNV-1a, twice). */
function fingerprint(input: object): string {
  return Object.values(input as Record<string, Tensor & { data: ArrayBufferView }>)
    .map(({ dtype, shape, data }) => {
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      let [a, b] = [0x811c9dc5, 0x01000193];
      for (const byte of bytes) {
        a = Math.imul(a ^ byte, 0x01000193);
        b = Math.imul(b ^ byte, 0x85ebca6b) + a | 0;
      }
      return `${dtype} ${shape} ${a} ${b}`;
    }).join(";");
}

/**
 * Runs every law, and counts the buffers that are left.
 *
 * @param device The device.
 * @param seed Of the generated cases.
 * @param cases Generated cases per law.
 */
export async function kernelConformance(
  device: Device,
  seed: number,
  cases: number,
): Promise<LawResult[]> {
  const left = () => device.gpu === null ? 0 : liveBuffers(device.gpu);
  const before = left();
  const results: LawResult[] = [];
  {
    await using kernels = kernelsOn(device);
    const implementation = remembering(kernels);
    for (const law of allLaws) {
      if (law.lacks(implementation) !== null) continue;
      results.push(await law.run(implementation, { seed, cases, concurrency }));
    }
  }
  const more = left() - before;
  const count = { name: "no buffer is left", cases: 1, seed, maxError: more, tolerance: 0 };
  return [
    ...results,
    more === 0
      ? { ...count, ok: true }
      : { ...count, ok: false, message: `${more} buffers are still alive` },
  ];
}
