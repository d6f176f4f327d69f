/**
 * Writes `splits.json`: the seen categories by their seeded draw and, where embeddings of the
 * names are given, the near and far ones.
 *
 *     deno run -A plugins/datasets/emoji_scenes/choose_splits.ts --names names.json
 *     deno run -A plugins/datasets/emoji_scenes/choose_splits.ts --embeddings rows.bin [--same 0.9]
 *
 * `--names FILE` writes the list of names to embed. `rows.bin` holds one row of float32 (little
 * endian) per name of that list, each of unit length, in the same order.
 *
 * @module
 */
import { readFile, rename, writeFile } from "node:fs/promises";
import process from "node:process";
import { parseArgs } from "node:util";
import { InputError, OptionError, OvsError } from "../../../lib/errors.ts";
import {
  chooseNearAndFar,
  chooseSeen,
  distinctCategories,
  seenNames,
  seenSeed,
  type SplitsDocument,
} from "./splits.ts";
import { stuffCategories } from "./textures.ts";
import { emojiUniverse } from "./universe.ts";

async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      names: { type: "string" },
      embeddings: { type: "string" },
      same: { type: "string", default: "0.9" },
    },
  });
  const universe = emojiUniverse();
  const names = [...universe.map(({ name }) => name), ...stuffCategories];
  if (values.names !== undefined) {
    await writeFile(values.names, JSON.stringify(names, null, 1) + "\n");
    console.log(`${names.length} names → ${values.names}`);
    return;
  }
  const sameMeaning = Number(values.same);
  if (!(sameMeaning > -1 && sameMeaning <= 1)) {
    throw new OptionError(`--same ${values.same}: must be a cosine above -1, up to 1`);
  }
  const seen = chooseSeen();
  let chosen: { near: string[]; far: string[] } = { near: [], far: [] };
  if (values.embeddings !== undefined) {
    const bytes = await readFile(values.embeddings).catch((cause) => {
      throw new InputError(`${values.embeddings}: can't be read`, { cause });
    });
    const dimensions = bytes.byteLength / 4 / names.length;
    if (!Number.isInteger(dimensions) || dimensions < 1) {
      throw new InputError(
        `${values.embeddings}: ${bytes.byteLength} bytes are not ${names.length} rows of float32`,
      );
    }
    const rows = new Float32Array(
      bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength),
    );
    chosen = chooseNearAndFar(names, seenNames({ seen }), rows, dimensions, {
      sameMeaning,
      candidates: distinctCategories().map(({ name }) => name),
    });
  }
  const codeOf = new Map(universe.map(({ name, hexcode }) => [name, hexcode]));
  const codes = (list: readonly string[]) => list.map((name) => codeOf.get(name)!);
  const document: SplitsDocument = {
    seed: seenSeed,
    seen: seen.map((index) => universe[index]!.hexcode),
    near: codes(chosen.near),
    far: codes(chosen.far),
  };
  const path = new URL("./splits.json", import.meta.url);
  const temporary = new URL("./splits.json.tmp", import.meta.url);
  await writeFile(temporary, JSON.stringify(document, null, 2) + "\n");
  await rename(temporary, path);
  console.log(
    `${document.seen.length} seen, ${document.near.length} near, ${document.far.length} far`,
  );
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof OvsError)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
