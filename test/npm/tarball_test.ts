/**
 * The package for npm as its users have it: packed, unpacked in an empty project, run by Node. Its
 * dependencies are links to this checkout's; with OVS_NPM_INSTALL=1 npm installs them.
 *
 * @module
 */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { mkdir, readdir, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { encode } from "fast-png";
import config from "../../deno.json" with { type: "json" };
import { acquireDevice, openOvsnet, vocabulary } from "../../mod.ts";
import { readImage } from "../../plugins/codecs/read_image.ts";
import { build } from "../../scripts/build.ts";
import { findDrivers } from "../../scripts/drivers.ts";
import { type ProcessResult, runProcess } from "../../scripts/process.ts";
import { root } from "../../scripts/setup.ts";
import { runOvs } from "../plugins/commands/run_ovs.ts";

const timeout = 300_000;
const names = ["dog face", "guitar", "pizza"];
const installs = Deno.env.get("OVS_NPM_INSTALL") === "1";

/** What a program prints of an image: labels and scores, segments, or objects. */
type Printed = Record<string, Record<string, string>>;

/** Segments images by every task; the same text runs in Deno and, after its imports, in Node. */
const segmentAll = `
async function segmentAll({ acquireDevice, openOvsnet, readImage, vocabulary }, request, images) {
  const base64 = (array) =>
    Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString("base64");
  const words = vocabulary(${JSON.stringify(names)}, { isThing: [true, true, false] });
  const device = await acquireDevice(request);
  const printed = {};
  for (const task of ["semantic", "panoptic", "instance"]) {
    const ovsnet = await openOvsnet({ device, task });
    for (const path of images) {
      const result = await ovsnet.run({ image: await readImage(path), vocabulary: words });
      const { segmentation, panoptic, instances } = result.outputs;
      const name = task + " " + path.split("/").at(-1);
      if (segmentation) {
        const { labels, scores } = segmentation;
        const [classes, shares] = [await labels.read(), await scores.read()];
        printed[name] = { labels: base64(classes), scores: base64(shares) };
      } else if (panoptic) {
        const ids = base64(await panoptic.ids.read());
        printed[name] = { ids, segments: JSON.stringify(panoptic.segments) };
      } else printed[name] = { instances: JSON.stringify(instances) };
      result[Symbol.dispose]();
    }
    await ovsnet[Symbol.asyncDispose]();
  }
  await device.dispose();
  return printed;
}`;

/** Segments the scenes on the device that is its argument. */
const program = `
import { acquireDevice, openOvsnet, vocabulary } from "@ovstage/ovstage";
import { readImage } from "@ovstage/ovstage/read-image";
${segmentAll}
const api = { acquireDevice, openOvsnet, readImage, vocabulary };
console.log(JSON.stringify(await segmentAll(api, ...[process.argv[2], process.argv.slice(3)])));
`;

/** Scenes of several shapes: stripes, blobs and one pixel in height. */
const scenes: Readonly<Record<string, [width: number, height: number]>> = {
  "scene.png": [96, 64],
  "tall.png": [50, 131],
  "line.png": [70, 1],
};

const typed = `
import { acquireDevice, openOvsnet, type Segment, segments, vocabulary } from "@ovstage/ovstage";
import { readImage } from "@ovstage/ovstage/read-image";
import { Graph } from "@ovstage/ovstage/graph";
export async function labelsOf(path: string): Promise<Segment[]> {
  const device = await acquireDevice("cpu");
  const ovsnet = await openOvsnet({ device });
  const image = await readImage(path);
  const { outputs } = await ovsnet.run({ image, vocabulary: vocabulary(["dog"]) });
  const { labels, scores } = outputs.segmentation;
  const { width, height } = image;
  return segments({ width, height, labels: await labels.read(), scores: await scores.read() }, ["dog"]);
}
export const graph: typeof Graph = Graph;
// @ts-expect-error A device has a name.
export const wrong = acquireDevice(7);
`;

async function succeeds(command: string): Promise<boolean> {
  try {
    return (await runProcess(command, ["--version"], { cwd: root, timeout })).code === 0;
  } catch {
    return false;
  }
}

async function run(
  cwd: string,
  command: string,
  args: string[],
  env: Record<string, string> = {},
): Promise<ProcessResult> {
  return await runProcess(command, args, { cwd, timeout, env: { NO_COLOR: "1", ...env } });
}

async function runWell(...args: Parameters<typeof run>): Promise<string> {
  const { code, output } = await run(...args);
  assert.equal(code, 0, output);
  return output;
}

/** Unpacks the tarball where npm would, and links what it depends on. */
async function unpack(tarball: string, project: string): Promise<void> {
  const modules = join(project, "node_modules");
  await mkdir(join(modules, ".bin"), { recursive: true });
  await mkdir(join(modules, "@ovstage"));
  await runWell(project, "tar", ["xzf", tarball]);
  const own = join(modules, "@ovstage/ovstage");
  await rename(join(project, "package"), own);
  await symlink("../@ovstage/ovstage/bin/ovs.js", join(modules, ".bin/ovs"));
  const { dependencies, optionalDependencies, peerDependencies } = JSON.parse(
    await readFile(join(own, "package.json"), "utf8"),
  ) as Record<string, Record<string, string>>;
  for (
    const name of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })
  ) {
    const to = join(modules, name);
    await mkdir(dirname(to), { recursive: true });
    await symlink(await Deno.realPath(join(root, "node_modules", name)), to);
  }
}

function parse(output: string): Printed {
  return JSON.parse(output.trim().split("\n").at(-1)!) as Printed;
}

/** {@linkcode segmentAll} in this process. */
async function segmentHere(images: readonly string[]): Promise<Printed> {
  const make = new Function("Buffer", `${segmentAll}; return segmentAll;`);
  const api = { acquireDevice, openOvsnet, readImage, vocabulary };
  return await make(Buffer)(api, "cpu", images) as Printed;
}

const missing = !await succeeds("node")
  ? "Node is not installed"
  : !await succeeds("npm")
  ? "npm is not installed"
  : Deno.build.os === "windows"
  ? "needs tar and symbolic links"
  : null;

Deno.test({
  name: `the tarball in Node${missing === null ? "" : `: skipped, ${missing}`}`,
  ignore: missing !== null,
  async fn(t) {
    const project = await Deno.makeTempDir({ prefix: "ovstage-npm-" });
    const modules = join(project, "node_modules");
    try {
      const dist = join(project, "dist");
      await build(dist);
      const packed = await runWell(project, "npm", [
        "pack",
        "--silent",
        "--ignore-scripts",
        "./dist",
      ]);
      const tarball = join(project, packed.trim().split("\n").at(-1)!);
      await rm(dist, { recursive: true });
      await writeFile(join(project, "package.json"), '{ "private": true, "type": "module" }\n');
      if (installs) {
        // The version that deno.json has.
        const webgpu = config.imports.webgpu.slice("npm:".length);
        const install = [
          "install",
          "--ignore-scripts",
          "--prefer-offline",
          "--no-audit",
          tarball,
          webgpu,
        ];
        await runWell(project, "npm", install);
      } else await unpack(tarball, project);

      for (const [name, [width, height]] of Object.entries(scenes)) {
        const data = new Uint8Array(width * height * 3);
        for (let i = 0; i < data.length; i++) data[i] = (i * 37 + (i >> 5) * 11) % 256;
        const png = encode({ width, height, data, channels: 3, depth: 8 });
        await writeFile(join(project, name), png);
      }
      await writeFile(join(project, "main.mjs"), program);
      const images = Object.keys(scenes);
      const here = await segmentHere(images.map((name) => join(project, name)));

      await t.step("gives the same bytes as Deno on the CPU engine, by every task", async () => {
        assert.equal(Object.keys(here).length, 3 * images.length);
        const found = parse(await runWell(project, "node", ["main.mjs", "cpu", ...images]));
        assert.deepEqual(found, here);
      });

      const { swiftshader } = await findDrivers();
      await t.step({
        name: "gives the same labels on WebGPU through Dawn" +
          (swiftshader ? "" : ": skipped, SwiftShader is not installed"),
        ignore: swiftshader === null,
        async fn() {
          const env = { VK_ICD_FILENAMES: swiftshader! };
          const args = ["main.mjs", "webgpu", "scene.png", "tall.png"];
          const found = parse(await runWell(project, "node", args, env));
          let [same, all] = [0, 0];
          for (const name of ["semantic scene.png", "semantic tall.png"]) {
            const [a, b] = [found, here].map((printed) => {
              const bytes = Uint8Array.from(Buffer.from(printed[name]!.labels!, "base64"));
              return new Int32Array(bytes.buffer);
            }) as [Int32Array, Int32Array];
            assert.equal(a.length, b.length);
            same += a.filter((label, i) => label === b[i]).length;
            all += a.length;
          }
          assert.ok(same >= 0.999 * all, `${same} of ${all} labels agree`);
        },
      });

      await t.step("has the command line, with the same files as Deno's", async () => {
        const args = ["segment", "scene.png", "--classes", names.join(","), "--device", "cpu"];
        const version = await runWell(project, "npx", ["--no-install", "ovs", "--version"]);
        assert.match(version, /^\d+\.\d+\.\d+$/m);
        await runWell(project, "npx", ["--no-install", "ovs", ...args, "--out", "node"]);
        const { code, stderr } = await runOvs(project, ...args, "--out", "deno");
        assert.equal(code, 0, stderr);
        const files = (await readdir(join(project, "deno"))).sort();
        assert.deepEqual((await readdir(join(project, "node"))).sort(), files);
        const pictures = files.filter((file) => file.endsWith(".png"));
        assert.ok(pictures.length > 0, `no PNG among ${files.join(", ")}`);
        // Pixels, not files: the runtimes' zlib compresses differently.
        for (const file of pictures) {
          const [a, b] = ["node", "deno"].map((folder) => readImage(join(project, folder, file)));
          assert.deepEqual(Buffer.from((await a!).rgb), Buffer.from((await b!).rgb), file);
        }
      });

      for (const moduleResolution of ["node16", "bundler"]) {
        await t.step(`has declarations for moduleResolution ${moduleResolution}`, async () => {
          await writeFile(join(project, "typed.ts"), typed);
          const tsc = join(root, "node_modules/typescript/bin/tsc");
          await runWell(project, "node", [
            ...[tsc, "typed.ts", "--ignoreConfig", "--noEmit", "--strict", "--target", "es2022"],
            ...["--lib", "es2024,esnext.disposable,dom", "--types", "", "--skipLibCheck"],
            ...["--module", moduleResolution === "node16" ? "node16" : "esnext"],
            ...["--moduleResolution", moduleResolution],
          ]);
        });
      }

      const broken: [string, string, RegExp][] = [
        ["onnxruntime-node", "cpu", /npm install --ignore-scripts onnxruntime-node@/],
        ["webgpu", "webgpu", /npm install webgpu@/],
        ["sharp", "cpu", /npm install sharp@/],
      ];
      for (const [name, device, message] of broken) {
        await t.step(`says what to install where ${name} is missing`, async () => {
          const path = join(modules, name);
          const aside = join(project, "aside");
          await rename(path, aside);
          try {
            await runWell(project, "node", [
              "-e",
              "await import('@ovstage/ovstage')",
              "--input-type=module",
            ]);
            const args = ["segment", "scene.png", "--classes", "dog", "--device", device];
            const { code, output } = await run(project, "npx", ["--no-install", "ovs", ...args]);
            assert.equal(code, 2, output);
            assert.match(output, message);
          } finally {
            await rename(aside, path);
          }
        });
      }
    } finally {
      await rm(project, { recursive: true, force: true });
    }
  },
});
