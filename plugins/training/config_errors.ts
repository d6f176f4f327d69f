/**
 * What is wrong with a config, in words: the field, its value, and what would be right.
 *
 * @module
 */
import type { z } from "zod";
import { knownNames } from "../../lib/stages/suggest.ts";

type Path = readonly PropertyKey[];
type Schema = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function formatPath(path: Path): string {
  return path.map((key) => typeof key === "number" ? `[${key}]` : `.${String(key)}`).join("")
    .replace(/^\./, "");
}

function valueAt(document: unknown, path: Path): unknown {
  let value = document;
  for (const key of path) value = (value as Record<PropertyKey, unknown> | undefined)?.[key];
  return value;
}

/** The branch of a union that a value belongs to, by its constants ("kind", "stage"). */
function branch(schema: Schema, value: unknown): Schema {
  const branches = (schema["oneOf"] ?? schema["anyOf"]) as Schema[] | undefined;
  if (branches === undefined) return schema;
  const fits = branches.find((candidate) =>
    Object.entries((candidate["properties"] ?? {}) as Record<string, Schema>).some((
      [name, property],
    ) => "const" in property && isObject(value) && value[name] === property["const"])
  );
  return fits ?? schema;
}

function schemaAt(schema: Schema, document: unknown, path: Path): Schema {
  let at = branch(schema, document);
  path.forEach((key, i) => {
    const tuple = at["prefixItems"] as Schema[] | undefined;
    const child = typeof key === "number"
      ? tuple?.[key] ?? at["items"]
      : (at["properties"] as Record<string, Schema> | undefined)?.[String(key)] ??
        at["additionalProperties"];
    at = branch((child || {}) as Schema, valueAt(document, path.slice(0, i + 1)));
  });
  return at;
}

const safe = Number.MAX_SAFE_INTEGER;

/** Which values a schema takes, in words. */
export function formatSchema(schema: Schema): string {
  if ("const" in schema) return JSON.stringify(schema["const"]);
  if (Array.isArray(schema["enum"])) return `one of ${schema["enum"].join(", ")}`;
  const branches = (schema["oneOf"] ?? schema["anyOf"]) as Schema[] | undefined;
  if (branches !== undefined) return branches.map(formatSchema).join(", or ");
  if (Array.isArray(schema["type"])) {
    return schema["type"].map((type) => formatSchema({ ...schema, type })).join(", or ");
  }
  switch (schema["type"]) {
    case "null":
      return "null";
    case "boolean":
      return "true or false";
    case "string":
      return schema["minLength"] === undefined ? "a string" : "a string that isn't empty";
    case "array": {
      const tuple = schema["prefixItems"] as Schema[] | undefined;
      if (tuple !== undefined) return `a list of ${tuple.length}, each ${formatSchema(tuple[0]!)}`;
      const least = schema["minItems"] === undefined ? "" : ` of at least ${schema["minItems"]}`;
      return `a list${least}, each ${formatSchema(schema["items"] as Schema)}`;
    }
    case "object": {
      const properties = schema["properties"] as Record<string, Schema> | undefined;
      // A record has names of one's own.
      if (properties === undefined) return "an object";
      const named = Object.entries(properties).find(([, property]) => "const" in property);
      return named === undefined
        ? `an object with ${Object.keys(properties).join(", ")}`
        : `an object of ${named[0]} ${JSON.stringify(named[1]["const"])}`;
    }
  }
  const bound = (key: string, words: string) =>
    typeof schema[key] === "number" && Math.abs(schema[key]) < safe
      ? [`${words} ${schema[key]}`]
      : [];
  const bounds = [
    ...bound("minimum", "at least"),
    ...bound("exclusiveMinimum", "above"),
    ...bound("maximum", "at most"),
    ...bound("exclusiveMaximum", "below"),
  ];
  const kind = schema["type"] === "integer" ? "a whole number" : "a finite number";
  return [kind, bounds.join(" and ")].filter((words) => words !== "").join(" ");
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

/** One line per fault. */
function describe(issue: z.core.$ZodIssue, document: unknown, root: Schema): string[] {
  if (issue.code === "unrecognized_keys") {
    const schema = schemaAt(root, document, issue.path);
    const known = Object.keys((schema["properties"] ?? {}) as object);
    return issue.keys.map((key) => {
      const field = formatPath([...issue.path, key]);
      return `there is no field ${field}; ${knownNames(key, known)}`;
    });
  }
  // A union whose discriminator fits none says so of the discriminator alone.
  const isKind = issue.code === "invalid_union" && issue.discriminator !== undefined;
  const schema = schemaAt(root, document, isKind ? issue.path.slice(0, -1) : issue.path);
  const branches = (schema["oneOf"] ?? []) as Schema[];
  const name = String(issue.path.at(-1));
  const domain = isKind
    ? `one of ${
      branches.map((b) => {
        const property = (b["properties"] as Record<string, Schema>)[name];
        return JSON.stringify(property?.["const"]);
      }).join(", ")
    }`
    : formatSchema(schema);
  const value = valueAt(document, issue.path);
  const field = formatPath(issue.path) || "the document";
  return [
    value === undefined
      ? `${field} is missing; it must be ${domain}`
      : `${field} is ${show(value)}; it must be ${domain}`,
  ];
}

/**
 * Words for the issues of a parse.
 *
 * @param issues What the schema found.
 * @param document What was parsed.
 * @param schema The schema as JSON Schema.
 */
export function configErrors(
  issues: readonly z.core.$ZodIssue[],
  document: unknown,
  schema: Schema,
): string[] {
  return issues.flatMap((issue) => describe(issue, document, schema));
}
