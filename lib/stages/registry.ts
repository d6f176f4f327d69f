/**
 * The registry: which stages there are, by role and name.
 *
 * @module
 */
import { RegistryError } from "../errors.ts";
import type { AnyPlugin } from "./plugin.ts";
import type { SlotName } from "./slots.ts";
import { formatStage } from "./stage.ts";
import { knownNames } from "./suggest.ts";

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
   * @throws {RegistryError} If two of them have the same role and name.
   */
  constructor(plugins: Iterable<AnyPlugin> = []) {
    for (const plugin of plugins) this.register(plugin);
  }

  /**
   * Adds a plugin.
   *
   * @throws {RegistryError} If its role and name are taken.
   */
  register(plugin: AnyPlugin): this {
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
