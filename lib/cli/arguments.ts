/**
 * Command lines: strict parsing, friendly errors, and the `--help` that goes with it.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { OptionError } from "../errors.ts";
import { nearest } from "../stages/suggest.ts";
import { wrap } from "./text.ts";

/** One flag. */
export interface FlagSpec {
  /** What it does, one sentence. */
  readonly description: string;
  /** What its value is called in the help, as `DIR`; a flag without one takes no value. */
  readonly value?: string;
  /** Whether it may be given several times. */
  readonly multiple?: boolean;
}

/** A command as its parser and its help see it. */
export interface CommandSpec<Flags extends Readonly<Record<string, FlagSpec>>> {
  /** What is typed: `ovs segment`. */
  readonly name: string;
  /** What it does, in a sentence or two. */
  readonly description: string;
  /**
   * The positional arguments in order, as the help calls them: `IMAGE`. All are needed but those at
   * the end in brackets, `[PATH]`; a last one that ends in dots, `DIR…`, takes one or more.
   */
  readonly positionals: readonly string[];
  /** The flags by name, without dashes. `help` is always there. */
  readonly flags: Flags;
  /** Whole command lines that work, for the help. */
  readonly examples: readonly string[];
}

/** What a flag parses to. */
export type FlagValue<Flag extends FlagSpec> = Flag extends { readonly value: string }
  ? Flag extends { readonly multiple: true } ? readonly string[] : string | undefined
  : boolean;

/** A parsed command line. */
export interface ParsedArguments<Flags extends Readonly<Record<string, FlagSpec>>> {
  /** As the command asks for; none where `help` is true. */
  readonly positionals: readonly string[];
  /** By name; a flag not given is `undefined`, `false` or an empty list. */
  readonly flags: { readonly [Name in keyof Flags]: FlagValue<Flags[Name]> };
  /** Whether `--help` was given. */
  readonly help: boolean;
}

/**
 * Parses a command line. Values may follow a flag after a space or `=`, and may begin with a dash
 * where they are numbers; `--` ends the flags.
 *
 * @param spec The command.
 * @param args What was typed after the command's name.
 * @throws {OptionError} If a flag is unknown (the nearest one is suggested), lacks its value, has
 * one too many or is repeated, or if positional arguments are missing or too many.
 *
 * @example
 * ```ts
 * import { parseArguments } from "./arguments.ts";
 * const spec = {
 *   name: "greet",
 *   description: "Says hello.",
 *   positionals: ["NAME"],
 *   flags: { loud: { description: "In capitals." } },
 *   examples: [],
 * } as const;
 * console.log(parseArguments(spec, ["--loud", "Ada"]).flags.loud); // true
 * ```
 */
export function parseArguments<const Flags extends Readonly<Record<string, FlagSpec>>>(
  spec: CommandSpec<Flags>,
  args: readonly string[],
): ParsedArguments<Flags> {
  const hint = `see ${spec.name} --help`;
  const known: Record<string, FlagSpec> = { ...spec.flags };
  const { tokens } = parseArgs({
    args: [...args],
    strict: false,
    allowPositionals: true,
    tokens: true,
    options: {
      help: { type: "boolean", short: "h" },
      ...Object.fromEntries(
        Object.entries(known).map(([name, flag]) => [
          name,
          { type: flag.value === undefined ? "boolean" as const : "string" as const },
        ]),
      ),
    },
  });
  const values = new Map<string, string[]>();
  const positionals: string[] = [];
  let help = false;
  for (const token of tokens) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind !== "option") continue;
    const { name, rawName, value } = token;
    if (name === "help") {
      help = true;
      continue;
    }
    const flag = Object.hasOwn(known, name) ? known[name] : undefined;
    if (flag === undefined) {
      const guess = nearest(name, [...Object.keys(known), "help"]);
      throw new OptionError(
        `unknown flag ${rawName}; ${guess === null ? hint : `did you mean --${guess}?`}`,
      );
    }
    if (flag.value === undefined) {
      if (value !== undefined) {
        throw new OptionError(`${rawName} takes no value, got "${value}"; ${hint}`);
      }
    } else if (value === undefined || isFlag(value, known)) {
      throw new OptionError(`${rawName} needs a value (${flag.value}); ${hint}`);
    } else if (value === "" && (flag.value === "DIR" || flag.value === "FILE")) {
      // A variable of the shell that isn't set: this folder is hardly meant.
      throw new OptionError(`${rawName} is empty; it must name a ${flag.value}`);
    }
    const given = values.get(name) ?? [];
    if (given.length > 0 && flag.multiple !== true) {
      throw new OptionError(`${rawName} is given twice; give it once`);
    }
    values.set(name, [...given, value ?? ""]);
  }
  const wanted = spec.positionals;
  if (!help) {
    const missing = wanted[positionals.length];
    if (missing !== undefined && !missing.startsWith("[")) {
      throw new OptionError(`${missing.replace("…", "")} is missing; ${hint}`);
    }
    if (positionals.length > wanted.length && !wanted.at(-1)?.endsWith("…")) {
      throw new OptionError(
        `unexpected argument "${positionals[wanted.length]}" after ` +
          `${wanted.join(" ") || spec.name}; put values with spaces in quotes`,
      );
    }
  }
  const flags = Object.fromEntries(
    Object.entries(known).map(([name, flag]) => {
      const given = values.get(name);
      if (flag.value === undefined) return [name, given !== undefined];
      return [name, flag.multiple ? given ?? [] : given?.[0]];
    }),
  );
  return { positionals, flags: flags as ParsedArguments<Flags>["flags"], help };
}

/** Whether a would-be value is really the next flag: `--out --json`. */
function isFlag(value: string, known: Readonly<Record<string, FlagSpec>>): boolean {
  const name = /^--([^=]+)/.exec(value)?.[1];
  return name !== undefined && (name === "help" || Object.hasOwn(known, name));
}

/**
 * The help of a command, for a terminal of 80 columns.
 *
 * @param spec The command.
 * @returns Lines of text, with a newline at the end.
 */
export function formatHelp(
  spec: CommandSpec<Readonly<Record<string, FlagSpec>>>,
): string {
  const width = 80;
  const flags: [string, string][] = [
    ...Object.entries(spec.flags).map(([name, flag]): [string, string] => [
      `--${name}${flag.value === undefined ? "" : ` ${flag.value}`}`,
      flag.description,
    ]),
    ["--help", "Print this and stop."],
  ];
  const column = Math.max(...flags.map(([left]) => left.length)) + 4;
  const lines = [
    ["Usage:", spec.name, ...spec.positionals, "[FLAGS]"].join(" "),
    "",
    ...wrap(spec.description, width),
    "",
    "Flags:",
    ...flags.flatMap(([left, description]) =>
      wrap(description, width - column).map((line, i) =>
        `  ${(i === 0 ? left : "").padEnd(column - 2)}${line}`
      )
    ),
  ];
  if (spec.examples.length > 0) {
    lines.push("", "Examples:", ...spec.examples.map((example) => `  ${example}`));
  }
  return lines.join("\n") + "\n";
}
