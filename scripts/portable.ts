/**
 * Runs the portable checks (test/portable/) in Deno, Node and Chromium.
 *
 * @module
 */
import { join } from "node:path";
import * as esbuild from "esbuild";
import { runProcess } from "./process.ts";
import { segmentedScenes } from "./segmented_scenes.ts";
import { root } from "./setup.ts";

/** What became of the checks of one runtime. */
export interface PortableRun {
  /** Names of those that passed, what they remarked, and how long they took. */
  readonly passed: { name: string; note: string; seconds: number }[];
  /** Names and messages of those that failed. */
  readonly failed: { name: string; error: string }[];
  /** Names of those that can't tell, and why. */
  readonly skipped: { name: string; reason: string }[];
}

interface Line {
  name?: string;
  error?: string | null;
  skipped?: string | null;
  note?: string;
  seconds?: number;
  done?: true;
}

const entry = join(root, "test/portable/main.ts");
const timeout = 3_600_000;
const prefix = "ovstage-check ";

/** Collects the lines that a program of checks prints. */
class Collector implements PortableRun {
  readonly passed: PortableRun["passed"] = [];
  readonly failed: PortableRun["failed"] = [];
  readonly skipped: PortableRun["skipped"] = [];
  #done = false;

  take(line: string): void {
    if (!line.startsWith(prefix)) return;
    const { name = "", error, skipped, note = "", seconds = 0, done } = JSON.parse(
      line.slice(prefix.length),
    ) as Line;
    if (done) this.#done = true;
    else if (error) this.failed.push({ name, error });
    else if (skipped) this.skipped.push({ name, reason: skipped });
    else this.passed.push({ name, note, seconds });
  }

  get done(): boolean {
    return this.#done;
  }

  /** A program that ends early has failed, whatever it said before. */
  finish(code: number, output: string): PortableRun {
    if (!this.#done || code !== 0) {
      const last = output.trim().split("\n").slice(-15).join("\n");
      this.failed.push({ name: "runs to its end", error: `exit code ${code}\n${last}` });
    }
    return this;
  }
}

async function runProgram(
  command: string,
  args: string[],
  env: Record<string, string>,
): Promise<PortableRun> {
  const collector = new Collector();
  const { code, output } = await runProcess(command, args, {
    cwd: root,
    timeout,
    env,
    onLine: (line) => collector.take(line),
  });
  return collector.finish(code, output);
}

/** Runs the checks in Deno. */
export function runInDeno(env: Record<string, string>, args: string[] = []): Promise<PortableRun> {
  return runProgram(Deno.execPath(), ["run", "-A", entry, ...args], env);
}

/** The names of all checks, or with the argument `cpu` of those that need no GPU. */
export async function listChecks(args: string[] = []): Promise<string[]> {
  return (await runInDeno({}, ["list", ...args])).passed.map(({ name }) => name);
}

/** Runs the checks in Node, bundled. */
export async function runInNode(
  env: Record<string, string>,
  args: string[] = [],
): Promise<PortableRun> {
  // Inside the repository, so that Node finds node_modules/.
  const outfile = join(root, ".cache/portable/node.mjs");
  await esbuild.build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: "node",
    target: "node20",
    format: "esm",
    packages: "external",
    logLevel: "error",
  });
  return await runProgram("node", [outfile, ...args], env);
}

const page = `<!doctype html><meta charset="utf-8"><title>ovstage</title><script>
const send = (line) => fetch("/line", { method: "POST", body: line, keepalive: line.length < 6e4 });
let queue = Promise.resolve();
const log = console.log;
console.log = (...parts) => { const line = parts.join(" "); queue = queue.then(() => send(line)); log(line); };
addEventListener("error", (e) => console.log("error: " + e.message));
addEventListener("unhandledrejection", (e) => console.log("error: " + e.reason));
</script><script type="module" src="/main.js"></script>`;

/**
 * Runs the checks in headless Chromium, which calls back home with what it prints.
 *
 * @param chromium The executable.
 * @param args Arguments of the checks.
 */
export async function runInChromium(chromium: string, args: string[] = []): Promise<PortableRun> {
  const bundle = await esbuild.build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    platform: "browser",
    target: "es2023",
    format: "esm",
    // Packages of the other runtimes; in a browser nothing asks for them.
    external: ["onnxruntime-node", "webgpu", "node:*"],
    logLevel: "error",
  });
  const script = new Uint8Array(bundle.outputFiles[0]!.contents);
  const collector = new Collector();
  const ended = Promise.withResolvers<void>();
  let output = "";
  let scenes: ReturnType<typeof segmentedScenes> | null = null;
  // Cross-origin isolation allows ONNX Runtime its threads.
  const headers = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
  };
  const reply = (body: BodyInit, type: string) =>
    new Response(body, { headers: { ...headers, "Content-Type": type } });
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (request) => {
    const { pathname } = new URL(request.url);
    if (request.method === "POST") {
      const line = await request.text();
      output += `${line}\n`;
      collector.take(line);
      if (collector.done) ended.resolve();
      return new Response(null, { status: 204 });
    }
    if (pathname === "/") return reply(page, "text/html");
    if (pathname === "/main.js") return reply(script, "text/javascript");
    const asset = pathname.match(/^\/onnxruntime-web\/([\w.-]+\.(mjs|wasm))$/);
    if (asset) {
      const file = join(root, "node_modules/onnxruntime-web/dist", asset[1]!);
      const type = asset[2] === "wasm" ? "application/wasm" : "text/javascript";
      return reply((await Deno.open(file)).readable, type);
    }
    if (pathname === "/scenes.json") {
      return reply(JSON.stringify(await (scenes ??= segmentedScenes())), "application/json");
    }
    const model = pathname.match(/^\/models\/([\w-]+\.(onnx|json))$/);
    if (model) {
      const file = await Deno.open(join(root, "models", model[1]!));
      return reply(file.readable, "application/octet-stream");
    }
    return new Response(null, { status: 404 });
  });
  const profile = await Deno.makeTempDir({ prefix: "ovstage-chromium-" });
  const child = new Deno.Command(chromium, {
    args: [
      "--headless=new",
      // Its sandbox can't be set up by root in a container; the only page is ours.
      "--no-sandbox",
      "--disable-dev-shm-usage",
      "--no-first-run",
      "--enable-unsafe-webgpu",
      "--use-webgpu-adapter=swiftshader",
      `--user-data-dir=${profile}`,
      `http://127.0.0.1:${server.addr.port}/?${args.join("&")}`,
    ],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const timer = setTimeout(() => {
    output += `no end after ${timeout / 1000} s\n`;
    ended.resolve();
  }, timeout);
  child.status.then(({ code }) => {
    output += `${chromium} ended with code ${code}\n`;
    ended.resolve();
  });
  await ended.promise;
  clearTimeout(timer);
  try {
    child.kill("SIGKILL");
  } catch {
    // It has ended by itself.
  }
  await child.status;
  await server.shutdown();
  await removeProfile(profile);
  return collector.finish(0, output);
}

/** Chromium's helpers may write for a moment after its end. */
async function removeProfile(profile: string): Promise<void> {
  for (let attempt = 0; attempt < 10; attempt++) {
    try {
      return await Deno.remove(profile, { recursive: true });
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}
