import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as esbuild from "esbuild";
import {
  acquireDevice,
  DeviceLostError,
  openOvsnet,
  type Ovsnet,
  type Segment,
} from "@ovstage/ovstage";
import { decodeImage } from "@ovstage/ovstage/read-image";
import config from "../../deno.json" with { type: "json" };
import { defaultLimits, segmentationHandler } from "../../examples/service/handler.ts";
import { root } from "../../scripts/setup.ts";
import { Folder, type SceneFile, writeScene } from "./run_example.ts";

const hasNode = new Deno.Command("node", { args: ["--version"], stdout: "null" })
  .output().then(({ success }) => success, () => false);

function post(names: readonly string[], body: BodyInit, headers: HeadersInit = {}): Request {
  const query = new URLSearchParams({ classes: names.join() });
  return new Request(`http://service/segment?${query}`, { method: "POST", body, headers });
}

async function errorOf(response: Response): Promise<[status: number, code: string, text: string]> {
  const { error: { code, message } } = await response.json();
  return [response.status, code, message];
}

Deno.test("examples/service/handler.ts answers segments or a picture, and refuses by name", async () => {
  using folder = new Folder();
  const { path, width, height, names } = await writeScene(folder);
  const scene = readFileSync(path);
  await using device = await acquireDevice("cpu");
  await using ovsnet = await openOvsnet({ device });
  const handle = segmentationHandler(ovsnet);

  const found = await (await handle(post(names, scene))).json() as Segment[];
  assert.ok(found.length > 0);
  for (const { label, score, area, mask } of found) {
    assert.ok(names.includes(label), label);
    assert.ok(score >= 0 && area > 0);
    assert.deepEqual(mask.size, [height, width]);
  }
  const picture = await handle(post(names, scene, { accept: "image/png" }));
  assert.equal(picture.headers.get("content-type"), "image/png");
  const drawn = await decodeImage(await picture.bytes(), "the answer");
  assert.deepEqual([drawn.width, drawn.height], [width, height]);

  const refusals: [request: Request, status: number, code: string, message: RegExp][] = [
    [post(["dog"], "no image"), 400, "INPUT", /the body: is not a PNG, JPEG or WebP image/],
    [post(["dog"], scene.subarray(0, 200)), 400, "INPUT", /the body: .*cut short/],
    [post(["dog"], ""), 400, "INPUT", /the body: is empty/],
    [post([], scene), 400, "INPUT", /class 1 of 1 is empty/],
    [post(["dog", "cat", "dog"], scene), 400, "INPUT", /class "dog" is there twice/],
    [new Request("http://service/segment?classes=dog"), 405, "METHOD", /must be POST/],
    [new Request("http://service/other"), 404, "PATH", /there is only \/segment/],
  ];
  for (const [request, status, code, message] of refusals) {
    const error = await errorOf(await handle(request));
    assert.deepEqual(error.slice(0, 2), [status, code], error.join(" "));
    assert.match(error[2], message);
  }
});

Deno.test("examples/service/handler.ts keeps its limits", async () => {
  using folder = new Folder();
  const { path, width, height } = await writeScene(folder);
  const scene = readFileSync(path);
  const gate = Promise.withResolvers<never>();
  const asked = Promise.withResolvers<void>();
  const run = () => {
    asked.resolve();
    return gate.promise;
  };
  const stuck = { run } as unknown as Ovsnet;
  const limited = (limits: Partial<typeof defaultLimits>) =>
    segmentationHandler(stuck, { ...defaultLimits, ...limits });

  for (const length of [scene.length, 10 * scene.length]) {
    const handle = limited({ maxBytes: scene.length - 1 });
    const error = await errorOf(await handle(post(["dog"], new Uint8Array(length))));
    assert.deepEqual(error.slice(0, 2), [413, "SIZE"]);
    assert.match(error[2], new RegExp(`at most ${scene.length - 1} bytes`));
  }
  const large = limited({ maxPixels: width * height - 1 });
  assert.match((await errorOf(await large(post(["dog"], scene))))[2], /megapixels are taken/);

  const busy = limited({ maxRunning: 1 });
  const first = busy(post(["dog"], scene));
  await asked.promise;
  const second = await busy(post(["dog"], scene));
  assert.equal(second.headers.get("retry-after"), "1");
  assert.deepEqual((await errorOf(second)).slice(0, 2), [503, "BUSY"]);
  gate.reject(new DeviceLostError("the device was lost"));
  assert.deepEqual(await errorOf(await first), [503, "DEVICE_LOST", "the device was lost"]);
  // A place is free again.
  assert.equal((await errorOf(await busy(post(["dog"], scene))))[1], "DEVICE_LOST");
});

Deno.test("examples/service/handler.ts stops work for whoever hangs up, and hides its own faults", async () => {
  using folder = new Folder();
  const { path, names } = await writeScene(folder);
  const scene = readFileSync(path);
  const asked = Promise.withResolvers<void>();
  const slow = {
    run: (_: unknown, { signal }: { signal: AbortSignal }) =>
      new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
        asked.resolve();
      }),
  } as unknown as Ovsnet;
  const half = new ReadableStream({ pull: (controller) => controller.error(new Error("reset")) });
  const broken = await segmentationHandler(slow)(post(names, half));
  assert.deepEqual((await errorOf(broken)).slice(0, 2), [400, "INPUT"]);

  const gone = new AbortController();
  const request = new Request(post(names, scene), { signal: gone.signal });
  const answer = segmentationHandler(slow)(request);
  await asked.promise;
  gone.abort();
  assert.equal((await answer).status, 499);

  const faulty = { run: () => Promise.reject(new Error("secret")) } as unknown as Ovsnet;
  const logged: unknown[] = [];
  const log = console.error;
  console.error = (error) => logged.push(error);
  try {
    const error = await errorOf(await segmentationHandler(faulty)(post(names, scene)));
    assert.deepEqual(error.slice(0, 2), [500, "INTERNAL"]);
    assert.doesNotMatch(error[2], /secret/);
  } finally {
    console.error = log;
  }
  assert.match(String(logged[0]), /secret/);
});

/** A service in a process of its own. */
class Service {
  readonly #child: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<string>;
  /** Where it listens. */
  port = 0;

  constructor(command: string, args: string[]) {
    this.#child = new Deno.Command(command, {
      args,
      cwd: root,
      env: { NO_COLOR: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.#lines = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  async ready(): Promise<this> {
    const { value = "" } = await this.#lines.read();
    this.port = Number(/^listening on port (\d+), computing on .+$/m.exec(value)?.[1]);
    assert.ok(this.port > 0, value);
    return this;
  }

  segment(names: readonly string[], body: Uint8Array<ArrayBuffer>): Promise<Response> {
    const query = new URLSearchParams({ classes: names.join() });
    return fetch(`http://127.0.0.1:${this.port}/segment?${query}`, { method: "POST", body });
  }

  /** Sends SIGTERM while requests are worked on, and returns their answers. */
  async stopAtWork({ names }: SceneFile, body: Uint8Array, count: number): Promise<string[]> {
    const connect = () => Deno.connect({ hostname: "127.0.0.1", port: this.port });
    const query = new URLSearchParams({ classes: names.join() });
    const head = `POST /segment?${query} HTTP/1.1\r\nHost: service\r\nConnection: close\r\n` +
      `Content-Length: ${body.length}\r\n\r\n`;
    const request = await new Blob([head, new Uint8Array(body)]).bytes();
    const answers: Promise<string>[] = [];
    for (let i = 0; i < count; i++) {
      const connection = await connect();
      for (let sent = 0; sent < request.length;) {
        sent += await connection.write(request.subarray(sent));
      }
      answers.push(new Response(connection.readable).text());
    }
    // Once later requests are answered, these have arrived.
    for (let i = 0; i < 5; i++) {
      await (await fetch(`http://127.0.0.1:${this.port}/`)).body?.cancel();
    }
    this.#child.kill("SIGTERM");
    return await Promise.all(answers);
  }

  async ended(): Promise<{ code: number; last: string }> {
    let last = "";
    for (;;) {
      const { done, value } = await this.#lines.read();
      if (done) break;
      last += value;
    }
    return { code: (await this.#child.status).code, last: last.trim() };
  }

  [Symbol.dispose](): void {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended by itself.
    }
  }
}

/** The answer to good requests; it has to be the same everywhere. */
async function judge(service: Service, scene: SceneFile): Promise<string> {
  const body = readFileSync(scene.path);
  const alone = await (await service.segment(scene.names, body)).text();
  const many = Array.from({ length: 8 }, () => service.segment(scene.names, body));
  for (const response of await Promise.all(many)) assert.equal(await response.text(), alone);

  const error = await errorOf(await service.segment(["dog"], new Uint8Array(1000)));
  assert.deepEqual(error.slice(0, 2), [400, "INPUT"]);
  const { maxBytes } = defaultLimits;
  const tooLong = await service.segment(["dog"], new Uint8Array(maxBytes + 1));
  assert.deepEqual((await errorOf(tooLong)).slice(0, 2), [413, "SIZE"]);
  // So long that it isn't read to its end: an answer or a closed connection, and nothing hangs.
  const farTooLong = await service.segment(["dog"], new Uint8Array(5 * maxBytes)).catch(() => null);
  if (farTooLong !== null) {
    assert.equal(farTooLong.status, 413);
    await farTooLong.body?.cancel();
  }

  const answers = await service.stopAtWork(scene, body, 4);
  for (const answer of answers) {
    assert.match(answer, /^HTTP\/1\.1 200 /);
    assert.ok(answer.includes(JSON.stringify(JSON.parse(alone)[0])), answer);
  }
  assert.deepEqual(await service.ended(), { code: 0, last: "bye" });
  return alone;
}

Deno.test({
  name: "examples/service/ gives the same answers on Deno and Node, and ends when told to",
  ignore: !await hasNode,
  async fn() {
    using folder = new Folder();
    const scene = await writeScene(folder);
    const flags = ["run", "-A", "--quiet", "--unstable-no-legacy-abort"];
    using deno = new Service(Deno.execPath(), [...flags, "examples/service/deno.ts", "0"]);
    const onDeno = await judge(await deno.ready(), scene);

    // Where Node finds node_modules/, and the program finds models/.
    const outfile = join(root, ".cache/examples/service.mjs");
    await esbuild.build({
      entryPoints: [join(root, "examples/service/node.ts")],
      outfile,
      bundle: true,
      platform: "node",
      target: "node20",
      format: "esm",
      packages: "external",
      // In a clone the package is its sources.
      alias: Object.fromEntries(
        Object.entries(config.exports)
          .map(([name, path]) => [`@ovstage/ovstage${name.slice(1)}`, join(root, path)]),
      ),
      logLevel: "error",
    });
    await esbuild.stop();
    using node = new Service("node", [outfile, "0"]);
    assert.equal(await judge(await node.ready(), scene), onDeno);
  },
});
