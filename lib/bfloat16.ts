/**
 * Brain floats as raw bits: the upper half of a float32, rounded to nearest even.
 *
 * @module
 */

const floats = new Float32Array(1);
const bits = new Uint32Array(floats.buffer);

function round(x: number): number {
  // A NaN stays one: its payload must not carry into the exponent, nor be cut to zero.
  if ((x & 0x7fffffff) > 0x7f800000) return (x >>> 16) | 0x40;
  return (x + 0x7fff + ((x >>> 16) & 1)) >>> 16;
}

/** The bfloat16 nearest to `value`, as 16 bits. Overflow gives infinity. */
export function toBfloat16(value: number): number {
  floats[0] = value;
  return round(bits[0]!);
}

/** The value of a bfloat16 given as 16 bits; exact. */
export function fromBfloat16(half: number): number {
  bits[0] = half << 16;
  return floats[0]!;
}

/** Rounds every element to bfloat16. */
export function toBfloat16Array(values: Float32Array): Uint16Array {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Uint16Array.from(words, round);
}

/** The values of bfloat16 elements given as bits; exact. */
export function fromBfloat16Array(halves: Uint16Array): Float32Array {
  const out = new Float32Array(halves.length);
  const words = new Uint32Array(out.buffer);
  for (let i = 0; i < halves.length; i++) words[i] = halves[i]! << 16;
  return out;
}
