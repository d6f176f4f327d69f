import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { OutputError } from "../../../lib/errors.ts";
import { OutputFolder } from "../../../plugins/commands/output_folder.ts";
import { writeTextAtomically } from "../../../plugins/training/run_files.ts";
import { fullAfter } from "./full_disk.ts";

const dir = mkdtempSync(join(tmpdir(), "ovstage-files-"));
globalThis.addEventListener("unload", () => rmSync(dir, { recursive: true, force: true }));
const at = (...path: string[]) => join(dir, ...path);
const read = (...path: string[]) => readFileSync(at(...path), "utf8");
/** Windows lets few make links, and has no pipes in folders. */
const ignore = process.platform === "win32";

Deno.test(
  { name: "files: a link stays, and the file that it leads to is replaced", ignore },
  () => {
    mkdirSync(at("there"));
    writeFileSync(at("there", "old.svg"), "old");
    symlinkSync(join("there", "old.svg"), at("link.svg"));
    writeTextAtomically(at("link.svg"), "new");
    assert.ok(lstatSync(at("link.svg")).isSymbolicLink());
    assert.equal(read("there", "old.svg"), "new");
    assert.throws(() => writeTextAtomically(at("link.svg"), "newer", fullAfter(2)), OutputError);
    assert.equal(read("there", "old.svg"), "new");

    symlinkSync(join("there", "next.svg"), at("ahead.svg"));
    writeTextAtomically(at("ahead.svg"), "first");
    assert.ok(lstatSync(at("ahead.svg")).isSymbolicLink());
    assert.equal(read("there", "next.svg"), "first");
    symlinkSync("round.svg", at("round.svg"));
    assert.throws(() => writeTextAtomically(at("round.svg"), "x"), /round\.svg: can't be written/);
    assert.deepEqual(readdirSync(at("there")).sort(), ["next.svg", "old.svg"]);
  },
);

Deno.test({ name: "files: a pipe is written to, and not replaced", ignore }, async () => {
  assert.equal(spawnSync("mkfifo", [at("pipe")]).status, 0);
  const reader = new Deno.Command("cat", { args: [at("pipe")], stdout: "piped" }).spawn();
  const text = new Response(reader.stdout).text();
  writeTextAtomically(at("pipe"), "<svg />");
  assert.equal(await text, "<svg />");
  assert.ok((await reader.status).success && lstatSync(at("pipe")).isFIFO());
});

Deno.test({ name: "results of a command: links stay, a pipe is refused", ignore }, async () => {
  mkdirSync(at("results"));
  writeFileSync(at("kept.json"), "old");
  symlinkSync(at("kept.json"), at("results", "a.json"));
  const folder = await OutputFolder.open(at("results"));
  const bytes = (text: string) => new TextEncoder().encode(text);
  const paths = await folder.write(new Map([["a.json", bytes("a")], ["b.json", bytes("b")]]));
  assert.deepEqual(paths, [at("results", "a.json"), at("results", "b.json")]);
  assert.ok(lstatSync(at("results", "a.json")).isSymbolicLink());
  assert.deepEqual([read("kept.json"), read("results", "b.json")], ["a", "b"]);

  assert.equal(spawnSync("mkfifo", [at("results", "c.json")]).status, 0);
  await assert.rejects(
    folder.write(new Map([["b.json", bytes("c")], ["c.json", bytes("c")]])),
    (error) => error instanceof OutputError && /c\.json: a file is in the way/.test(error.message),
  );
  assert.equal(read("results", "b.json"), "b");
  assert.deepEqual(readdirSync(at("results")).sort(), ["a.json", "b.json", "c.json"]);
});
