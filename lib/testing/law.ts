/**
 * Laws: statements that hold for everything of a kind, judged on generated cases. They know no test
 * runner, so that they run under any.
 *
 * @module
 */
import fc from "fast-check";

/** How a law is checked. */
export interface CheckOptions {
  /** Of the generated cases; 1 where left out, so that a run can be repeated. */
  readonly seed?: number;
  /** How many cases are judged; 100 where left out. */
  readonly cases?: number;
  /** Judges the one case that an earlier failure named, and nothing else. */
  readonly path?: string;
  /** Gets how the check went, when the law holds. */
  readonly report?: (result: LawResult) => void;
}

/** A law about one subject. */
export interface Law {
  /** The subject and the law, such as `fuser "gfa": permutation: …`. */
  readonly name: string;
  /** True where the subject is excepted from the law; `check` then does nothing. */
  readonly leftOut: boolean;
  /**
   * Judges generated cases.
   *
   * @throws {LawError} With the smallest failing case that was found, and how to repeat it.
   */
  check(options?: CheckOptions): Promise<void>;
}

/** How {@linkcode LawOf.run} judges. */
export interface RunOptions {
  /** Of the generated cases. */
  readonly seed: number;
  /** How many cases are judged. */
  readonly cases: number;
  /** The largest error that is allowed; the law's own where left out. */
  readonly tolerance?: number;
  /** How many cases are judged at a time; 1 where left out. */
  readonly concurrency?: number;
  /** Judges the one case that an earlier failure named, and nothing else. */
  readonly path?: string;
}

/** How a law went. */
export interface LawResult {
  /** The law. */
  readonly name: string;
  /** How many cases were judged. */
  readonly cases: number;
  /** Where the cases came from. */
  readonly seed: number;
  /** The largest error, in the law's own unit. */
  readonly maxError: number;
  /** What it may be. */
  readonly tolerance: number;
  /** Whether the law holds for all of them. */
  readonly ok: boolean;
  /** Where it does not: the smallest failing case that was found, and what was wrong. */
  readonly message?: string;
  /** With the seed, leads back to that case. */
  readonly path?: string;
}

/** A law about any subject of a kind. */
export interface LawOf<Subject> {
  /** What it states. */
  readonly name: string;
  /** Why a subject can't be judged ("the device lacks shader-f16"); null where it can. */
  lacks(subject: Subject): string | null;
  /**
   * Judges a subject; a broken law is a result, not an exception. Of a subject that lacks what the
   * law is about no case is judged.
   */
  run(subject: Subject, options: RunOptions): Promise<LawResult>;
}

/** A law that does not hold. */
export class LawError extends Error {
  /** What was found. */
  readonly results: readonly LawResult[];

  /**
   * Says of every law what was wrong, and how to repeat it.
   *
   * @param results The laws that failed.
   */
  constructor(results: readonly LawResult[]) {
    super(
      results.map(({ name, message, seed, path }) =>
        `${name}\n  ${message}\n  repeat with check({ seed: ${seed}, path: ${
          JSON.stringify(path ?? "0")
        } })`
      ).join("\n"),
    );
    this.name = "LawError";
    this.results = results;
  }
}

/** Shrinking stops after so many milliseconds with the smallest case found by then. */
const shrinkingTime = 60_000;

/** Settings of {@linkcode defineLaw}. */
export interface LawSettings<Subject> {
  /** The largest error that is allowed; 0 where left out. */
  readonly tolerance?: number;
  /** See {@linkcode LawOf.lacks}. */
  readonly lacks?: (subject: Subject) => string | null;
}

/**
 * States a law.
 *
 * @param name What it states.
 * @param arbitrary Its cases: a few numbers each, so that they shrink and print well.
 * @param judge Returns how far the subject is from the law, or null where the case can't tell; what
 *   it throws is shown beside the case.
 * @param settings The tolerance, and which subjects can't be judged.
 *
 * @example
 * ```ts
 * import { bindLaw, defineLaw } from "@ovstage/ovstage/testing";
 * import fc from "fast-check";
 * const odd = defineLaw<(x: number) => number, number>(
 *   "odd: f(−x) = −f(x)",
 *   fc.double({ noNaN: true }),
 *   (f, x) => Math.abs(f(-x) + f(x)),
 * );
 * await bindLaw(odd, Math.cbrt).check();
 * ```
 */
export function defineLaw<Subject, Case>(
  name: string,
  arbitrary: fc.Arbitrary<Case>,
  judge: (subject: Subject, c: Case) => Promise<number | null> | number | null,
  settings: LawSettings<Subject> = {},
): LawOf<Subject> {
  return {
    name,
    lacks: (subject) => settings.lacks?.(subject) ?? null,
    async run(subject, { seed, cases, concurrency = 1, path, ...options }) {
      const tolerance = options.tolerance ?? settings.tolerance ?? 0;
      if (settings.lacks?.(subject)) {
        return { name, cases: 0, seed, maxError: 0, tolerance, ok: true };
      }
      let maxError = 0;
      let judged = 0;
      const isBroken = async (c: Case): Promise<Error | null> => {
        try {
          const error = await judge(subject, c);
          if (error === null) return null;
          judged++;
          if (!(error <= maxError)) maxError = error;
          return error <= tolerance
            ? null
            : new Error(`error ${error}, at most ${tolerance} allowed`);
        } catch (thrown) {
          judged++;
          maxError = Infinity;
          return thrown instanceof Error ? thrown : new Error(String(thrown));
        }
      };
      const result = () => ({ name, cases: judged, seed, maxError, tolerance });

      const failures: { index: number; c: Case; error: Error }[] = [];
      if (path === undefined) {
        // As many again, in place of those that can't tell.
        const drawn = fc.sample(arbitrary, { seed, numRuns: 2 * cases });
        let next = 0;
        let running = 0;
        const work = async () => {
          while (failures.length === 0 && judged + running < cases && next < drawn.length) {
            const index = next++;
            running++;
            const error = await isBroken(drawn[index]!);
            running--;
            if (error !== null) failures.push({ index, c: drawn[index]!, error });
          }
        };
        // Whoever stopped since the others would do may have to go on where those can't tell.
        while (failures.length === 0 && judged < cases && next < drawn.length) {
          await Promise.all(Array.from({ length: concurrency }, work));
        }
        if (failures.length === 0) {
          return judged > 0
            ? { ...result(), ok: true }
            : { ...result(), ok: false, message: "none of the generated cases can tell" };
        }
      }
      const before = result();
      failures.sort((a, b) => a.index - b.index);
      const [first] = failures;
      const property = fc.asyncProperty(arbitrary, async (c) => {
        const error = await isBroken(c);
        if (error !== null) throw error;
      });
      const details = await fc.check(property, {
        seed,
        path: path ?? String(first?.index),
        numRuns: 1,
        interruptAfterTimeLimit: shrinkingTime,
      });
      if (!details.failed && first === undefined) return { ...result(), ok: true };
      const c = details.counterexample?.[0] ?? first!.c;
      const error = details.errorInstance instanceof Error ? details.errorInstance : first?.error;
      return {
        ...(first === undefined ? result() : before),
        ok: false,
        message: `${fc.stringify(c)}: ${error?.message ?? "fails"}` +
          (details.failed ? "" : " (but not when it was repeated)"),
        path: details.counterexamplePath ?? String(first?.index ?? path),
      };
    },
  };
}

/**
 * A law about one subject.
 *
 * @param law The law.
 * @param subject What it is about.
 * @param name How it is called, with the subject's name.
 * @param options Error that is allowed, cases judged at a time.
 */
export function bindLaw<Subject>(
  law: LawOf<Subject>,
  subject: Subject,
  name: string = law.name,
  options: Pick<RunOptions, "tolerance" | "concurrency"> = {},
): Law {
  const leftOut = law.lacks(subject) !== null;
  return {
    name,
    leftOut,
    async check({ seed = 1, cases = 100, path, report } = {}) {
      if (leftOut) return;
      const result = {
        ...await law.run(subject, {
          ...options,
          seed,
          cases,
          ...(path === undefined ? {} : { path }),
        }),
        name,
      };
      if (!result.ok) throw new LawError([result]);
      report?.(result);
    },
  };
}

/** What {@linkcode checkLaws} found. */
export class LawsReport {
  /** How every law went that was checked. */
  readonly results: readonly LawResult[];
  /** Names of the laws that were left out. */
  readonly leftOut: readonly string[];

  /** Made by {@linkcode checkLaws}. */
  constructor(results: readonly LawResult[], leftOut: readonly string[]) {
    this.results = results;
    this.leftOut = leftOut;
  }

  /** One line for every law, for people. */
  toString(): string {
    return [
      ...this.results.map(({ name, cases, seed }) =>
        `holds: ${name} (${cases} cases, seed ${seed})`
      ),
      ...this.leftOut.map((name) => `left out: ${name}`),
    ].join("\n");
  }
}

/**
 * Checks laws one after another.
 *
 * @param laws For example those of {@linkcode fuserLaws}.
 * @param options Seed and number of cases, of each law.
 * @returns How they went; print it, since it says which laws were left out.
 * @throws {LawError} That names every law that does not hold, with a small case for each.
 */
export async function checkLaws(
  laws: readonly Law[],
  options: Pick<CheckOptions, "seed" | "cases"> = {},
): Promise<LawsReport> {
  const results: LawResult[] = [];
  const broken: LawResult[] = [];
  for (const law of laws) {
    if (law.leftOut) continue;
    try {
      await law.check({ ...options, report: (result) => results.push(result) });
    } catch (error) {
      if (!(error instanceof LawError)) throw error;
      broken.push(...error.results);
    }
  }
  if (broken.length > 0) throw new LawError(broken);
  return new LawsReport(results, laws.filter((law) => law.leftOut).map(({ name }) => name));
}
