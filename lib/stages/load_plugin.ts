/**
 * Plugins of third parties: modules that bring stages of their own.
 *
 * @module
 */
import { RegistryError } from "../errors.ts";
import { firstLine } from "../first_line.ts";
import type { AnyPlugin } from "./plugin.ts";
import type { Registry } from "./registry.ts";

/** Turns what a user typed into an address: a URL stays, a path is taken from the working folder. */
function toUrl(source: string): URL {
  // A scheme of one letter is a Windows drive.
  if (/^[a-z][a-z0-9+.-]+:/i.test(source)) return new URL(source);
  const process: { cwd(): string } | undefined =
    (globalThis as { process?: { cwd(): string } }).process;
  const base = process === undefined ? location.href : fileUrl(process.cwd() + "/");
  return process === undefined ? new URL(source, base) : new URL(fileUrl(source, true), base);
}

/** Escapes a path for a URL: `#`, `?` and `%` may stand in file names. */
function fileUrl(path: string, relative = false): string {
  const escaped = path.replaceAll("\\", "/").split("/").map(encodeURIComponent).join("/")
    .replace(/^([A-Za-z])%3A/, "/$1:");
  if (escaped.startsWith("/")) return `file://${escaped}`;
  return relative ? `./${escaped}` : `file:///${escaped}`;
}

function isPlugin(value: unknown): value is AnyPlugin {
  if (typeof value !== "object" || value === null) return false;
  const { role, name, description, needs, gives, options, create } = value as Partial<AnyPlugin>;
  const isList = (list: unknown) =>
    Array.isArray(list) && list.every((slot) => typeof slot === "string");
  return typeof role === "string" && typeof name === "string" && role !== "" && name !== "" &&
    typeof description === "string" && isList(needs) && isList(gives) &&
    typeof options === "object" && options !== null && typeof create === "function";
}

/** What a module exports by default; compiled to CommonJS, it is one level further in. */
function defaultExport({ default: own }: { default?: unknown }): unknown {
  const isCompiled = typeof own === "object" && own !== null && "__esModule" in own;
  return isCompiled ? (own as { default?: unknown }).default : own;
}

/**
 * Imports a module and registers the stages that it exports. Its default export is a plugin or a
 * list of plugins. The module runs with all rights of the program: load only what you trust.
 *
 * @param source A path, taken from the working folder, or a URL.
 * @param registry Where its stages go. Nothing is added unless all of them can be.
 * @returns The plugins that were added.
 * @throws {RegistryError} If the module is missing, fails, exports no plugin, or one that can't be
 * registered.
 */
export async function loadPlugin(source: string, registry: Registry): Promise<AnyPlugin[]> {
  const label = `plugin ${source}`;
  let module: { default?: unknown };
  let url: string | undefined;
  try {
    url = toUrl(source).href;
    module = await import(url);
  } catch (error) {
    const code = (error as { code?: unknown }).code;
    const line = firstLine(error);
    // An import inside the module may be missing too; then the message names another file first.
    const named = /["']([^"']*)["']/.exec(line)?.[1];
    const own = named === url || named === decodeURIComponent(url ?? "").replace("file://", "");
    if (own && (code === "ERR_MODULE_NOT_FOUND" || /not found/i.test(line))) {
      throw new RegistryError(`${label}: no such file`, { cause: error });
    }
    const remedy = code === "ERR_UNKNOWN_FILE_EXTENSION" && /"\.[cm]?tsx?"/.test(line)
      ? "; this Node takes no TypeScript: compile it to JavaScript, or run it with Deno"
      : "";
    throw new RegistryError(`${label} can't be loaded: ${line}${remedy}`, { cause: error });
  }
  const exported = defaultExport(module);
  const plugins: unknown[] = Array.isArray(exported) ? exported : [exported];
  if (exported === undefined || plugins.length === 0) {
    throw new RegistryError(`${label}: no default export; it must be a plugin or a list of them`);
  }
  for (const plugin of plugins) {
    if (isPlugin(plugin)) continue;
    throw new RegistryError(
      `${label}: the default export is no plugin; one has role, name, description, needs, gives, options and create`,
    );
  }
  const trial = registry.clone();
  for (const plugin of plugins as AnyPlugin[]) {
    try {
      trial.register(plugin);
    } catch (error) {
      throw new RegistryError(`${label}: ${firstLine(error)}`, { cause: error });
    }
  }
  for (const plugin of plugins as AnyPlugin[]) registry.register(plugin);
  return plugins as AnyPlugin[];
}
