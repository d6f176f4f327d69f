import assert from "node:assert/strict";
import config from "../../deno.json" with { type: "json" };
import { runProcess } from "../../scripts/process.ts";
import { root } from "../../scripts/setup.ts";

/**
 * Types of npm packages, by the names under which public types refer to them. `deno doc` calls them
 * private, since no export of ours has them; their packages document them.
 */
const foreign = new Map([
  ["fc", "fast-check"],
  ["Arbitrary", "fast-check"],
  ["TopLevelSpec", "vega-lite"],
]);

Deno.test("every public symbol is documented, and refers to public types alone", async () => {
  // All entries at once: what one of them takes from another is public.
  const { output } = await runProcess(
    Deno.execPath(),
    ["doc", "--lint", ...Object.values(config.exports)],
    { cwd: root, timeout: 600_000, env: { NO_COLOR: "1" } },
  );
  const findings = [...output.matchAll(/^error\[[\w-]+\]: .*\n.*$/gm)].map(([text]) => text);
  const reported = /Found (\d+) documentation lint error/.exec(output)?.[1];
  assert.equal(findings.length, Number(reported), output);
  const ours = findings.filter((text) => {
    const name = /references private type '(\w+)'/.exec(text)?.[1];
    return name === undefined || !foreign.has(name);
  });
  assert.deepEqual(ours, []);
});
