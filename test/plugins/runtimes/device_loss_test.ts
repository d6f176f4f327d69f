import assert from "node:assert/strict";
import { DeviceError, DeviceLostError } from "../../../lib/errors.ts";
import { Graph } from "../../../lib/graph/graph.ts";
import * as ops from "../../../lib/graph/ops.ts";
import { float32 } from "../../../lib/tensor.ts";
import { acquireDevice } from "../../../plugins/runtimes/mod.ts";

const adapter = await navigator.gpu.requestAdapter();
const required = Deno.env.get("OVS_REQUIRE_GPU") === "1";

// The only test of its file: what is lost in the middle of a run can break ONNX Runtime's WebAssembly
// for all that runs in the same process, or page.
Deno.test({
  name: "a device that goes away during a network's run is a DeviceLostError",
  ignore: adapter === null && !required,
  async fn() {
    const graph = new Graph("product");
    const x = graph.input("x", ["N", 8]);
    graph.output("y", ops.relu(ops.matMul(x, graph.input("w", [8, 8]))));
    const inputs = { x: float32([4, 8]), w: float32([8, 8]) };

    const device = await acquireDevice("webgpu", { networks: "webgpu" });
    const session = await device.engine.load(graph.toOnnx());
    (await session.run(inputs)).y!.dispose();
    const running = session.run(inputs);
    device.gpu!.destroy();
    const outcome = running.then(({ y }) => y!.read());
    await assert.rejects(outcome, DeviceLostError);
    await assert.rejects(session.run(inputs), DeviceLostError);
    await session.dispose();
    await device.dispose();

    // Either ONNX Runtime survived it, or says what to do.
    const second = await acquireDevice("webgpu", { networks: "webgpu" });
    try {
      const again = await second.engine.load(graph.toOnnx());
      (await again.run(inputs)).y!.dispose();
      await again.dispose();
    } catch (error) {
      assert(error instanceof DeviceError, String(error));
      assert.match(error.message, /start the process again, or take networks: cpu/);
    }
    await second.dispose();

    // The CPU engine is a library of its own.
    const third = await acquireDevice("webgpu", { networks: "cpu" });
    const onCpu = await third.engine.load(graph.toOnnx());
    assert.deepEqual((await onCpu.run(inputs)).y!.shape, [4, 8]);
    await onCpu.dispose();
    await third.dispose();
  },
});
