import assert from "node:assert/strict";
import { Origin, outsideFrame } from "../../../lib/graph/origin.ts";

Deno.test("the first frame outside of the library, in the traces of all engines", () => {
  const own = "file:///home/net/lib/graph";
  const v8 = [
    "Error",
    "    at new Origin (file:///home/net/lib/graph/origin.ts:28:19)",
    "    at Graph.add (file:///home/net/lib/graph/graph.ts:9:1)",
    "    at Array.map (<anonymous>)",
    "    at async Object.build (file:///home/net/lib/graph_user/model.ts:12:34)",
    "    at file:///home/net/main.ts:1:1",
  ];
  assert.equal(outsideFrame(v8.join("\n"), own + "/"), "/home/net/lib/graph_user/model.ts:12:34");
  const top = [v8[0], v8[1], "    at async file:///home/net/main.ts:3:4"];
  assert.equal(outsideFrame(top.join("\n"), own), "/home/net/main.ts:3:4");
  const node = [v8[1], "    at node:internal/main:1:1", "    at C:\\net\\main.js:5:6"];
  assert.equal(outsideFrame(node.join("\n"), own), "C:\\net\\main.js:5:6");

  const bundle = "https://net.example/ovstage.js";
  const page = [`add@${bundle}:1:2000`, "build@https://net.example/page.js:7:8", "@debugger:1:1"];
  assert.equal(outsideFrame(page.join("\n"), bundle), "https://net.example/page.js:7:8");
  assert.equal(outsideFrame(page.slice(0, 1).join("\n"), bundle), "");
  assert.equal(outsideFrame("", bundle), "");
});

Deno.test("an origin is where it was made", () => {
  const origin = new Origin();
  assert.match(String(origin), /test\/lib\/graph\/origin_test\.ts:28:18$/);
  assert.equal(origin.note(), ` (at ${origin})`);
});
