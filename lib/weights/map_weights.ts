/**
 * Brings the tensors of a foreign file under the names and into the layouts of a network of this
 * project, and reports what came of each.
 *
 * @module
 */
import { ModelError, OptionError } from "../errors.ts";
import { formatShape, type HostTensor, sizeOf } from "../tensor.ts";
import {
  type ElementType,
  gatherElements,
  rowMajorStrides,
  toFloat32,
  type WeightFile,
  type WeightTensor,
} from "./weight_file.ts";

/**
 * One step from foreign names to this project's. The rules of a list are applied in order, each to
 * what the ones before it made; a rule applies to the names that it matches.
 *
 * - `strip`: takes a prefix off.
 * - `match`, `to`: replaces what matches, as `String.replace` does (`$1`).
 * - `match`, `transpose`: permutes the axes.
 * - `match`, `reshape`: gives another shape of as many elements; one size may be −1.
 * - `match`, `split`: cuts along an axis into tensors with the names `to`, in equal parts or of the
 *   given `sizes`: a fused `in_proj_weight` becomes query, key and value.
 * - `match`, `drop`: leaves out, for the given reason.
 */
export type WeightRule =
  | { readonly strip: string }
  | { readonly match: RegExp; readonly to: string }
  | { readonly match: RegExp; readonly transpose: readonly number[] }
  | { readonly match: RegExp; readonly reshape: readonly number[] }
  | {
    readonly match: RegExp;
    readonly split: {
      readonly axis: number;
      readonly to: readonly string[];
      readonly sizes?: readonly number[];
    };
  }
  | { readonly match: RegExp; readonly drop: string };

/** A tensor that a network wants. The entries of a `ParameterLayout` are such. */
export interface WantedTensor {
  /** Its name in the network. */
  readonly name: string;
  /** Sizes of its axes. */
  readonly shape: readonly number[];
}

/** What came of the tensors of a file; plain data. */
export interface WeightReport {
  /** The file. */
  readonly file: string;
  /** Wanted tensors that the file has. */
  readonly used: readonly {
    /** Name in the network. */
    readonly name: string;
    /** Name in the file. */
    readonly from: string;
    /** Element type in the file. */
    readonly dtype: ElementType;
    /** Shape in the network. */
    readonly shape: readonly number[];
  }[];
  /** Tensors of the file that the network doesn't want. */
  readonly unused: readonly {
    /** Name after the rules. */
    readonly name: string;
    /** Name in the file. */
    readonly from: string;
    /** Shape after the rules. */
    readonly shape: readonly number[];
    /** The reason that a rule gives; null where the network just has no such tensor. */
    readonly reason: string | null;
  }[];
  /** Wanted tensors that the file lacks. */
  readonly missing: readonly WantedTensor[];
  /** Wanted tensors that have another shape in the file. */
  readonly mismatched: readonly {
    /** Name in the network. */
    readonly name: string;
    /** Name in the file. */
    readonly from: string;
    /** The shape that the network wants. */
    readonly wanted: readonly number[];
    /** The shape in the file, after the rules. */
    readonly found: readonly number[];
  }[];
}

/** A view of a tensor in the file: what the rules make of its layout. */
interface Mapped {
  readonly from: string;
  readonly name: string;
  readonly dtype: ElementType;
  readonly shape: readonly number[];
  readonly steps: readonly ((tensor: WeightTensor) => WeightTensor)[];
  readonly dropped: string | null;
}

/** The tensors of a file under a network's names; made by {@linkcode mapWeights}. */
export class MappedWeights {
  /** What was used, unused, missing and of wrong shape. */
  readonly report: WeightReport;
  readonly #file: WeightFile;
  readonly #used: ReadonlyMap<string, Mapped>;

  /** Use {@linkcode mapWeights}. */
  constructor(file: WeightFile, report: WeightReport, used: ReadonlyMap<string, Mapped>) {
    this.#file = file;
    this.report = report;
    this.#used = used;
  }

  /**
   * Makes sure that the file has every wanted tensor in its shape.
   *
   * @returns This.
   * @throws {ModelError} With the report's first lines, if it doesn't.
   */
  requireAll(): this {
    const { missing, mismatched } = this.report;
    if (missing.length + mismatched.length === 0) return this;
    throw new ModelError(formatWeightReport(this.report, { limit: 5 }));
  }

  /**
   * Reads a tensor in the file's element type.
   *
   * @param name Its name in the network.
   * @throws {ModelError} If the file doesn't have it.
   */
  async read(name: string): Promise<WeightTensor> {
    const mapped = this.#used.get(name);
    if (mapped === undefined) {
      throw new ModelError(`${this.#file.name}: nothing in it becomes "${name}"`);
    }
    let tensor = await this.#file.read(mapped.from);
    for (const step of mapped.steps) tensor = step(tensor);
    return tensor;
  }

  /** Reads every tensor that is used, as float32, by its name in the network. */
  async readAll(): Promise<Map<string, HostTensor<"float32">>> {
    const tensors = new Map<string, HostTensor<"float32">>();
    for (const { name } of this.report.used) tensors.set(name, toFloat32(await this.read(name)));
    return tensors;
  }

  /**
   * Writes every tensor that is used into a network's flat vector; the others keep their values.
   *
   * @param layout Places in the vector, as `ParameterLayout.entries` gives them.
   * @param flat The vector.
   */
  async fill(
    layout: readonly (WantedTensor & { readonly offset: number })[],
    flat: Float32Array,
  ): Promise<void> {
    for (const { name, offset } of layout) {
      if (this.#used.has(name)) flat.set(toFloat32(await this.read(name)).data, offset);
    }
  }
}

/**
 * Maps the tensors of a file to a network's. Nothing is read yet: a fused tensor of a large file is
 * read when its parts are.
 *
 * @param file An opened file.
 * @param wanted The network's tensors.
 * @param rules Steps from the file's names to the network's.
 * @returns The tensors by the network's names, and the report.
 * @throws {ModelError} If two tensors of the file get the same name, or a rule doesn't fit the
 *   tensor that it matches.
 * @throws {OptionError} If a rule itself can't be.
 *
 * @example
 * ```ts
 * import { float32 } from "@ovstage/ovstage";
 * import {
 *   bytesSource,
 *   formatWeightReport,
 *   mapWeights,
 *   openSafetensors,
 *   writeSafetensors,
 * } from "@ovstage/ovstage/weights";
 * const bytes = writeSafetensors([["model.attn.in_proj_bias", float32([6])]]);
 * const mapped = mapWeights(
 *   await openSafetensors(bytesSource("clip.safetensors", bytes)),
 *   ["query", "key", "value"].map((part) => ({ name: `attention.${part}.bias`, shape: [2] })),
 *   [
 *     { strip: "model." },
 *     { match: /^attn\./, to: "attention." },
 *     {
 *       match: /in_proj_bias$/,
 *       split: { axis: 0, to: ["query.bias", "key.bias", "value.bias"] },
 *     },
 *   ],
 * );
 * console.log(formatWeightReport(mapped.report)); // clip.safetensors: 3 tensors used, 0 unused, …
 * ```
 */
export function mapWeights(
  file: WeightFile,
  wanted: Iterable<WantedTensor>,
  rules: readonly WeightRule[] = [],
): MappedWeights {
  let tensors: Mapped[] = [...file.entries].map(([name, { dtype, shape }]) => ({
    from: name,
    name,
    dtype,
    shape,
    steps: [],
    dropped: null,
  }));
  for (const rule of rules) {
    tensors = tensors.flatMap((tensor) =>
      tensor.dropped === null ? apply(file, rule, tensor) : tensor
    );
  }

  const byName = new Map<string, Mapped>();
  for (const tensor of tensors) {
    if (tensor.dropped !== null) continue;
    const other = byName.get(tensor.name);
    if (other !== undefined) {
      throw new ModelError(
        `${file.name}: "${other.from}" and "${tensor.from}" both become "${tensor.name}"`,
      );
    }
    byName.set(tensor.name, tensor);
  }

  const used = new Map<string, Mapped>();
  const taken = new Set<Mapped>();
  const report = {
    file: file.name,
    used: [] as WeightReport["used"][number][],
    unused: [] as WeightReport["unused"][number][],
    missing: [] as WantedTensor[],
    mismatched: [] as WeightReport["mismatched"][number][],
  };
  for (const { name, shape } of wanted) {
    const tensor = byName.get(name);
    if (tensor === undefined) {
      report.missing.push({ name, shape });
      continue;
    }
    taken.add(tensor);
    const { from, dtype } = tensor;
    if (tensor.shape.join() === shape.join()) {
      used.set(name, tensor);
      report.used.push({ name, from, dtype, shape });
    } else report.mismatched.push({ name, from, wanted: shape, found: tensor.shape });
  }
  for (const tensor of tensors) {
    if (taken.has(tensor)) continue;
    const { name, from, shape, dropped: reason } = tensor;
    report.unused.push({ name, from, shape, reason });
  }
  return new MappedWeights(file, report, used);
}

/**
 * A report as lines of text: one of totals, then one for each tensor that wasn't simply used.
 *
 * @param options `limit` bounds the lines of each kind; all are printed where it is left out.
 */
export function formatWeightReport(
  report: WeightReport,
  options: { readonly limit?: number } = {},
): string {
  const { limit = Infinity } = options;
  const { file, used, unused, missing, mismatched } = report;
  const lines = [
    `${file}: ${used.length} tensors used, ${unused.length} unused, ${missing.length} missing, ` +
    `${mismatched.length} of wrong shape`,
  ];
  const list = <T>(kind: string, items: readonly T[], line: (item: T) => string) => {
    for (const item of items.slice(0, limit)) lines.push(`  ${kind}: ${line(item)}`);
    if (items.length > limit) lines.push(`  ${kind}: ${items.length - limit} more`);
  };
  const renamed = (from: string, name: string) => from === name ? name : `${name} (from ${from})`;
  list("missing", missing, ({ name, shape }) => `${name} ${formatShape(shape)}`);
  list(
    "wrong shape",
    mismatched,
    ({ name, from, wanted, found }) =>
      `${renamed(from, name)} is ${formatShape(found)}, wanted ${formatShape(wanted)}`,
  );
  list(
    "unused",
    unused,
    ({ name, from, shape, reason }) =>
      `${renamed(from, name)} ${formatShape(shape)}${reason === null ? "" : `: ${reason}`}`,
  );
  return lines.join("\n");
}

function apply(file: WeightFile, rule: WeightRule, tensor: Mapped): Mapped[] {
  const { name, shape, steps } = tensor;
  if ("strip" in rule) {
    return [
      name.startsWith(rule.strip) ? { ...tensor, name: name.slice(rule.strip.length) } : tensor,
    ];
  }
  // A global or sticky expression would remember where its last match ended.
  const match = new RegExp(rule.match.source, rule.match.flags.replace(/[gy]/g, ""));
  if (!match.test(name)) return [tensor];
  const where = `${file.name}: ${rule.match} matches "${name}" (${formatShape(shape)})`;

  if ("to" in rule) return [{ ...tensor, name: name.replace(rule.match, rule.to) }];
  if ("drop" in rule) return [{ ...tensor, dropped: rule.drop }];
  if ("transpose" in rule) {
    const axes = rule.transpose;
    if ([...axes].sort((a, b) => a - b).join() !== shape.map((_, axis) => axis).join()) {
      throw new ModelError(`${where}; it can't be transposed by [${axes}]`);
    }
    const permuted = axes.map((axis) => shape[axis]!);
    const step = ({ dtype, data }: WeightTensor): WeightTensor => {
      const strides = rowMajorStrides(shape);
      const moved = axes.map((axis) => strides[axis]!);
      return { dtype, shape: permuted, data: gatherElements(dtype, data, permuted, moved, 0) };
    };
    return [{ ...tensor, shape: permuted, steps: [...steps, step] }];
  }
  if ("reshape" in rule) {
    const target = completeShape(rule.reshape, sizeOf(shape));
    if (target === null) {
      throw new ModelError(`${where}; it can't be reshaped to [${rule.reshape}]`);
    }
    const step = ({ dtype, data }: WeightTensor) => ({ dtype, shape: target, data });
    return [{ ...tensor, shape: target, steps: [...steps, step] }];
  }

  const { axis, to, sizes } = rule.split;
  if (to.length === 0 || (sizes !== undefined && sizes.length !== to.length)) {
    throw new OptionError(`rule ${rule.match}: split needs a name for each part`);
  }
  const length = shape[axis];
  const parts = sizes ?? to.map(() => (length ?? 0) / to.length);
  if (
    length === undefined || parts.reduce((a, b) => a + b, 0) !== length ||
    !parts.every((part) => Number.isInteger(part) && part >= 0)
  ) {
    throw new ModelError(`${where}; axis ${axis} can't be split into ${sizes ?? to.length} parts`);
  }
  let start = 0;
  return to.map((replacement, i) => {
    const part = shape.map((dim, a) => a === axis ? parts[i]! : dim);
    const strides = rowMajorStrides(shape);
    const offset = start * strides[axis]!;
    start += parts[i]!;
    const step = ({ dtype, data }: WeightTensor): WeightTensor => ({
      dtype,
      shape: part,
      data: gatherElements(dtype, data, part, strides, offset),
    });
    const renamed = name.replace(rule.match, replacement);
    return { ...tensor, name: renamed, shape: part, steps: [...steps, step] };
  });
}

/** A shape with its −1 worked out; null where it doesn't hold `size` elements. */
function completeShape(shape: readonly number[], size: number): number[] | null {
  const known = shape.filter((dim) => dim !== -1);
  const open = shape.length - known.length;
  if (open > 1) return null;
  const complete = shape.map((dim) => dim === -1 ? size / sizeOf(known) : dim);
  const valid = complete.every((dim) => Number.isInteger(dim) && dim >= 0);
  return valid && sizeOf(complete) === size ? complete : null;
}
