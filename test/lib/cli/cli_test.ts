import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";
import fc from "fast-check";
import { formatHelp, parseArguments } from "../../../lib/cli/arguments.ts";
import { EXIT_DEFECT, EXIT_USAGE, runCommand } from "../../../lib/cli/run_command.ts";
import { formatTable, swatch } from "../../../lib/cli/table.ts";
import { printable, shorten, textWidth, wrap } from "../../../lib/cli/text.ts";
import { InputError, OptionError } from "../../../lib/errors.ts";

const spec = {
  name: "tool",
  description: "Does a thing.",
  positionals: ["FILE"],
  flags: {
    out: { value: "DIR", description: "Where to." },
    plugin: { value: "PATH", multiple: true, description: "More." },
    json: { description: "As JSON." },
  },
  examples: ["tool a.png"],
} as const;

Deno.test("arguments: values after a space or =, repeats, and what is left out", () => {
  const parsed = parseArguments(spec, ["a.png", "--out=b", "--plugin", "x", "--plugin", "-1"]);
  assert.deepEqual(parsed.positionals, ["a.png"]);
  assert.deepEqual(parsed.flags, { out: "b", plugin: ["x", "-1"], json: false });
  assert.equal(parsed.help, false);
  assert.deepEqual(parseArguments(spec, ["--", "--out"]).positionals, ["--out"]);
  assert.equal(parseArguments(spec, ["-h"]).help, true);
});

Deno.test("arguments: mistakes are named", () => {
  const cases: [string[], RegExp][] = [
    [[], /FILE is missing/],
    [["a", "b"], /unexpected argument "b" after FILE/],
    [["a", "--ot", "b"], /unknown flag --ot; did you mean --out\?/],
    [["a", "-x"], /unknown flag -x/],
    [["a", "--out"], /--out needs a value \(DIR\)/],
    [["a", "--out", "--json"], /--out needs a value/],
    [["a", "--out", ""], /--out is empty; it must name a DIR/],
    [["a", "--out="], /--out is empty/],
    [["a", "--json=yes"], /--json takes no value, got "yes"/],
    [["a", "--out", "b", "--out", "c"], /--out is given twice/],
    [["a", "--constructor", "b"], /unknown flag --constructor/],
  ];
  for (const [args, message] of cases) {
    assert.throws(
      () => parseArguments(spec, args),
      (error) => error instanceof OptionError && message.test(error.message),
    );
  }
});

Deno.test("arguments: optional ones in brackets, one or more with dots", () => {
  const parse = (positionals: string[], args: string[]) =>
    parseArguments({ ...spec, positionals }, args).positionals;
  assert.deepEqual(parse(["NAME", "[PATH]"], ["a"]), ["a"]);
  assert.deepEqual(parse(["NAME", "[PATH]"], ["a", "b"]), ["a", "b"]);
  assert.throws(() => parse(["NAME", "[PATH]"], ["a", "b", "c"]), /unexpected argument "c"/);
  assert.throws(() => parse(["NAME", "[PATH]"], []), /NAME is missing/);
  assert.deepEqual(parse(["DIR…"], ["a", "b", "c"]), ["a", "b", "c"]);
  assert.throws(() => parse(["DIR…"], []), /DIR is missing/);
});

Deno.test("arguments: any command line parses or gives an OptionError", () => {
  const word = fc.oneof(fc.string(), fc.constantFrom("--out", "--json", "--plugin=", "--", "-h"));
  fc.assert(fc.property(fc.array(word, { maxLength: 6 }), (args) => {
    try {
      const { positionals, help } = parseArguments(spec, args);
      assert.ok(help || positionals.length === 1);
    } catch (error) {
      assert.ok(error instanceof OptionError, String(error));
    }
  }));
});

Deno.test("help: every flag, in lines of at most 80 characters", () => {
  const text = formatHelp(spec);
  for (
    const part of ["Usage: tool FILE [FLAGS]", "--out DIR", "--plugin PATH", "--json", "--help"]
  ) {
    assert.ok(text.includes(part), part);
  }
  assert.ok(text.split("\n").every((line) => line.length <= 80));
});

Deno.test("text: Chinese and emoji take two cells; controls don't reach the terminal", () => {
  assert.deepEqual(["dog", "狗", "🐕", "é", "e\u0301", "👨‍👩‍👧"].map(textWidth), [3, 2, 2, 1, 1, 2]);
  assert.equal(printable("a\x1b[31mb\n\u0007"), "a\ufffd[31mb\ufffd\ufffd");
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), fc.integer({ min: 1, max: 12 }), (s, w) => {
      assert.ok(textWidth(shorten(s, w)) <= Math.max(w, 1));
      if (textWidth(s) <= w) assert.equal(shorten(s, w), s);
    }),
  );
  fc.assert(fc.property(fc.lorem({ maxCount: 20 }), (text) => {
    const lines = wrap(text, 20);
    assert.equal(lines.join(" "), text);
    assert.ok(lines.every((line) => line.length <= 20 || !line.includes(" ")));
  }));
});

Deno.test("table: columns line up whatever the script", () => {
  const columns = [{ title: "class" }, { title: "area", align: "right" as const }];
  assert.equal(
    formatTable(columns, [["狗", "1"], ["guitar", "22"]]),
    "class   area\n狗         1\nguitar    22\n",
  );
  assert.equal(swatch([1, 2, 3], false).trim(), "");
  assert.ok(swatch([1, 2, 3], true).includes("48;2;1;2;3"));
});

Deno.test("runCommand: somebody's mistake is 2, ours is 1", async () => {
  assert.equal(await runCommand(() => Promise.resolve()), 0);
  assert.equal(
    await runCommand(() => Promise.reject(new InputError("cat.png: a test"))),
    EXIT_USAGE,
  );
  assert.equal(await runCommand(() => Promise.reject(new TypeError("a test"))), EXIT_DEFECT);
});

/** A program that writes a megabyte, and what a shell does with it. */
function writeInto(redirection: string): { status: number | null; stderr: string } {
  const module = new URL("../../../lib/cli/run_command.ts", import.meta.url).href;
  const program = `
    import process from "node:process";
    import { runCommand, writeText } from ${JSON.stringify(module)};
    process.exit(await runCommand(() => writeText(process.stdout, "line\\n".repeat(200_000))));
  `;
  // The status of the program, not of what reads it.
  const script = `"$DENO" eval --quiet "$PROGRAM" ${redirection}`;
  return spawnSync("bash", ["-o", "pipefail", "-c", script], {
    encoding: "utf8",
    env: { ...process.env, DENO: process.execPath, PROGRAM: program },
  });
}

Deno.test({
  name: "runCommand: a reader that goes away ends it quietly, a full disk in one line",
  ignore: !existsSync("/dev/full"),
  fn() {
    const read = writeInto("| head -n 2 > /dev/null");
    assert.deepEqual([read.status, read.stderr], [0, ""]);
    const full = writeInto("> /dev/full");
    assert.equal(full.status, EXIT_USAGE);
    assert.match(full.stderr, /^ovs: standard output can't be written: the disk is full; .*\n$/);
    // Nobody can be told; the exit code still says it.
    assert.equal(writeInto("> /dev/full 2> /dev/full").status, EXIT_USAGE);
  },
});
