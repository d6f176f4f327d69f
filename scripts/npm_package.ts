/**
 * `package.json` of the package for npm, made from `deno.json`.
 *
 * @module
 */

/** The parts of `deno.json` that it is made from. */
export interface DenoConfig {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly exports: Readonly<Record<string, string>>;
  readonly imports: Readonly<Record<string, string>>;
}

/** Without which the modules that run everywhere can't be loaded. */
const dependencies = [
  "@fontsource/noto-sans",
  "@fontsource/zcool-xiaowei",
  "cli-progress",
  "d3-scale",
  "fast-check",
  "fast-png",
  "fflate",
  "onnxruntime-common",
  "opentype.js",
  "protobufjs",
  "vega",
  "vega-lite",
  "zod",
];

/** npm installs them where it can; where it can't, only what needs them fails, and says so. */
const optional = ["onnxruntime-node", "sharp"];

/**
 * Large, and installed by whoever wants them: networks in browsers, WebGPU in Node, and the emoji
 * that scenes are made of.
 */
const peers = [
  "@iconify-json/fluent-emoji-flat",
  "@iconify-json/noto",
  "@iconify-json/openmoji",
  "@iconify-json/twemoji",
  "emojibase-data",
  "onnxruntime-web",
  "webgpu",
];

/** Entry points with file systems or native code behind them; a browser has neither. */
const notInBrowsers: ReadonlySet<string> = new Set([
  "./datasets",
  "./evaluation",
  "./read-image",
  "./read-weights",
  "./training",
]);

/** The file that a package is made of, without its ending. */
function stem(path: string): string {
  return path.replace(/\.ts$/, "");
}

/**
 * Makes the document.
 *
 * @param config What `deno.json` holds.
 * @returns `package.json`, with versions pinned exactly as in `deno.json`.
 * @throws {Error} If a package has no version in `deno.json`.
 */
export function npmPackage(config: DenoConfig): Record<string, unknown> {
  const versions = (names: readonly string[]) =>
    Object.fromEntries(names.map((name) => {
      const version = config.imports[name]?.slice(`npm:${name}@`.length);
      if (!version) throw new Error(`deno.json: imports has no version of ${name}`);
      return [name, version];
    }));
  const exports = Object.entries(config.exports).map(([name, path]) => {
    const conditions = { types: `${stem(path)}.d.ts`, default: `${stem(path)}.js` };
    // The type comes first in any case, so that an editor knows modules of the other side as well.
    return [
      name,
      notInBrowsers.has(name)
        ? { types: conditions.types, browser: null, default: conditions.default }
        : conditions,
    ];
  });
  return {
    name: config.name,
    version: config.version,
    description: "Open-vocabulary segmentation: an image and any words in, labelled pixels out",
    license: config.license,
    type: "module",
    engines: { node: ">=20.10" },
    exports: { ...Object.fromEntries(exports), "./package.json": "./package.json" },
    // What runs networks and reaches the GPU differs; bundlers for browsers leave Node's out.
    imports: {
      "#host": {
        types: "./plugins/runtimes/host.d.ts",
        browser: "./plugins/runtimes/host_browser.js",
        default: "./plugins/runtimes/host.js",
      },
    },
    bin: { ovs: "./bin/ovs.js" },
    sideEffects: false,
    dependencies: versions(dependencies),
    optionalDependencies: versions(optional),
    peerDependencies: versions(peers),
    peerDependenciesMeta: Object.fromEntries(peers.map((name) => [name, { optional: true }])),
  };
}
