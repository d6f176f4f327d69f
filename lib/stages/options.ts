/**
 * Options of stages: a schema in plain data, from which come the TypeScript type of the values,
 * their defaults and checks, JSON Schema, and what `--help` prints. Plain data, so that a plugin
 * can state its options with nothing but types imported.
 *
 * @module
 */
import { OptionError } from "../errors.ts";
import { knownNames } from "./suggest.ts";

/** A number; `exclusive…` bounds are outside the domain, as in JSON Schema. */
export interface NumberOption {
  /** Any finite number, or a whole one. */
  readonly type: "number" | "integer";
  /** What it does, in one line, with its unit. */
  readonly description: string;
  /** The value where none is given. */
  readonly default: number;
  /** Least value. */
  readonly minimum?: number;
  /** Greatest value. */
  readonly maximum?: number;
  /** Values must be above this. */
  readonly exclusiveMinimum?: number;
  /** Values must be below this. */
  readonly exclusiveMaximum?: number;
}

/** Yes or no. */
export interface BooleanOption {
  /** Yes or no. */
  readonly type: "boolean";
  /** What it does, in one line. */
  readonly description: string;
  /** The value where none is given. */
  readonly default: boolean;
}

/** A string, perhaps one of a few. */
export interface StringOption {
  /** A string. */
  readonly type: "string";
  /** What it does, in one line. */
  readonly description: string;
  /** The value where none is given. */
  readonly default: string;
  /** The strings to choose from; any will do where left out. */
  readonly enum?: readonly string[];
}

/** A list of strings. */
export interface StringsOption {
  /** A list of strings. */
  readonly type: "strings";
  /** What it does, in one line. */
  readonly description: string;
  /** The value where none is given. */
  readonly default: readonly string[];
  /** The shortest list; 0 where left out. */
  readonly minItems?: number;
  /** What every string must contain, such as a placeholder. */
  readonly contains?: string;
}

/** One option. */
export type OptionSpec = NumberOption | BooleanOption | StringOption | StringsOption;

/** The options of a plugin, by name. */
export type OptionSchema = { readonly [name: string]: OptionSpec };

/** The schema of a stage that has no options. */
export type NoOptions = Readonly<Record<never, OptionSpec>>;

/** The value of an option, before its schema is known. */
export type OptionValue = number | boolean | string | readonly string[];

/** The type of an option's value. */
export type OptionValueOf<Spec extends OptionSpec> = Spec extends NumberOption ? number
  : Spec extends BooleanOption ? boolean
  : Spec extends { readonly type: "string"; readonly enum: readonly (infer Choice)[] } ? Choice
  : Spec extends StringOption ? string
  : readonly string[];

/** The values of all options of a schema. */
export type OptionValues<Schema extends OptionSchema> = {
  readonly [Name in keyof Schema]: OptionValueOf<Schema[Name]>;
};

function show(value: unknown): string {
  return typeof value === "number" ? String(value) : JSON.stringify(value) ?? String(value);
}

/** Says in words which values an option takes: "a number above 0 and below 1". */
export function formatDomain(spec: OptionSpec): string {
  switch (spec.type) {
    case "boolean":
      return "true or false";
    case "string":
      return spec.enum ? `one of ${spec.enum.join(", ")}` : "a string";
    case "strings": {
      const least = spec.minItems ? `at least ${spec.minItems} of them` : "";
      const part = spec.contains === undefined ? "" : `each with ${spec.contains} in it`;
      return ["a list of strings", least, part].filter((words) => words !== "").join(", ");
    }
    default: {
      const bounds = [
        spec.exclusiveMinimum === undefined ? "" : `above ${spec.exclusiveMinimum}`,
        spec.minimum === undefined ? "" : `at least ${spec.minimum}`,
        spec.exclusiveMaximum === undefined ? "" : `below ${spec.exclusiveMaximum}`,
        spec.maximum === undefined ? "" : `at most ${spec.maximum}`,
      ].filter((words) => words !== "");
      const kind = spec.type === "integer" ? "a whole number" : "a finite number";
      return [kind, bounds.join(" and ")].filter((words) => words !== "").join(" ");
    }
  }
}

function isInDomain(spec: OptionSpec, value: unknown): value is OptionValue {
  switch (spec.type) {
    case "boolean":
      return typeof value === "boolean";
    case "string":
      return typeof value === "string" && (spec.enum?.includes(value) ?? true);
    case "strings":
      return Array.isArray(value) && value.length >= (spec.minItems ?? 0) &&
        value.every((item) =>
          typeof item === "string" && (spec.contains === undefined || item.includes(spec.contains))
        );
    default:
      return typeof value === "number" && Number.isFinite(value) &&
        (spec.type === "number" || Number.isInteger(value)) &&
        value >= (spec.minimum ?? -Infinity) && value <= (spec.maximum ?? Infinity) &&
        value > (spec.exclusiveMinimum ?? -Infinity) && value < (spec.exclusiveMaximum ?? Infinity);
  }
}

/**
 * Checks values against a schema and fills in the defaults.
 *
 * @param schema The options that there are.
 * @param values Those that are given.
 * @param owner Whose options they are, for messages: `fuser "gfa"`.
 * @returns A value for every option of the schema.
 * @throws {OptionError} If an option is unknown or its value is outside the domain.
 *
 * @example
 * ```ts
 * import { readOptions } from "@ovstage/ovstage";
 * const schema = {
 *   omega: {
 *     type: "number",
 *     description: "how far fusion goes",
 *     default: 0.5,
 *     exclusiveMinimum: 0,
 *     exclusiveMaximum: 1,
 *   },
 * } as const;
 * console.log(readOptions(schema, {}, 'fuser "gfa"').omega); // 0.5
 * ```
 */
export function readOptions<const Schema extends OptionSchema>(
  schema: Schema,
  values: Readonly<Record<string, unknown>>,
  owner: string,
): OptionValues<Schema> {
  for (const name of Object.keys(values)) {
    if (!Object.hasOwn(schema, name)) {
      throw new OptionError(
        `${owner} has no option "${name}"; ${knownNames(name, Object.keys(schema))}`,
      );
    }
  }
  const read: Record<string, OptionValue> = {};
  for (const [name, spec] of Object.entries(schema)) {
    const value = values[name] ?? spec.default;
    if (!isInDomain(spec, value)) {
      throw new OptionError(
        `${owner}: ${name} is ${show(value)}; it must be ${formatDomain(spec)}`,
      );
    }
    read[name] = value;
  }
  return read as OptionValues<Schema>;
}

/**
 * Reads an option from a command line: `0.5`, `true`, `gfa`; lists are separated by commas.
 *
 * @param spec The option.
 * @param text What was typed.
 * @returns A value of the option's type, not yet checked against its domain: text that is no number
 * becomes NaN, which no domain holds.
 */
export function optionFromText(spec: OptionSpec, text: string): OptionValue {
  switch (spec.type) {
    case "boolean":
      return text === "true" || text === "yes"
        ? true
        : text === "false" || text === "no"
        ? false
        : text;
    case "string":
      return text;
    case "strings":
      return text.split(",").map((item) => item.trim()).filter((item) => item !== "");
    default:
      return text.trim() === "" ? NaN : Number(text);
  }
}

/** The JSON Schema (2020-12) of a plugin's options. */
export function optionsToJsonSchema(schema: OptionSchema): Record<string, unknown> {
  const properties = Object.entries(schema).map(([name, spec]) => {
    if (spec.type !== "strings") return [name, { ...spec }] as const;
    const { type: _, contains, ...rest } = spec;
    const pattern = contains?.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
    const items = pattern === undefined ? { type: "string" } : { type: "string", pattern };
    return [name, { type: "array", items, ...rest }] as const;
  });
  return {
    type: "object",
    properties: Object.fromEntries(properties),
    additionalProperties: false,
  };
}
