/**
 * Where in the user's program an operator was called: the first frame outside of this folder.
 *
 * @module
 */

const here = import.meta.url ?? "";
/** Frames from here are the library's own: this folder, or the bundle that it is part of. */
const own = /\/lib\/graph\/origin\.[jt]s$/.test(here)
  ? here.slice(0, here.lastIndexOf("/") + 1)
  : here;

/** V8's bound on the frames of a trace; other engines have none. */
const depth = Error as { stackTraceLimit?: number };

/** A place in a program. Taking one is cheap; it becomes text only when somebody asks. */
export class Origin {
  readonly #trace: { readonly stack?: string };
  #text: string | null = null;

  /** Takes the place of the caller. */
  constructor() {
    const limit = depth.stackTraceLimit;
    // Operators made of operators have some frames of their own.
    if (limit !== undefined) depth.stackTraceLimit = Math.max(limit, 24);
    this.#trace = new Error();
    if (limit !== undefined) depth.stackTraceLimit = limit;
  }

  /** `file:line:column`, or an empty string where no frame lies outside of the library. */
  toString(): string {
    this.#text ??= outsideFrame(this.#trace.stack ?? "", own);
    return this.#text;
  }

  /** ` (at file:line:column)`, for the end of a message. */
  note(): string {
    const text = this.toString();
    return text === "" ? "" : ` (at ${text})`;
  }
}

/**
 * The first frame of a trace of V8 (`at f (file:1:2)`), Firefox or Safari (`f@file:1:2`) that isn't
 * the library's.
 *
 * @param own How the library's own files begin.
 * @returns `file:line:column`, or an empty string.
 */
export function outsideFrame(stack: string, own: string): string {
  for (const line of stack.split("\n")) {
    const match = /^(?:\s*at (?:.*\()?|.*@)(.+):(\d+):(\d+)\)?$/.exec(line);
    if (match === null) continue;
    const [, file, row, column] = match as unknown as [string, string, string, string];
    if (file.startsWith(own) || /^(async )?(node|ext):/.test(file)) continue;
    const path = file.replace(/^async /, "").replace(/^file:\/\//, "");
    return `${path}:${row}:${column}`;
  }
  return "";
}
