/**
 * Tiny models as files.
 *
 * @module
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tinyModels } from "../../tiny_networks.ts";

/** Writes the model files into a folder. */
export function writeTinyModels(folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const [name, bytes] of Object.entries(tinyModels())) {
    writeFileSync(join(folder, name), bytes);
  }
}
