/**
 * Reading plain data that a file or another process gave: every field is checked, by name.
 *
 * @module
 */
import { InputError } from "../errors.ts";

const show = (value: unknown) => JSON.stringify(value)?.slice(0, 60) ?? String(value);

/** A list, of `length` entries where that is given. */
export function readList(value: unknown, where: string, length?: number): readonly unknown[] {
  if (Array.isArray(value) && (length === undefined || value.length === length)) return value;
  const right = length === undefined ? "a list" : `a list of ${length}`;
  throw new InputError(`${where} is ${show(value)}; it must be ${right}`);
}

/** A whole number, `least` to `most`. */
export function readInteger(
  value: unknown,
  where: string,
  least = 0,
  most: number = Number.MAX_SAFE_INTEGER,
): number {
  if (Number.isSafeInteger(value) && Number(value) >= least && Number(value) <= most) {
    return Number(value);
  }
  const bounds = most < Number.MAX_SAFE_INTEGER
    ? `, ${least} to ${most}`
    : least > -Infinity
    ? `, at least ${least}`
    : "";
  throw new InputError(`${where} is ${show(value)}; it must be a whole number${bounds}`);
}

/** The fields of an object. */
export function readObject(value: unknown, where: string): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw new InputError(`${where} is ${show(value)}; it must be an object`);
}
