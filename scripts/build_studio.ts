/**
 * `deno task studio`: the studio (examples/studio/) as a folder of static files in `out/studio`;
 * with `--serve`, also at an address of this machine.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { join, relative } from "node:path";
import process from "node:process";
import * as esbuild from "esbuild";
import sharp from "sharp";
import type { ModelManifest } from "../examples/studio/model_files.ts";
import type { GeneratedScene } from "../examples/studio/scenes.ts";
import {
  type CommandSpec,
  type FlagSpec,
  formatHelp,
  parseArguments,
} from "../lib/cli/arguments.ts";
import { runCommand, writeText } from "../lib/cli/run_command.ts";
import { OptionError } from "../lib/errors.ts";
import { Rng } from "../lib/rng.ts";
import { renderSceneOnDemand } from "../plugins/datasets/emoji_scenes/scene.ts";
import { firstUnseenSeed } from "../plugins/datasets/emoji_scenes/seeds.ts";
import { loadSplits, seenNames } from "../plugins/datasets/emoji_scenes/splits.ts";
import { SpriteStore } from "../plugins/datasets/emoji_scenes/sprites.ts";
import { stuffCategories } from "../plugins/datasets/emoji_scenes/textures.ts";
import { emojiUniverse } from "../plugins/datasets/emoji_scenes/universe.ts";
import { serveFolder } from "./serve_folder.ts";
import { root } from "./setup.ts";

const source = join(root, "examples/studio");
const runtimeFiles = [
  "ort-wasm-simd-threaded.mjs",
  "ort-wasm-simd-threaded.wasm",
  "ort-wasm-simd-threaded.asyncify.mjs",
  "ort-wasm-simd-threaded.asyncify.wasm",
];
const modelFiles = [
  "image_encoder.onnx",
  "mask_decoder.onnx",
  "ovsnet.json",
  "text_encoder.onnx",
  "tokenizer.json",
];

/** Scenes that show what the studio does, by their seeds' distance from the first unseen one. */
const sceneSeeds = [7, 36, 22, 4, 25, 33, 16, 20];

/** Options of {@linkcode buildStudio}. */
export interface StudioOptions {
  /** The folder; what is in it is removed first. */
  readonly out: string;
  /** How many scenes to render; eight where left out. */
  readonly numScenes?: number;
  /** Their side in pixels; 512 where left out. */
  readonly sceneSize?: number;
}

/** A script of the built page. */
export interface BuiltScript {
  /** Its path in the folder. */
  readonly path: string;
  /** Whether it is part of ONNX Runtime. */
  readonly isRuntime: boolean;
}

/** Modules of this project do nothing by being imported, so that the page leaves out what it can. */
const ownModules: esbuild.Plugin = {
  name: "own modules",
  setup(build) {
    build.onResolve({ filter: /^@ovstage\/ovstage$/ }, () => {
      return { path: join(root, "mod.ts"), sideEffects: false };
    });
    build.onResolve({ filter: /^\.{1,2}\/.*\.ts$/ }, ({ path, resolveDir }) => {
      return { path: join(resolveDir, path), sideEffects: false };
    });
  },
};

/**
 * Page and worker are built apart: what both import would otherwise be a chunk of its own, which
 * nearly all of the worker's code would land in, and which the page would wait for.
 */
async function bundle(out: string): Promise<BuiltScript[]> {
  const builds = await Promise.all(["main.ts", "worker.ts"].map((entry) =>
    esbuild.build({
      entryPoints: [join(source, entry)],
      outdir: out,
      absWorkingDir: root,
      bundle: true,
      splitting: entry === "worker.ts",
      minify: true,
      metafile: true,
      platform: "browser",
      target: "es2022",
      format: "esm",
      chunkNames: "chunks/[name]-[hash]",
      plugins: [ownModules],
      external: [
        // Packages of the other runtimes; in a browser nothing asks for them.
        "onnxruntime-node",
        "webgpu",
        "node:*",
        ...(entry === "main.ts" ? ["onnxruntime-web"] : []),
      ],
      logLevel: "error",
    })
  ));
  return builds.flatMap(({ metafile }) =>
    Object.entries(metafile.outputs).map(([path, { inputs }]) => ({
      path: relative(out, join(root, path)),
      isRuntime: Object.keys(inputs).some((input) => input.includes("/onnxruntime-web/")),
    }))
  );
}

async function copyModels(out: string): Promise<void> {
  await Deno.mkdir(join(out, "models"));
  const files = await Promise.all(modelFiles.map(async (name) => {
    const bytes = await Deno.readFile(join(root, "models", name));
    await Deno.writeFile(join(out, "models", name), bytes);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    return { name, bytes: bytes.length, sha256 };
  }));
  const manifest: ModelManifest = { files };
  await Deno.writeTextFile(join(out, "models/manifest.json"), JSON.stringify(manifest, null, 2));
}

/** Renders scenes, each with the names of what it shows and of a few things that it does not. */
async function renderScenes(out: string, count: number, size: number): Promise<void> {
  await Deno.mkdir(join(out, "scenes"));
  const { seen, near } = loadSplits();
  const store = SpriteStore.onDemand({ size: Math.min(512, Math.max(72, Math.ceil(size / 2))) });
  const scenes: GeneratedScene[] = [];
  for (const [i, number] of sceneSeeds.slice(0, count).entries()) {
    const seed = firstUnseenSeed + number;
    // Every second one shows what the decoder never saw: there the fuser decides.
    const categories = i % 2 === 0 ? seen : near;
    const { rgb, segments } = await renderSceneOnDemand({ seed, size, categories }, store);
    const raw = { raw: { width: size, height: size, channels: 3 as const } };
    const image = `scene-${number}.webp`;
    const thumbnail = `scene-${number}.small.webp`;
    await sharp(rgb, raw).webp({ quality: 92 }).toFile(join(out, "scenes", image));
    await sharp(rgb, raw).resize(128).webp({ quality: 80 }).toFile(join(out, "scenes", thumbnail));
    const shown = [...segments].sort((a, b) => b.area - a.area).map(({ category }) => category);
    const others = seenNames({ seen: categories }).filter((name) => !shown.includes(name));
    const absent = new Rng(seed).shuffle(others);
    scenes.push({ image, thumbnail, size, names: [...new Set(shown), ...absent.slice(0, 3)] });
  }
  await Deno.writeTextFile(join(out, "scenes/scenes.json"), JSON.stringify(scenes));
  // What can be typed with some hope: the model's whole world.
  const words = [...stuffCategories, ...emojiUniverse().map(({ name }) => name)].sort();
  await Deno.writeTextFile(join(out, "words.json"), JSON.stringify(words));
}

/**
 * Builds the studio.
 *
 * @returns Its scripts, for whoever weighs them.
 */
export async function buildStudio(options: StudioOptions): Promise<BuiltScript[]> {
  const { out, numScenes = sceneSeeds.length, sceneSize = 512 } = options;
  await Deno.remove(out, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
  await Deno.mkdir(join(out, "onnxruntime-web"), { recursive: true });
  for (const name of ["index.html", "style.css", "icon.svg"]) {
    await Deno.copyFile(join(source, name), join(out, name));
  }
  for (const name of runtimeFiles) {
    const from = join(root, "node_modules/onnxruntime-web/dist", name);
    await Deno.copyFile(from, join(out, "onnxruntime-web", name));
  }
  const scripts = await bundle(out);
  await copyModels(out);
  await renderScenes(out, numScenes, sceneSize);
  return scripts;
}

const spec = {
  name: "deno task studio",
  description: "Builds the studio, a page that segments images in the browser, as static files.",
  positionals: [],
  flags: {
    out: { value: "DIR", description: 'Where it goes; "out/studio" where left out.' },
    serve: { description: "Serve it afterwards, until interrupted." },
    port: { value: "NUMBER", description: "The port that it is served at; 8000." },
    "not-isolated": {
      description: "Serve without the headers that allow threads, as plain static hosts do.",
    },
  },
  examples: ["deno task studio --serve", "deno task studio --out public"],
} as const satisfies CommandSpec<Readonly<Record<string, FlagSpec>>>;

async function main(args: readonly string[]): Promise<void> {
  const { flags, help } = parseArguments(spec, args);
  if (help) return await writeText(process.stdout, formatHelp(spec));
  const port = Number(flags.port ?? 8000);
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    throw new OptionError(`--port ${flags.port}: it must be a whole number from 0 to 65535`);
  }
  const out = flags.out ?? join(root, "out/studio");
  await buildStudio({ out });
  await esbuild.stop();
  await writeText(process.stdout, `${out}: the studio; any static server will do\n`);
  if (!flags.serve) return;
  const server = serveFolder(out, { port, isolated: !flags["not-isolated"] });
  await writeText(process.stdout, `serving it at ${server.url}\n`);
  await new Promise(() => {});
}

if (import.meta.main) process.exit(await runCommand(() => main(process.argv.slice(2))));
