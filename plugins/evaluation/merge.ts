/**
 * Shards of an evaluation, put together.
 *
 * @module
 */
import { copyFileSync, readFileSync } from "node:fs";
import { InputError } from "../../lib/errors.ts";
import { writeError, writeTextAtomically } from "../training/run_files.ts";
import { RunSums } from "./evaluate.ts";
import type { EvaluationResult } from "./result.ts";
import {
  type EvaluationIdentity,
  formatDifferences,
  formatShard,
  type ImageRecord,
  pictureKinds,
  RunFolder,
  type Shard,
  shardLength,
} from "./run_folder.ts";
import type { ClassSimilarity } from "./vocabularies.ts";

/** A shard's folder, checked. */
interface FoundShard {
  readonly folder: RunFolder;
  readonly identity: EvaluationIdentity;
  readonly shard: Shard;
}

/** What the shards have in common: the identity of the run that was not divided. */
function whole(identity: EvaluationIdentity): EvaluationIdentity {
  return { ...identity, shard: null };
}

/** Reads the shards' identities, in the order of their indices. */
function readShards(paths: readonly string[]): FoundShard[] {
  if (paths.length === 0) throw new InputError("no shards; name their folders");
  const found = paths.map((path) => {
    const folder = new RunFolder(path);
    const identity = folder.identity();
    if (identity.shard === null) {
      throw new InputError(`${path}: is no shard; it was made without --shard`);
    }
    return { folder, identity, shard: identity.shard };
  });
  const [first] = found as [FoundShard];
  for (const { folder, identity, shard } of found) {
    const differing = formatDifferences(whole(identity), whole(first.identity));
    if (differing !== "") {
      throw new InputError(
        `${folder.path}: is of another run than ${first.folder.path}: ${differing} (there: ` +
          `${folder.path}, here: ${first.folder.path})`,
      );
    }
    if (shard.count !== first.shard.count) {
      throw new InputError(
        `${folder.path}: is shard ${formatShard(shard)}, and ${first.folder.path} is ` +
          `${formatShard(first.shard)}; all must be of as many`,
      );
    }
  }
  const byIndex = new Map<number, FoundShard>();
  for (const entry of found) {
    const other = byIndex.get(entry.shard.index);
    if (other !== undefined) {
      throw new InputError(
        `shard ${formatShard(entry.shard)} is there twice: ${other.folder.path} and ` +
          entry.folder.path,
      );
    }
    byIndex.set(entry.shard.index, entry);
  }
  const { count } = first.shard;
  const missing = Array.from({ length: count }, (_, index) => index)
    .filter((index) => !byIndex.has(index)).map((index) => formatShard({ index, count }));
  if (missing.length > 0) {
    throw new InputError(
      `${missing.length === 1 ? "shard" : "shards"} ${missing.join(", ")} ` +
        `${missing.length === 1 ? "is" : "are"} missing; name the folders of all ${count}`,
    );
  }
  return [...byIndex.values()].sort((a, b) => a.shard.index - b.shard.index);
}

/**
 * Puts shards together to what the undivided run would have left: the same figures, bit for bit, and
 * the same files. One record of each shard is in memory at a time.
 *
 * @param paths The shards' folders, in any order.
 * @param out The folder of the whole.
 * @throws {InputError} If shards are of different runs, missing, there twice or unfinished; names
 * them.
 * @throws {OptionError} If `out` holds another evaluation.
 * @throws {OutputError} If `out` can't be written.
 *
 * @example
 * ```ts ignore
 * const { mIoU } = await mergeEvaluations(["out/shard-0", "out/shard-1"], "out/whole");
 * ```
 */
export async function mergeEvaluations(
  paths: readonly string[],
  out: string,
): Promise<EvaluationResult> {
  const shards = readShards(paths);
  const identity = whole(shards[0]!.identity);
  const { images } = identity.dataset;
  for (const { folder, identity: own, shard } of shards) {
    let records = 0;
    for await (const _ of folder.records(own)) records++;
    const wanted = shardLength(images, shard);
    if (records === wanted && folder.readResult() !== null) continue;
    throw new InputError(
      `${folder.path}: shard ${formatShard(shard)} isn't finished: ${records} of ${wanted} ` +
        "images are done; go on with --resume",
    );
  }
  const target = new RunFolder(out);
  // A merge that was cut off takes no time to do again.
  using _begun = await target.begin(identity, "replace");
  const sums = new RunSums(identity);
  const readers = shards.map(({ folder, identity }) => folder.records(identity));
  for (let index = 0; index < images; index++) {
    const { value } = await readers[index % shards.length]!.next();
    const record = value as ImageRecord;
    sums.add(record);
    target.append(record);
  }
  for (const index of sums.extremes.indices()) {
    const { folder } = shards[index % shards.length]!;
    if (!folder.hasPictures(index)) {
      throw new InputError(
        `${folder.path}: the pictures of image ${index} are missing; run the shard again with ` +
          "--resume, which draws them",
      );
    }
    target.makePictures();
    for (const kind of pictureKinds) {
      const to = target.picture(index, kind);
      try {
        copyFileSync(folder.picture(index, kind), to);
      } catch (cause) {
        throw writeError(to, cause);
      }
    }
  }
  const result = sums.result(copySimilarity(shards[0]!.folder, target));
  target.finish(result);
  return result;
}

/** Copies what a shard measured of the classes; all shards measured the same. */
function copySimilarity(from: RunFolder, to: RunFolder): ClassSimilarity | null {
  let text: string;
  try {
    text = readFileSync(from.at("similarity.json"), "utf8");
  } catch {
    return null;
  }
  writeTextAtomically(to.at("similarity.json"), text);
  return JSON.parse(text) as ClassSimilarity;
}
