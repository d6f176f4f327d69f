/**
 * PyTorch, in a Python process that stays alive so that rounds can alternate with it.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { HostTensor } from "../../../lib/tensor.ts";
import type { Competitor } from "../harness.ts";
import type { NetworkTask } from "../network_task.ts";
import type { KernelTask } from "../tasks.ts";

/** The Python side. */
export interface PyTorch {
  /** PyTorch's version. */
  readonly version: string;
  /**
   * The competitor on one of its devices.
   *
   * @throws {Error} Where there is no such device.
   */
  on(device: "cpu" | "cuda"): Competitor<KernelTask | NetworkTask>;
  /** The most resident memory that the process has had, in bytes; on Linux. */
  peakMemory(): Promise<number>;
  /** Ends the process. */
  close(): Promise<void>;
}

/** Why there is no PyTorch. */
export class NoPyTorch extends Error {
  /** @param reason What Python said. */
  constructor(reason: string) {
    super(
      `${reason}; \`pip install torch numpy\` brings PyTorch, and OVS_PYTHON names another ` +
        `Python than python3`,
    );
  }
}

type Answer = Readonly<Record<string, unknown>>;

/**
 * Starts Python.
 *
 * @param threads Threads inside one operator.
 * @throws {NoPyTorch} Where it can't be had.
 */
export async function startPyTorch(threads: number): Promise<PyTorch> {
  const python = Deno.env.get("OVS_PYTHON") ?? "python3";
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(python, {
      args: [fileURLToPath(new URL("pytorch.py", import.meta.url))],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  } catch (error) {
    throw new NoPyTorch(error instanceof Error ? error.message : String(error));
  }
  const errors = new Response(child.stderr).text();
  const writer = child.stdin.getWriter();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  const ask = async (request: Answer): Promise<Answer> => {
    await writer.write(new TextEncoder().encode(JSON.stringify(request) + "\n"));
    while (!pending.includes("\n")) {
      const { value, done } = await reader.read();
      if (done) throw new Error((await errors).trim().split("\n").at(-1) || "Python ended");
      pending += value;
    }
    const at = pending.indexOf("\n");
    const answer = JSON.parse(pending.slice(0, at)) as Answer;
    pending = pending.slice(at + 1);
    if (typeof answer.error === "string") throw new Error(answer.error);
    return answer;
  };
  let hello: Answer;
  try {
    hello = await ask({ op: "hello", threads });
  } catch (error) {
    await child.status;
    throw new NoPyTorch(error instanceof Error ? error.message : String(error));
  }
  const version = String(hello.version);
  // Nothing is left behind, should this process be killed between two tasks.
  const withFolder = async <T>(use: (folder: string) => Promise<T>): Promise<T> => {
    const folder = await Deno.makeTempDir({ prefix: "ovstage-bench-" });
    try {
      return await use(folder);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  };
  const open = async (task: KernelTask | NetworkTask, device: "cpu" | "cuda") => {
    await withFolder(async (folder) => {
      let files = 0;
      // Tensors travel as files, wherever they are in the task.
      const sent = JSON.stringify(task, (_, value) => {
        if (!(value instanceof HostTensor)) return value;
        const { data, shape, dtype } = value;
        const path = join(folder, String(files++));
        Deno.writeFileSync(path, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
        return { path, shape, dtype };
      });
      await ask({ op: "open", task: JSON.parse(sent), device });
    });
    return {
      async time(times: number) {
        return Number((await ask({ op: "time", times })).ms);
      },
      result() {
        return withFolder(async (folder) => {
          const path = join(folder, "result");
          const { dtype } = await ask({ op: "result", path });
          const { buffer } = await Deno.readFile(path);
          return dtype === "int32" ? new Int32Array(buffer) : new Float32Array(buffer);
        });
      },
      async dispose() {
        await ask({ op: "close" });
      },
    };
  };
  return {
    version,
    on(device) {
      if (device === "cuda" && !hello.cuda) throw new Error("PyTorch finds no CUDA device");
      return {
        name: device === "cpu" ? "PyTorch CPU" : "PyTorch CUDA",
        version,
        open: (task) => open(task, device),
      };
    },
    async peakMemory() {
      return Number((await ask({ op: "memory" })).bytes);
    },
    async close() {
      await writer.close();
      await child.status;
    },
  };
}
