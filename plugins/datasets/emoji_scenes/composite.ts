/**
 * Drawing one sprite into an image: turned, scaled, tinted, with a soft shadow, and with the
 * exact pixels it covers.
 *
 * @module
 */
import { OptionError } from "../../../lib/errors.ts";
import type { Sprite } from "./sprites.ts";

/** What sprites are drawn into. */
export interface Canvas {
  /** Width in pixels. */
  readonly width: number;
  /** Height in pixels. */
  readonly height: number;
  /** width·height·3 bytes, RGB interleaved. */
  readonly rgb: Uint8Array;
  /** width·height object ids; left alone where absent. */
  readonly ids?: Uint16Array;
}

/** A shadow on the ground behind a sprite. */
export interface Shadow {
  /** Offset to the right, in pixels. */
  readonly dx: number;
  /** Offset downwards, in pixels. */
  readonly dy: number;
  /** 0 is none, 1 is black. */
  readonly strength: number;
}

/** Where and how a sprite is drawn. */
export interface Placement {
  /** Centre, in pixels from the left edge. */
  readonly x: number;
  /** Centre, in pixels from the top edge. */
  readonly y: number;
  /** Side of the drawn square in pixels, before rotation. */
  readonly scale: number;
  /** Clockwise, in radians. */
  readonly rotation?: number;
  /** Mirrored left to right, before rotation. */
  readonly flip?: boolean;
  /** Rotation of the hue, in turns. */
  readonly hue?: number;
  /** Factor on the colour. */
  readonly brightness?: number;
  /** Factor on the distance from mid grey. */
  readonly contrast?: number;
  /** No shadow where left out. */
  readonly shadow?: Shadow;
  /** What to write to `ids` where the sprite's alpha is above one half. */
  readonly id?: number;
}

const tau = 6.283185307179586;

/**
 * Sine and cosine of an angle by their Taylor series, in plain arithmetic: `Math.sin` may differ
 * between engines in the last bit, and one bit can move a pixel's label.
 *
 * @param angle Radians.
 * @returns [sine, cosine], within 1e-9.
 */
export function sinCos(angle: number): [sin: number, cos: number] {
  const turns = angle / tau;
  const quarter = Math.round((turns - Math.floor(turns)) * 4);
  const r = (turns - Math.floor(turns) - quarter / 4) * tau;
  const q = r * r;
  const s = r * (1 - q / 6 * (1 - q / 20 * (1 - q / 42 * (1 - q / 72 * (1 - q / 110)))));
  const c = 1 - q / 2 * (1 - q / 12 * (1 - q / 30 * (1 - q / 56 * (1 - q / 90 * (1 - q / 132)))));
  switch (quarter & 3) {
    case 0:
      return [s, c];
    case 1:
      return [c, -s];
    case 2:
      return [-s, -c];
    default:
      return [-c, s];
  }
}

/** The mip level whose pixels are nearest to the drawn ones, and never much finer. */
function levelFor(sprite: Sprite, scale: number): Sprite {
  let level = sprite;
  while (level.size >= 1.5 * scale && level.size > 2) level = level.half;
  return level;
}

/** Darkens where a blurred copy of the sprite's alpha falls. */
function drawShadow(
  target: Canvas,
  sprite: Sprite,
  { x: cx, y: cy, scale, flip }: Placement,
  sin: number,
  cos: number,
  shadow: Shadow,
): void {
  // A mip level a quarter as fine, read bilinearly, is as good as a blur.
  const { size, rgba } = levelFor(sprite, scale).half.half;
  const { width, height, rgb } = target;
  const x0 = cx + shadow.dx;
  const y0 = cy + shadow.dy;
  const reach = scale * 0.5 * (Math.abs(sin) + Math.abs(cos)) + scale / size;
  const left = Math.max(0, Math.floor(x0 - reach));
  const right = Math.min(width - 1, Math.ceil(x0 + reach));
  const top = Math.max(0, Math.floor(y0 - reach));
  const bottom = Math.min(height - 1, Math.ceil(y0 + reach));
  const k = size / scale;
  const mirror = flip ? -1 : 1;
  const strength = shadow.strength / 255;
  const alpha = (u: number, v: number) =>
    u < 0 || v < 0 || u >= size || v >= size ? 0 : rgba[(v * size + u) * 4 + 3]!;
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      const dx = x + 0.5 - x0;
      const dy = y + 0.5 - y0;
      const u = (cos * dx + sin * dy) * k * mirror + size / 2 - 0.5;
      const v = (cos * dy - sin * dx) * k + size / 2 - 0.5;
      if (u <= -1 || v <= -1 || u >= size || v >= size) continue;
      const iu = Math.floor(u);
      const iv = Math.floor(v);
      const fu = u - iu;
      const fv = v - iv;
      const upper = alpha(iu, iv) * (1 - fu) + alpha(iu + 1, iv) * fu;
      const lower = alpha(iu, iv + 1) * (1 - fu) + alpha(iu + 1, iv + 1) * fu;
      const keep = 1 - strength * (upper + (lower - upper) * fv);
      const at = (y * width + x) * 3;
      rgb[at] = (rgb[at]! * keep + 0.5) | 0;
      rgb[at + 1] = (rgb[at + 1]! * keep + 0.5) | 0;
      rgb[at + 2] = (rgb[at + 2]! * keep + 0.5) | 0;
    }
  }
}

/**
 * Draws a sprite over an image. Each pixel of the target asks the inverse transform for its place
 * in the sprite's fitting mip level and reads there bilinearly; premultiplied colour is blended
 * as rgb + (1 − a)·background. The id is written where a > ½, so that every pixel belongs to the
 * object that shows most.
 *
 * @param target What is drawn into; changed in place.
 * @param sprite The drawing.
 * @param placement Where and how; parts outside of the target are cut off.
 * @returns The number of target pixels where a > ½.
 * @throws {OptionError} If `scale` is not above zero.
 */
export function drawSprite(target: Canvas, sprite: Sprite, placement: Placement): number {
  const { x: cx, y: cy, scale, rotation = 0, flip = false } = placement;
  const { hue = 0, brightness = 1, contrast = 1, shadow, id = 0 } = placement;
  if (!(scale > 0)) throw new OptionError(`sprite scale ${scale}: must be above 0`);
  const [sin, cos] = sinCos(rotation);
  if (shadow && shadow.strength > 0) {
    drawShadow(target, sprite, placement, sin, cos, shadow);
  }
  const { size, rgba } = levelFor(sprite, scale);
  const { width, height, rgb, ids } = target;
  const reach = (scale * 0.5 + 1) * (Math.abs(sin) + Math.abs(cos));
  const left = Math.max(0, Math.floor(cx - reach));
  const right = Math.min(width - 1, Math.ceil(cx + reach));
  const top = Math.max(0, Math.floor(cy - reach));
  const bottom = Math.min(height - 1, Math.ceil(cy + reach));

  // Hue turns about the grey axis, then contrast and brightness: colour' = M·colour + offset,
  // which on premultiplied colour reads M·(a·colour) + offset·a.
  const [hs, hc] = sinCos(hue * tau);
  const gain = contrast * brightness;
  const same = gain * (hc + (1 - hc) / 3);
  const turn = hs * 0.5773502691896258;
  const next = gain * ((1 - hc) / 3 - turn);
  const last = gain * ((1 - hc) / 3 + turn);
  const offset = 0.5 * (1 - contrast) * brightness;

  const k = size / scale;
  const stepU = cos * k * (flip ? -1 : 1);
  const stepV = -sin * k;
  let covered = 0;
  for (let y = top; y <= bottom; y++) {
    const dx = left + 0.5 - cx;
    const dy = y + 0.5 - cy;
    const u0 = (cos * dx + sin * dy) * k * (flip ? -1 : 1) + size / 2 - 0.5;
    const v0 = (cos * dy - sin * dx) * k + size / 2 - 0.5;
    for (let x = left; x <= right; x++) {
      const u = u0 + stepU * (x - left);
      const v = v0 + stepV * (x - left);
      if (u <= -1 || v <= -1 || u >= size || v >= size) continue;
      const iu = Math.floor(u);
      const iv = Math.floor(v);
      const fu = u - iu;
      const fv = v - iv;
      // Outside of the sprite is transparent: its weight drops out.
      const inU0 = iu >= 0 ? 1 - fu : 0;
      const inU1 = iu + 1 < size ? fu : 0;
      const inV0 = iv >= 0 ? 1 - fv : 0;
      const inV1 = iv + 1 < size ? fv : 0;
      const a00 = ((iv >= 0 ? iv : 0) * size + (iu >= 0 ? iu : 0)) * 4;
      const a01 = iu >= 0 && iu + 1 < size ? a00 + 4 : a00;
      const down = iv >= 0 && iv + 1 < size ? size * 4 : 0;
      const w00 = inU0 * inV0;
      const w01 = inU1 * inV0;
      const w10 = inU0 * inV1;
      const w11 = inU1 * inV1;
      const a10 = a00 + down;
      const a11 = a01 + down;
      const alpha = w00 * rgba[a00 + 3]! + w01 * rgba[a01 + 3]! + w10 * rgba[a10 + 3]! +
        w11 * rgba[a11 + 3]!;
      if (alpha < 0.5) continue;
      const r = w00 * rgba[a00]! + w01 * rgba[a01]! + w10 * rgba[a10]! + w11 * rgba[a11]!;
      const g = w00 * rgba[a00 + 1]! + w01 * rgba[a01 + 1]! + w10 * rgba[a10 + 1]! +
        w11 * rgba[a11 + 1]!;
      const b = w00 * rgba[a00 + 2]! + w01 * rgba[a01 + 2]! + w10 * rgba[a10 + 2]! +
        w11 * rgba[a11 + 2]!;
      const o = offset * alpha;
      const r2 = same * r + next * g + last * b + o;
      const g2 = last * r + same * g + next * b + o;
      const b2 = next * r + last * g + same * b + o;
      const keep = 1 - alpha / 255;
      const at = (y * width + x) * 3;
      rgb[at] = ((r2 < 0 ? 0 : r2 > alpha ? alpha : r2) + keep * rgb[at]! + 0.5) | 0;
      rgb[at + 1] = ((g2 < 0 ? 0 : g2 > alpha ? alpha : g2) + keep * rgb[at + 1]! + 0.5) | 0;
      rgb[at + 2] = ((b2 < 0 ? 0 : b2 > alpha ? alpha : b2) + keep * rgb[at + 2]! + 0.5) | 0;
      if (alpha > 127.5) {
        covered++;
        if (ids) ids[y * width + x] = id;
      }
    }
  }
  return covered;
}
