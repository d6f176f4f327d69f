/**
 * The registry: which stages there are, by role and name.
 *
 * @module
 */
import { RegistryError } from "../errors.ts";
import type { OptionSpec } from "./options.ts";
import type { AnyPlugin } from "./plugin.ts";
import type { SlotName } from "./slots.ts";
import { formatStage } from "./stage.ts";
import { knownNames } from "./suggest.ts";

const optionTypes = Object.keys(
  {
    number: true,
    integer: true,
    boolean: true,
    string: true,
    strings: true,
  } satisfies Record<OptionSpec["type"], true>,
);

/** A plugin in JavaScript may state an option of a type that nothing would check. */
function checkOptionTypes(plugin: AnyPlugin): void {
  for (const [name, spec] of Object.entries(plugin.options)) {
    const type: unknown = spec?.type;
    if (typeof type === "string" && optionTypes.includes(type)) continue;
    throw new RegistryError(
      `${formatStage(plugin)}: option "${name}" has type ${JSON.stringify(type)}; ` +
        `it must be one of ${optionTypes.join(", ")}`,
    );
  }
}

/**
 * Plugins by role and name.
 *
 * @example
 * ```ts
 * import { Registry } from "@ovstage/ovstage";
 * const registry = new Registry([{
 *   role: "fuser",
 *   name: "first",
 *   description: "what the image says, and nothing else",
 *   needs: ["pooled"],
 *   gives: ["fused"],
 *   options: {},
 *   create: () => ({ run: ({ pooled }) => ({ fused: pooled!.embeddings }) }),
 * }]);
 * console.log(registry.names("fuser")); // ["first"]
 * ```
 */
export class Registry {
  readonly #roles = new Map<string, Map<string, AnyPlugin>>();

  /**
   * Begins with some plugins, or none.
   *
   * @param plugins What to begin with.
   * @throws {RegistryError} If one of them can't be registered.
   */
  constructor(plugins: Iterable<AnyPlugin> = []) {
    for (const plugin of plugins) this.register(plugin);
  }

  /**
   * Adds a plugin.
   *
   * @throws {RegistryError} If its role and name are taken, or an option has an unknown type.
   */
  register(plugin: AnyPlugin): this {
    checkOptionTypes(plugin);
    const names = this.#roles.get(plugin.role) ?? new Map<string, AnyPlugin>();
    if (names.has(plugin.name)) {
      throw new RegistryError(
        `${formatStage(plugin)} is registered already; give the second one another name`,
      );
    }
    names.set(plugin.name, plugin);
    this.#roles.set(plugin.role, names);
    return this;
  }

  /**
   * Finds a plugin.
   *
   * @throws {RegistryError} If there is no such role or name; says which there are.
   */
  get(role: string, name: string): AnyPlugin {
    const names = this.#roles.get(role);
    if (names === undefined) {
      throw new RegistryError(`unknown role "${role}"; ${knownNames(role, this.roles())}`);
    }
    const plugin = names.get(name);
    if (plugin === undefined) {
      throw new RegistryError(`unknown ${role} "${name}"; ${knownNames(name, [...names.keys()])}`);
    }
    return plugin;
  }

  /** The roles that there are, in the order of their first registration. */
  roles(): string[] {
    return [...this.#roles.keys()];
  }

  /** The names of a role, in the order of registration; none for an unknown role. */
  names(role: string): string[] {
    return [...this.#roles.get(role)?.keys() ?? []];
  }

  /** All plugins. */
  plugins(): AnyPlugin[] {
    return [...this.#roles.values()].flatMap((names) => [...names.values()]);
  }

  /** Who could give a slot: `pooler "mask_pooling"`. */
  givers(slot: SlotName): string[] {
    return this.plugins().filter((plugin) => plugin.gives.includes(slot)).map(formatStage);
  }

  /** Another registry with the same plugins; what is added to one does not show in the other. */
  clone(): Registry {
    return new Registry(this.plugins());
  }
}
