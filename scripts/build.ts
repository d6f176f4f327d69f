/**
 * `deno task build`: the package for npm in `dist/`, ES modules with type declarations. Files keep
 * their places, so that models and tables are found from `import.meta.url` as in the sources; WGSL
 * and JSON imports become modules, which every runtime and bundler can load.
 *
 * @module
 */
import { dirname, join, relative } from "node:path";
import config from "../deno.json" with { type: "json" };
import { npmPackage } from "./npm_package.ts";
import { runProcess } from "./process.ts";
import { root } from "./setup.ts";

/** Files that programs read at run time, and those that npm shows. */
const assets = [
  "LICENSE",
  "README.md",
  "models/image_encoder.onnx",
  "models/mask_decoder.onnx",
  "models/ovsnet.json",
  "models/text_encoder.onnx",
  "models/tokenizer.json",
  "plugins/datasets/emoji_scenes/splits.json",
];

/** An import of a text or JSON file, as TypeScript leaves it. */
const assetImport = /from "(\.[^"]+\.(?:wgsl|json))" with \{ type: "(?:text|json)" \}/g;

const bin = `#!/usr/bin/env node
import process from "node:process";
import { runCommand } from "../lib/cli/run_command.js";
import { ovs } from "../plugins/commands/main.js";
process.exit(await runCommand(() => ovs(process.argv.slice(2))));
`;

const hostInBrowsers = `import { browser } from "./browser.js";
export function detectHost() {
  return browser;
}
`;

async function write(path: string, text: string): Promise<void> {
  await Deno.mkdir(dirname(path), { recursive: true });
  await Deno.writeTextFile(path, text);
}

/** Compiles what the entry points reach, with its declarations. */
async function compile(out: string): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "ovstage-build-" });
  const wgsl = join(folder, "wgsl.d.ts");
  await write(wgsl, 'declare module "*.wgsl" { const text: string; export default text; }\n');
  const modules = join(root, "node_modules");
  const { lib: _, ...strictness } = config.compilerOptions;
  const project = join(folder, "tsconfig.json");
  const entries = [...Object.values(config.exports), "plugins/commands/main.ts"];
  await write(
    project,
    JSON.stringify({
      compilerOptions: {
        ...strictness,
        target: "es2022",
        lib: ["es2024", "esnext.disposable", "dom", "dom.iterable", "dom.asynciterable"],
        module: "esnext",
        moduleResolution: "bundler",
        allowImportingTsExtensions: true,
        rewriteRelativeImportExtensions: true,
        resolveJsonModule: true,
        declaration: true,
        skipLibCheck: true,
        rootDir: root,
        outDir: out,
        types: ["node"],
        typeRoots: [join(modules, "@types"), join(modules, ".deno/node_modules/@types")],
      },
      files: [...entries.map((entry) => join(root, entry)), wgsl],
    }),
  );
  const tsc = join(modules, "typescript/bin/tsc");
  const { code, output } = await runProcess(Deno.execPath(), ["run", "-A", tsc, "-p", project], {
    cwd: root,
    timeout: 600_000,
  });
  await Deno.remove(folder, { recursive: true });
  if (code !== 0) throw new Error(`tsc failed:\n${output}`);
}

async function* filesIn(folder: string): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = join(folder, name);
    if (isDirectory) yield* filesIn(path);
    else yield path;
  }
}

/** The module that stands for a text or JSON file. */
async function assetModule(path: string): Promise<string> {
  if (path === join(root, "deno.json")) {
    const { name, version } = config;
    return `export default ${JSON.stringify({ name, version })};\n`;
  }
  const text = await Deno.readTextFile(path);
  const value = path.endsWith(".json") ? JSON.parse(text) : text;
  return `export default ${JSON.stringify(value)};\n`;
}

/** Points imports at modules: assets in code, other files' declarations in declarations. */
async function finish(out: string): Promise<void> {
  const wanted = new Set<string>();
  for await (const path of filesIn(out)) {
    if (path.endsWith(".json")) {
      // TypeScript copies the JSON files that are imported; their modules take their places.
      await Deno.remove(path);
    } else if (path.endsWith(".d.ts")) {
      const text = await Deno.readTextFile(path);
      const rewritten = text.replace(/((?:from|import\()\s*"\.[^"]+)\.ts"/g, '$1.js"');
      if (rewritten !== text) await write(path, rewritten);
    } else if (path.endsWith(".js")) {
      const text = await Deno.readTextFile(path);
      const rewritten = text.replace(assetImport, (_, specifier: string) => {
        wanted.add(relative(out, join(dirname(path), specifier)));
        return `from "${specifier}.js"`;
      });
      if (rewritten !== text) await write(path, rewritten);
    }
  }
  // package.json says which file this is: all runtimes' in Node, the browser's own in browsers.
  const runtimes = join(out, "plugins/runtimes");
  const chooser = join(runtimes, "mod.js");
  const text = await Deno.readTextFile(chooser);
  const rewritten = text.replace('from "./host.js"', 'from "#host"');
  if (rewritten === text) throw new Error(`${chooser}: no import of ./host.js`);
  await write(chooser, rewritten);
  await write(join(runtimes, "host_browser.js"), hostInBrowsers);
  for (const path of wanted) {
    await write(join(out, `${path}.js`), await assetModule(join(root, path)));
  }
}

/**
 * Builds the package for npm.
 *
 * @param out The folder; what is in it is removed first.
 * @throws {Error} If the sources don't compile; tells what TypeScript says.
 */
export async function build(out: string): Promise<void> {
  await Deno.remove(out, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
  await compile(out);
  await finish(out);
  for (const asset of assets) {
    await Deno.mkdir(dirname(join(out, asset)), { recursive: true });
    await Deno.copyFile(join(root, asset), join(out, asset));
  }
  await write(join(out, "bin/ovs.js"), bin);
  await Deno.chmod(join(out, "bin/ovs.js"), 0o755);
  await write(join(out, "package.json"), `${JSON.stringify(npmPackage(config), null, 2)}\n`);
}

if (import.meta.main) {
  await build(join(root, "dist"));
  console.log("dist/: the package for npm; `npm pack ./dist` makes the tarball");
}
