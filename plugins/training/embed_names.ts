/**
 * What names mean to a text tower.
 *
 * @module
 */
import type { Engine } from "../../lib/runtime.ts";
import type { HostTensor } from "../../lib/tensor.ts";
import { BpeTokenizer } from "../../lib/text/bpe.ts";
import { ortNodeEngine } from "../runtimes/ort_node.ts";
import type { Towers } from "./towers.ts";

/** The embeddings of names by the text tower, C×D. */
export async function embedNames(
  towers: Pick<Towers, "textEncoder" | "tokenizer" | "maxLength">,
  names: readonly string[],
  engine?: Engine,
): Promise<HostTensor<"float32">> {
  const session = await (engine ?? await ortNodeEngine({ threads: 2 })).load(towers.textEncoder);
  const tokenizer = BpeTokenizer.fromJSON(JSON.parse(towers.tokenizer));
  const batch = tokenizer.encodeBatch(names, towers.maxLength);
  const { embeddings } = await session.run({ tokens: batch.tokens, mask: batch.mask });
  await session.dispose();
  return embeddings as HostTensor<"float32">;
}
