/**
 * Weights spread over several files, with an index that says which file holds which tensor
 * (`model.safetensors.index.json`, `pytorch_model.bin.index.json`).
 *
 * @module
 */
import { ModelError } from "../errors.ts";
import { type ByteSource, checkSibling, readRange } from "./byte_source.ts";
import { isObject, parseJsonObject } from "./json.ts";
import { writeSafetensors } from "./safetensors.ts";
import { byteLengthOf, entryOf, type WeightFile, type WeightTensor } from "./weight_file.ts";

/** Weights spread over several files. */
export interface ShardedWeights extends WeightFile {
  /** The files, by name. */
  readonly shards: ReadonlyMap<string, WeightFile>;
}

/**
 * Opens weights by their index.
 *
 * @param source The index.
 * @param openShard Opens a file of the index's folder by its plain name.
 * @returns The tensors of all files.
 * @throws {ModelError} If the index isn't valid, names a path outside of its folder, or lists a
 *   tensor that its file doesn't have.
 */
export async function openSharded(
  source: ByteSource,
  openShard: (file: string) => Promise<WeightFile>,
): Promise<ShardedWeights> {
  const bytes = await readRange(source, 0, source.size, "the index");
  const { weight_map: weightMap, metadata = {} } = parseJsonObject(bytes, `${source.name}: it`);
  if (!isObject(weightMap) || !isObject(metadata)) {
    throw new ModelError(
      `${source.name}: not an index of weights: "weight_map" must map tensors to files, ` +
        `and "metadata" be an object`,
    );
  }
  const shards = new Map<string, WeightFile>();
  const fileOf = new Map<string, WeightFile>();
  for (const [name, file] of Object.entries(weightMap)) {
    const where = `${source.name}: tensor "${name}"`;
    if (typeof file !== "string") throw new ModelError(`${where}: its file must be a string`);
    checkSibling(where, file);
    let shard = shards.get(file);
    if (shard === undefined) {
      shard = await openShard(file);
      shards.set(file, shard);
    }
    if (!shard.entries.has(name)) {
      throw new ModelError(`${where} should be in ${file}, which doesn't have it`);
    }
    fileOf.set(name, shard);
  }
  const entries = new Map([...fileOf].map(([name, shard]) => [name, shard.entries.get(name)!]));
  return {
    name: source.name,
    entries,
    metadata: new Map(Object.entries(metadata).map(([key, value]) => [key, String(value)])),
    shards,
    read(name) {
      entryOf(source.name, entries, name);
      return fileOf.get(name)!.read(name);
    },
  };
}

/** Options of {@linkcode writeShardedSafetensors}. */
export interface ShardOptions {
  /** Most bytes of tensors in one file; a larger tensor has a file of its own. */
  readonly maxShardBytes: number;
  /** What the files' names start with; "model" where left out. */
  readonly stem?: string;
  /** Free text in each file. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * Writes safetensors files of bounded size and their index, named as the ecosystem names them:
 * `model-00001-of-00002.safetensors`, `model.safetensors.index.json`. One file is written without
 * an index where one is enough.
 *
 * @param tensors Names and tensors; they fill the files in this order.
 * @returns File names and bytes, one file at a time.
 * @throws {ModelError} As `safetensorsPieces`.
 */
export function* writeShardedSafetensors(
  tensors: Iterable<readonly [name: string, tensor: WeightTensor]>,
  options: ShardOptions,
): Generator<[file: string, bytes: Uint8Array], void> {
  const { maxShardBytes, stem = "model", metadata } = options;
  const shards: (readonly [string, WeightTensor])[][] = [[]];
  let [filled, total] = [0, 0];
  for (const entry of tensors) {
    const size = byteLengthOf(entry[1].dtype, entry[1].shape) ?? 0;
    if (filled > 0 && filled + size > maxShardBytes) {
      shards.push([]);
      filled = 0;
    }
    shards.at(-1)!.push(entry);
    filled += size;
    total += size;
  }
  const extra = metadata === undefined ? {} : { metadata };
  if (shards.length === 1) {
    yield [`${stem}.safetensors`, writeSafetensors(shards[0]!, extra)];
    return;
  }
  const weightMap = new Map<string, string>();
  const padded = (n: number) => String(n).padStart(5, "0");
  for (const [i, shard] of shards.entries()) {
    const file = `${stem}-${padded(i + 1)}-of-${padded(shards.length)}.safetensors`;
    for (const [name] of shard) {
      if (weightMap.has(name)) {
        throw new ModelError(`safetensors: the name "${name}" is given twice`);
      }
      weightMap.set(name, file);
    }
    yield [file, writeSafetensors(shard, extra)];
  }
  const index = { metadata: { total_size: total }, weight_map: Object.fromEntries(weightMap) };
  const text = JSON.stringify(index, null, 2) + "\n";
  yield [`${stem}.safetensors.index.json`, new TextEncoder().encode(text)];
}
