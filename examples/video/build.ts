/**
 * Builds the page into a folder, and serves it:
 *
 *     deno run -A examples/video/build.ts out/video 8000
 *
 * Without a port it only builds; any server of static files does then, on https or localhost, where
 * browsers allow the camera.
 *
 * @module
 */
import * as esbuild from "esbuild";
import { copyFile, mkdir, readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import config from "../../deno.json" with { type: "json" };

const here = fileURLToPath(new URL(".", import.meta.url));
const root = fileURLToPath(new URL("../../", import.meta.url));
const [out = "out/video", port] = Deno.args;

await esbuild.build({
  entryPoints: [join(here, "main.ts"), join(here, "worker.ts")],
  outdir: out,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  // In a clone the package is its sources; installed from npm, this option isn't needed.
  alias: Object.fromEntries(
    Object.entries(config.exports)
      .map(([name, path]) => [`@ovstage/ovstage${name.slice(1)}`, join(root, path)]),
  ),
  // What other runtimes compute with; in a browser nothing asks for it.
  external: ["onnxruntime-node", "webgpu", "node:*"],
});
await esbuild.stop();
const models = ["image_encoder.onnx", "mask_decoder.onnx", "text_encoder.onnx"];
// The first for the CPU, the second for WebGPU.
const runtimes = ["ort-wasm-simd-threaded", "ort-wasm-simd-threaded.asyncify"];
const assets: [from: string, names: string[], to: string][] = [
  [here, ["index.html"], out],
  [join(root, "models"), [...models, "ovsnet.json", "tokenizer.json"], join(out, "models")],
  [
    join(root, "node_modules/onnxruntime-web/dist"),
    runtimes.flatMap((name) => [`${name}.mjs`, `${name}.wasm`]),
    out,
  ],
];
for (const [from, names, to] of assets) {
  await mkdir(to, { recursive: true });
  for (const name of names) await copyFile(join(from, name), join(to, name));
}

const types: Record<string, string> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};
if (port !== undefined) {
  Deno.serve({
    port: Number(port),
    onListen: ({ port }) => console.log(`http://localhost:${port}/`),
  }, async (request) => {
    const { pathname } = new URL(request.url);
    const name = pathname === "/" ? "index.html" : pathname;
    try {
      return new Response(new Uint8Array(await readFile(join(out, name))), {
        headers: {
          "content-type": types[extname(name)] ?? "application/octet-stream",
          // Isolation allows ONNX Runtime its threads.
          "cross-origin-opener-policy": "same-origin",
          "cross-origin-embedder-policy": "require-corp",
        },
      });
    } catch {
      return new Response(null, { status: 404 });
    }
  });
}
