import assert from "node:assert/strict";
import {
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { liveBuffers } from "../../../kernels/dispatch/gpu_tensor.ts";
import { DeviceError, DeviceLostError, ModelError, OptionError } from "../../../lib/errors.ts";
import { Rng } from "../../../lib/rng.ts";
import type { Device } from "../../../lib/runtime.ts";
import { formatDocument, parseDocument } from "../../../lib/stages/document.ts";
import { loadPlugin } from "../../../lib/stages/load_plugin.ts";
import type { ImageSlot } from "../../../lib/stages/slots.ts";
import { vocabulary } from "../../../lib/stages/vocabulary.ts";
import { builtinRegistry } from "../../../plugins/builtin.ts";
import { openPipeline } from "../../../plugins/methods/open_pipeline.ts";
import { openOvsnet, ovsnetDocument, type OvsnetOptions } from "../../../plugins/methods/ovsnet.ts";
import { acquireDevice } from "../../../plugins/runtimes/mod.ts";
import { writeTinyModels } from "../commands/tiny_models.ts";
import { fuserModel } from "../fusers/fuser_model.ts";

const folder = mkdtempSync(join(tmpdir(), "ovstage-ovsnet-"));
globalThis.addEventListener("unload", () => rmSync(folder, { recursive: true, force: true }));
writeTinyModels(folder);
for (const kind of ["self_attention", "cross_attention"] as const) {
  writeFileSync(join(folder, `${kind}_fuser.onnx`), fuserModel({ kind, depth: 1, heads: 2 }, 16));
}
const models = pathToFileURL(folder);
const words = vocabulary(
  ["dog", "guitar", "slice of pizza", "🐕", "猫"],
  { trained: [true, true, false, false, false], isThing: [true, true, true, true, false] },
);

function picture(width: number, height: number): ImageSlot {
  const rng = new Rng(width * height);
  const rgb = Uint8Array.from({ length: 3 * width * height }, () => rng.integer(256));
  return { width, height, rgb };
}

async function onCpu(body: (device: Device) => Promise<void>): Promise<void> {
  const device = await acquireDevice("cpu");
  try {
    await body(device);
  } finally {
    await device.dispose();
  }
}

async function labelsBy(
  options: OvsnetOptions,
  device: Device,
  image: ImageSlot,
): Promise<Int32Array> {
  await using pipeline = await openPipeline(ovsnetDocument(options), { device, models });
  using result = await pipeline.run({ image, vocabulary: words }, { outputs: ["segmentation"] });
  const { labels, scores } = result.outputs.segmentation;
  assert.deepEqual(labels.shape, [image.height, image.width]);
  assert.ok((await scores.read()).every((score) => score > 0 && score < 32));
  return await labels.read();
}

Deno.test("an image and words become labels at the image's own size, by every fuser", () =>
  onCpu(async (device) => {
    for (const fuser of builtinRegistry().names("fuser")) {
      const labels = await labelsBy({ fuser, inputSize: 64 }, device, picture(53, 37));
      assert.ok(labels.every((label) => label >= 0 && label < words.names.length), fuser);
    }
    for (const classifier of builtinRegistry().names("classifier")) {
      await labelsBy({ classifier, inputSize: 64 }, device, picture(5, 4));
    }
  }));

Deno.test("one pixel, one row and one column are images too", () =>
  onCpu(async (device) => {
    for (const [width, height] of [[1, 1], [300, 1], [1, 300]] as const) {
      await labelsBy({ inputSize: 64 }, device, picture(width, height));
    }
  }));

Deno.test("the typed composition and the document give the same, run for run", () =>
  onCpu(async (device) => {
    const image = picture(40, 30);
    const options = { omega: 0.7, lambda: 3, inputSize: 64 };
    const expected = await labelsBy(options, device, image);
    await using ovsnet = await openOvsnet({ device, models, ...options });
    const results = await Promise.all(
      [1, 2, 3].map(() => ovsnet.run({ image, vocabulary: words })),
    );
    for (const result of results) {
      assert.deepEqual(await result.outputs.segmentation.labels.read(), expected);
      result.dispose();
    }
    assert.deepEqual(results[0]!.timings.map(({ role }) => role), [
      "image-encoder",
      "text-encoder",
      "decoder",
      "pooler",
      "fuser",
      "classifier",
      "segmenter",
    ]);
  }));

Deno.test("each task has its end, typed and as a document", () =>
  onCpu(async (device) => {
    const image = picture(40, 30);
    const inputs = { image, vocabulary: words };
    {
      await using ovsnet = await openOvsnet({ device, models, inputSize: 64, task: "panoptic" });
      using result = await ovsnet.run(inputs);
      const { ids, segments } = result.outputs.panoptic;
      assert.deepEqual(ids.shape, [30, 40]);
      const found = new Set(await ids.read());
      found.delete(0);
      assert.deepEqual([...found].sort(), segments.map(({ id }) => id).sort());
    }
    await using ovsnet = await openOvsnet({ device, models, inputSize: 64, task: "instance" });
    using typed = await ovsnet.run(inputs);
    const { instances } = typed.outputs.instances;
    assert.ok(instances.length > 0 && instances.every(({ label }) => words.isThing![label]));
    const document = ovsnetDocument({ task: "instance", inputSize: 64 });
    await using pipeline = await openPipeline(document, { device, models });
    using result = await pipeline.run(inputs, { outputs: ["instances"] });
    assert.deepEqual(result.outputs.instances.instances, instances);
  }));

Deno.test("slots on the way have the shapes of the contract, and text has unit rows", () =>
  onCpu(async (device) => {
    await using ovsnet = await openOvsnet({ device, models, inputSize: 64 });
    using result = await ovsnet.run({ image: picture(40, 20), vocabulary: words }, {
      outputs: ["text", "features", "pyramid", "maskLogits", "classLogits"],
    });
    const { text, features, pyramid, maskLogits, classLogits } = result.outputs;
    assert.deepEqual(features.shape, [16, 4, 8]);
    assert.deepEqual(pyramid.map(({ stride, features }) => [stride, ...features.shape.slice(1)]), [
      [4, 8, 16],
      [8, 4, 8],
    ]);
    assert.deepEqual(maskLogits.shape, [8, 8, 16]);
    assert.deepEqual(classLogits.logits.shape, [8, 6]);
    const rows = await text.read();
    for (let c = 0; c < 5; c++) {
      assert.ok(Math.abs(Math.hypot(...rows.subarray(16 * c, 16 * c + 16)) - 1) < 1e-5);
    }
  }));

Deno.test("a name's embedding depends on the name alone: not on its batch or on what was cached", () =>
  onCpu(async (device) => {
    const names = Array.from({ length: 600 }, (_, i) => `thing ${i}`);
    const image = picture(32, 32);
    await using ovsnet = await openOvsnet({ device, models, inputSize: 32 });
    const textOf = async (names: readonly string[]) => {
      using result = await ovsnet.run({ image, vocabulary: vocabulary(names) }, {
        outputs: ["text"],
      });
      return (await result.outputs.text.read()).slice();
    };
    const few = await textOf(["thing 599", "dog"]);
    const all = await textOf(names);
    const again = await textOf(["dog", "thing 599", "thing 0"]);
    const close = (a: Float32Array, b: Float32Array) =>
      a.forEach((value, d) => assert.ok(Math.abs(value - b[d]!) < 1e-5));
    close(few.subarray(0, 16), all.subarray(599 * 16));
    close(few.subarray(16), again.subarray(0, 16));
    close(again.subarray(32), all.subarray(0, 16));
  }));

Deno.test("prompt templates change the text, and one without a place for the name is refused", () =>
  onCpu(async (device) => {
    const open = (templates: string[]) =>
      openPipeline(
        ovsnetDocument({ inputSize: 32, stages: { "text-encoder": { templates } } }),
        { device, models },
      );
    const textOf = async (templates: string[]) => {
      await using pipeline = await open(templates);
      using result = await pipeline.run(
        { image: picture(8, 8), vocabulary: vocabulary(["$& dog"]) },
        { outputs: ["text"] },
      );
      return (await result.outputs.text.read()).slice();
    };
    const plain = await textOf(["{}"]);
    const other = await textOf(["a photo of a {}."]);
    const both = await textOf(["{}", "a photo of a {}."]);
    const mean = plain.map((value, d) => value + other[d]!);
    const norm = Math.hypot(...mean);
    both.forEach((value, d) => assert.ok(Math.abs(value - mean[d]! / norm) < 1e-5));
    await assert.rejects(open(["a photo"]), OptionError);
  }));

Deno.test("a third party's fuser takes part by its name", () =>
  onCpu(async (device) => {
    const registry = builtinRegistry();
    await loadPlugin("examples/plugins/median_fuser.ts", registry);
    const document = parseDocument(formatDocument(ovsnetDocument({
      fuser: "median",
      stages: { fuser: { weight: 0.5 }, "image-encoder": { inputSize: 64 } },
    })));
    await using pipeline = await openPipeline(document, { device, models, registry });
    using result = await pipeline.run({ image: picture(20, 20), vocabulary: words }, {
      outputs: ["segmentation"],
    });
    assert.equal((await result.outputs.segmentation.labels.read()).length, 400);
  }));

Deno.test("bad options and names are refused before any model is read", () =>
  onCpu(async (device) => {
    const open = (options: OvsnetOptions) =>
      openPipeline(ovsnetDocument(options), { device, models: "file:///nowhere" });
    await assert.rejects(open({ omega: 1.5 }), /omega is 1.5; it must be a finite number above 0/);
    await assert.rejects(open({ fuser: "gaf" }), /unknown fuser "gaf"; did you mean "gfa"\?/);
    await assert.rejects(open({ fuser: "mean", omega: 0.5 }), /fuser "mean" has no option "omega"/);
    assert.throws(() => ovsnetDocument({ stages: { fusser: {} } }), /no stage of role "fusser"/);
    await assert.rejects(open({}), ModelError);
  }));

Deno.test("an unknown option or task is refused, though no compiler has looked", () =>
  onCpu(async (device) => {
    const cases: [Record<string, unknown>, RegExp][] = [
      [
        { omga: 0.3 },
        /^openOvsnet has no option "omga"; did you mean "omega"\? known: device, models, task, /,
      ],
      [{ fuser: "mean" }, /no option "fuser"; "fuser" is one of ovsnetDocument, whose document /],
      [{ stages: {} }, /no option "stages"; "stages" is one of ovsnetDocument/],
      [{ task: "x" }, /^openOvsnet has no task "x"; known: semantic, panoptic, instance$/],
      [{ task: "instances" }, /no task "instances"; did you mean "instance"\?/],
      [{ task: "toString" }, /no task "toString"/],
      [{ task: null }, /no task "null"/],
    ];
    for (const [options, message] of cases) {
      await assert.rejects(
        openOvsnet({ device, models: "file:///nowhere", ...options }),
        (error: unknown) => error instanceof OptionError && message.test(error.message),
        JSON.stringify(options),
      );
    }
    const mistyped: OvsnetOptions & { omga: number } = { omga: 0.3 };
    assert.throws(() => ovsnetDocument(mistyped), {
      name: "OptionError",
      message: 'ovsnetDocument has no option "omga"; did you mean "omega"? known: task, fuser, ' +
        "classifier, omega, lambda, inputSize, stages",
    });
  }));

Deno.test("a model that is missing, cut short or another one is named", () =>
  onCpu(async (device) => {
    const own = mkdtempSync(join(tmpdir(), "ovstage-models-"));
    const open = () =>
      openPipeline(ovsnetDocument(), { device, models: pathToFileURL(own) }).then((pipeline) =>
        pipeline.dispose()
      );
    const rejects = (message: RegExp) =>
      assert.rejects(open(), (error: unknown) => {
        assert.ok(error instanceof ModelError);
        assert.match(error.message, message);
        return true;
      });
    try {
      const fresh = (name: string) =>
        writeFileSync(join(own, name), readFileSync(join(folder, name)));
      const all = [
        "image_encoder.onnx",
        "text_encoder.onnx",
        "mask_decoder.onnx",
        "tokenizer.json",
        "ovsnet.json",
      ];
      all.forEach(fresh);
      await open();
      for (const name of all) {
        const pattern = name.replace(".", "\\.");
        truncateSync(join(own, name), 40);
        await rejects(new RegExp(`model ${pattern}: `));
        unlinkSync(join(own, name));
        await rejects(new RegExp(`model ${pattern}: no such file`));
        fresh(name);
      }
      writeFileSync(join(own, "ovsnet.json"), '{"logitScale": 1}');
      await rejects(/model ovsnet\.json: "voidEmbedding" must be a list/);
      fresh("ovsnet.json");
      writeFileSync(
        join(own, "mask_decoder.onnx"),
        readFileSync(join(folder, "text_encoder.onnx")),
      );
      await rejects(
        /model mask_decoder\.onnx takes tokens, mask and gives embeddings; it must take/,
      );
    } finally {
      rmSync(own, { recursive: true });
    }
  }));

async function acquireGpu(): Promise<Device | null> {
  try {
    return await acquireDevice("webgpu", { networks: "cpu" });
  } catch (error) {
    if (error instanceof DeviceError) return null;
    throw error;
  }
}

const probe = await acquireGpu();
await probe?.dispose();
const ignore = probe === null && Deno.env.get("OVS_REQUIRE_GPU") !== "1";

Deno.test({
  name: "WebGPU: the same labels as on the CPU, and no buffer is left",
  ignore,
  fn: () =>
    onCpu(async (cpu) => {
      const device = await acquireGpu();
      assert(device?.gpu, "OVS_REQUIRE_GPU is set, but there is no WebGPU adapter");
      try {
        const image = picture(60, 45);
        for (const fuser of ["gfa", "mean", "clip"]) {
          const options = { fuser, inputSize: 64 };
          const onGpu = await labelsBy(options, device, image);
          const expected = await labelsBy(options, cpu, image);
          const same = onGpu.filter((label, i) => label === expected[i]).length;
          assert.ok(same >= 0.999 * expected.length, `${fuser}: ${same} of ${expected.length}`);
        }
        assert.equal(liveBuffers(device.gpu), 0);
      } finally {
        await device.dispose();
      }
    }),
});

Deno.test({
  name: "WebGPU: a pipeline that lost its device says so, and opens again on another",
  ignore,
  async fn() {
    const device = await acquireGpu();
    assert(device?.gpu, "OVS_REQUIRE_GPU is set, but there is no WebGPU adapter");
    const inputs = { image: picture(20, 20), vocabulary: words };
    const open = (device: Device) => openOvsnet({ device, models, inputSize: 32 });
    const lost = await open(device);
    (await lost.run(inputs)).dispose();
    device.gpu.destroy();
    await device.gpu.lost;
    await assert.rejects(lost.run(inputs), DeviceLostError);
    await lost.dispose();
    await device.dispose();
    const another = await acquireGpu();
    await using again = await open(another!);
    (await again.run(inputs)).dispose();
    await again.dispose();
    await another!.dispose();
  },
});
