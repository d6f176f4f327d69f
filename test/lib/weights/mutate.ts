/** Damage to files, for fuzzing. */
import type { Rng } from "../../../lib/rng.ts";
import { concat } from "./zip_writer.ts";

/** Numbers that lengths, counts and offsets are not made for. */
const extremes = [0n, 1n, 0x7fn, 0xffn, 0x7fffn, 0xffffn, 0x7fffffffn, 0xffffffffn];
extremes.push(2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n);

/**
 * One to four kinds of damage: cut short, bits flipped, bytes replaced, ranges removed, repeated or
 * moved, junk inserted, sizes replaced by extreme ones, pieces of other files spliced in.
 *
 * @param others Files to take pieces from.
 */
export function mutate(
  bytes: Uint8Array,
  others: readonly Uint8Array[],
  rng: Rng,
): Uint8Array<ArrayBuffer> {
  let out = new Uint8Array(bytes);
  for (let left = 1 + rng.integer(4); left > 0; left--) out = damage(out, others, rng);
  return out;
}

function damage(
  bytes: Uint8Array<ArrayBuffer>,
  others: readonly Uint8Array[],
  rng: Rng,
): Uint8Array<ArrayBuffer> {
  const place = () => bytes.length === 0 ? 0 : rng.integer(bytes.length + 1);
  // Headers are short and at the ends; half of all damage goes there.
  const near = () => {
    const at = Math.min(place(), rng.integer(64));
    return rng.integer(2) === 0 ? place() : rng.integer(2) === 0 ? at : bytes.length - at;
  };
  const at = near();
  const length = Math.min(bytes.length - at, 1 + rng.integer(rng.pick([2, 16, 256])));
  const junk = () => Uint8Array.from({ length: rng.integer(24) }, () => rng.integer(256));
  const splice = (replaced: number, inserted: Uint8Array) =>
    concat([bytes.subarray(0, at), inserted, bytes.subarray(at + replaced)]) as Uint8Array<
      ArrayBuffer
    >;
  switch (rng.integer(9)) {
    case 0:
      return bytes.slice(0, at);
    case 1:
      for (let i = rng.integer(4); i >= 0 && bytes.length > 0; i--) {
        const bit = rng.integer(bytes.length);
        bytes[bit] = bytes[bit]! ^ (1 << rng.integer(8));
      }
      return bytes;
    case 2:
      for (let i = 0; i < Math.min(length, 8); i++) bytes[at + i] = rng.integer(256);
      return bytes;
    case 3:
      return splice(length, new Uint8Array(0));
    case 4:
      return splice(0, bytes.subarray(at, at + length));
    case 5:
      return splice(0, junk());
    case 6: {
      const width = rng.pick([1, 2, 4, 8]);
      const value = new Uint8Array(8);
      new DataView(value.buffer).setBigUint64(0, rng.pick(extremes), true);
      return splice(Math.min(width, bytes.length - at), value.subarray(0, width));
    }
    case 7: {
      const other = rng.pick(others);
      const from = rng.integer(other.length);
      return splice(rng.integer(2) * length, other.subarray(from, from + 1 + rng.integer(200)));
    }
    default: {
      // A range of the file somewhere else in it.
      const from = near();
      return splice(length, bytes.slice(from, from + length));
    }
  }
}
