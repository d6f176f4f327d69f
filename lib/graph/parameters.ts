/**
 * Trained tensors: a network asks a {@linkcode ParameterScope} for them by name and doesn't know
 * whether it is being measured, trained (all of them in one flat vector) or exported.
 *
 * @module
 */
import { ModelError, ShapeError } from "../errors.ts";
import type { Rng } from "../rng.ts";
import { float32, formatShape, sizeOf } from "../tensor.ts";
import type { Graph, Value } from "./graph.ts";
import { concat, reshape, split } from "./ops.ts";

/** How a parameter starts. `normal` gives the standard deviation of a normal truncated at 2σ. */
export type Initializer = { constant: number } | { normal: number };

/** One tensor of a network's parameters and its place in the flat vector. */
export interface ParameterEntry {
  /** Its path, as in `blocks.3.attention.query.weight`. */
  readonly name: string;
  /** Sizes of its axes. */
  readonly shape: readonly number[];
  /** How it starts. */
  readonly init: Initializer;
  /** Index of its first element in the flat vector. */
  readonly offset: number;
}

/** Where a network gets its parameters from. Asking for the same name again shares the tensor. */
export class ParameterScope {
  /** The graph that they become part of. */
  readonly graph: Graph;
  readonly #prefix: string;
  readonly #known: Map<string, Value>;
  readonly #take: (name: string, shape: readonly number[], init: Initializer) => Value;

  /**
   * Made by {@linkcode ParameterLayout}, which knows where parameters come from.
   *
   * @param graph Where they are used.
   * @param take Called with the full name of every parameter that is asked for.
   * @param prefix What their names begin with, the dot included.
   * @param known Those that were asked for already, by full name.
   */
  constructor(
    graph: Graph,
    take: (name: string, shape: readonly number[], init: Initializer) => Value,
    prefix = "",
    known: Map<string, Value> = new Map(),
  ) {
    this.graph = graph;
    this.#take = take;
    this.#prefix = prefix;
    this.#known = known;
  }

  /** The scope of a part: its names start with `name.`. */
  scope(name: string | number): ParameterScope {
    return new ParameterScope(this.graph, this.#take, `${this.#prefix}${name}.`, this.#known);
  }

  /**
   * Asks for a parameter.
   *
   * @throws {ShapeError} If it was asked for before with another shape.
   */
  parameter(name: string, shape: readonly number[], init: Initializer): Value {
    const path = this.#prefix + name;
    const known = this.#known.get(path) ?? this.#take(path, shape, init);
    if (known.shape.join() !== shape.join()) {
      throw new ShapeError(
        `parameter "${path}" is ${known.shape.join("×")}, not ${shape.join("×")}`,
      );
    }
    this.#known.set(path, known);
    return known;
  }
}

/** The parameters of a network: names, shapes and places in one flat float32 vector. */
export class ParameterLayout {
  /** The parameters in the order in which the network asks for them. */
  readonly entries: readonly ParameterEntry[];
  /** The number of elements in all. */
  readonly size: number;
  readonly #byName: ReadonlyMap<string, ParameterEntry>;

  /**
   * Takes entries whose places are known; {@linkcode ParameterLayout.of} works them out.
   *
   * @param entries The parameters in order.
   */
  constructor(entries: readonly ParameterEntry[]) {
    this.entries = entries;
    this.#byName = new Map(entries.map((entry) => [entry.name, entry]));
    this.size = entries.reduce((n, entry) => n + sizeOf(entry.shape), 0);
  }

  /**
   * Finds out what a network asks for by building it once.
   *
   * @param graph A graph for the trial, thrown away afterwards.
   * @param build Builds the network.
   */
  static of(graph: Graph, build: (scope: ParameterScope) => void): ParameterLayout {
    const entries: ParameterEntry[] = [];
    let offset = 0;
    build(
      new ParameterScope(graph, (name, shape, init) => {
        entries.push({ name, shape, init, offset });
        offset += sizeOf(shape);
        return graph.parameter(name, float32(shape));
      }),
    );
    return new ParameterLayout(entries);
  }

  /** Fresh parameters; the same generator state gives the same bytes. */
  initialize(rng: Rng): Float32Array {
    const flat = new Float32Array(this.size);
    for (const { shape, init, offset } of this.entries) {
      const part = flat.subarray(offset, offset + sizeOf(shape));
      if ("constant" in init) part.fill(init.constant);
      else {
        for (let i = 0; i < part.length; i++) {
          let x = rng.normal();
          while (Math.abs(x) > 2) x = rng.normal();
          part[i] = x * init.normal;
        }
      }
    }
    return flat;
  }

  /**
   * For training: one graph input holds every parameter.
   *
   * @param flat A value with {@linkcode size} elements.
   */
  scopeOver(flat: Value): FlatParameters {
    return new FlatParameters(this, flat);
  }

  /**
   * For training of large networks: every parameter is a graph input of its own name, so that no
   * vector has to be cut up.
   */
  scopeOfInputs(graph: Graph): ParameterScope {
    return new ParameterScope(graph, (name, shape) => {
      this.find(name, shape);
      return graph.input(name, shape);
    });
  }

  /**
   * For export: every parameter is an initialiser of the graph.
   *
   * @throws {ModelError} If the network asks for a parameter that isn't in the layout.
   */
  scopeWith(graph: Graph, flat: Float32Array): ParameterScope {
    if (flat.length !== this.size) {
      throw new ModelError(`the network has ${this.size} parameters, the weights ${flat.length}`);
    }
    return new ParameterScope(graph, (name, shape) => {
      const { offset } = this.find(name, shape);
      return graph.parameter(name, float32(shape, flat.slice(offset, offset + sizeOf(shape))));
    });
  }

  /** 1 for each element that weight decay applies to: those of matrices, not of vectors. */
  decayMask(): Uint8Array {
    const mask = new Uint8Array(this.size);
    for (const { shape, offset } of this.entries) {
      if (shape.length >= 2) mask.fill(1, offset, offset + sizeOf(shape));
    }
    return mask;
  }

  /**
   * The places of some parameters in the flat vector, neighbours joined: what an optimiser's groups
   * are made of.
   *
   * @param wanted Called with each parameter.
   */
  ranges(wanted: (entry: ParameterEntry) => boolean): [start: number, end: number][] {
    const ranges: [number, number][] = [];
    for (const entry of this.entries) {
      if (!wanted(entry)) continue;
      const end = entry.offset + sizeOf(entry.shape);
      const last = ranges.at(-1);
      if (last?.[1] === entry.offset) last[1] = end;
      else ranges.push([entry.offset, end]);
    }
    return ranges;
  }

  /** One line per parameter, indented as the tree of their names is. */
  toString(): string {
    const lines: string[] = [];
    let path: string[] = [];
    for (const { name, shape } of this.entries) {
      const parts = name.split(".");
      const parents = parts.slice(0, -1);
      let depth = 0;
      while (depth < parents.length && parents[depth] === path[depth]) depth++;
      for (; depth < parents.length; depth++) lines.push("  ".repeat(depth) + parents[depth]);
      lines.push(`${"  ".repeat(parents.length)}${parts.at(-1)} ${formatShape(shape)}`);
      path = parents;
    }
    return lines.join("\n");
  }

  /** The entry of a parameter; for scopes. */
  find(name: string, shape: readonly number[]): ParameterEntry {
    const entry = this.#byName.get(name);
    if (entry === undefined) throw new ModelError(`the network has no parameter "${name}"`);
    if (entry.shape.join() !== shape.join()) {
      throw new ModelError(
        `parameter "${name}" is ${entry.shape.join("×")}, not ${shape.join("×")}`,
      );
    }
    return entry;
  }
}

/** A network's parameters as views of one flat vector. */
export class FlatParameters {
  /** Hands out the views. */
  readonly scope: ParameterScope;
  readonly #pieces: readonly Value[];
  readonly #layout: ParameterLayout;

  /** Use {@linkcode ParameterLayout.scopeOver}. */
  constructor(layout: ParameterLayout, flat: Value) {
    this.#layout = layout;
    this.#pieces = split(flat, layout.entries.map((entry) => sizeOf(entry.shape)), 0);
    const pieces = new Map(layout.entries.map(({ name }, i) => [name, this.#pieces[i]!]));
    this.scope = new ParameterScope(flat.graph, (name, shape) => {
      return reshape(pieces.get(layout.find(name, shape).name)!, shape);
    });
  }

  /** The flat pieces in the layout's order: what to differentiate by. */
  get pieces(): readonly Value[] {
    return this.#pieces;
  }

  /** Joins the gradients of {@linkcode pieces} into one vector in the layout's order. */
  flatten(grads: readonly Value[]): Value {
    return concat(grads.map((g, i) => reshape(g, [sizeOf(this.#layout.entries[i]!.shape)])), 0);
  }
}
