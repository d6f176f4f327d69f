/**
 * `deno task docs`: the pages of the public API, out of its doc comments.
 *
 * @module
 */
import { join } from "node:path";
import config from "../deno.json" with { type: "json" };
import { runProcess } from "./process.ts";
import { root } from "./setup.ts";

const folder = join("out", "docs");
const entries = Object.values(config.exports);
const { code, output } = await runProcess(
  Deno.execPath(),
  ["doc", "--html", "--name=ovstage", `--output=${folder}`, ...entries],
  { cwd: root, timeout: 300_000 },
);
console.log(code === 0 ? `${join(folder, "index.html")}: ${entries.length} modules` : output);
Deno.exit(code);
