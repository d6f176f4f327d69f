import assert from "node:assert/strict";
import { Graph, ops, ParameterLayout } from "../../../lib/graph/mod.ts";
import { HostTensor } from "../../../lib/tensor.ts";
import type { WeightRule } from "../../../lib/weights/mod.ts";
import {
  attention,
  causalMask,
  maskedAttentionMask,
  unlessEmpty,
} from "../../../plugins/networks/attention.ts";
import { transposed } from "../../../plugins/networks/weight_rules.ts";
import { ortNodeEngine } from "../../../plugins/runtimes/ort_node.ts";
import { judge } from "./judge.ts";

const rules: WeightRule[] = [
  { match: /^in_proj_(weight|bias)$/, split: { axis: 0, to: ["query.$1", "key.$1", "value.$1"] } },
  { match: /^out_proj\./, to: "output." },
  transposed("query", "key", "value", "output"),
];

Deno.test("attention: crosswise, additive, boolean and causal masks as PyTorch has them", () =>
  judge("attention", rules, (scope, { target, source, place, bias, visible }) => {
    const heads = 3;
    return {
      cross: attention(scope, target!, source!, { heads }),
      additive: attention(scope, target!, source!, {
        heads,
        bias: ops.unsqueeze(bias!, [1]),
        keyPosition: place!,
      }),
      boolean: attention(scope, target!, source!, {
        heads,
        mask: ops.unsqueeze(ops.cast(visible!, "bool"), [1]),
        keyPosition: place!,
      }),
      causal: attention(scope, target!, target!, {
        heads,
        mask: causalMask(target!, ops.dimOf(target!, 1)),
      }),
    };
  }, {
    target: ["B", "T", 12],
    source: ["B", "S", 12],
    place: [1, "S", 12],
    bias: ["B", "T", "S"],
    visible: ["B", "T", "S"],
  }));

async function evaluate(graph: Graph, feeds: Record<string, HostTensor>): Promise<number[]> {
  const session = await (await ortNodeEngine({ threads: 1 })).load(graph.toOnnx());
  try {
    return [...await (await session.run(feeds))["y"]!.read() as Uint8Array].map(Number);
  } finally {
    await session.dispose();
  }
}

Deno.test("unlessEmpty: only the rows that are false everywhere change", async () => {
  const graph = new Graph("rows");
  const x = graph.input("x", ["N", 3], "uint8");
  graph.output("y", ops.cast(unlessEmpty(ops.cast(x, "bool")), "uint8"));
  const rows = new HostTensor("uint8", [3, 3], Uint8Array.of(0, 0, 0, 0, 1, 0, 1, 1, 1));
  assert.deepEqual(await evaluate(graph, { x: rows }), [1, 1, 1, 0, 1, 0, 1, 1, 1]);
});

Deno.test("Mask2Former's mask: where the resized logits aren't negative, or everywhere", async () => {
  const graph = new Graph("masks");
  const logits = graph.input("logits", ["B", 2, "H", "W"]);
  graph.output("y", ops.cast(maskedAttentionMask(logits, 1, 2), "uint8"));
  const data = Float32Array.of(4, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  assert.deepEqual(
    await evaluate(graph, { logits: new HostTensor("float32", [1, 2, 2, 4], data) }),
    [1, 0, 1, 1],
  );
});

Deno.test("attention: heads that don't divide the channels are refused", () => {
  const graph = new Graph("refused");
  const x = graph.input("x", ["B", "T", 10]);
  assert.throws(
    () => ParameterLayout.of(graph, (scope) => void attention(scope, x, x, { heads: 3 })),
    /ShapeError: attention: 10 channels don't make 3 heads/,
  );
});
