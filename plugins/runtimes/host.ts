/**
 * The runtime that this code finds itself in.
 *
 * @module
 */
import type { Engine } from "../../lib/runtime.ts";
import { browser } from "./browser.ts";
import { deno } from "./deno.ts";
import { node } from "./node.ts";

/** The way to the GPU of one runtime. */
export interface OpenGpu {
  /** The adapter that is best at computing; null where there is none. */
  requestAdapter(): Promise<GPUAdapter | null>;
  /** Lets go of it, so that the process can end; devices must be destroyed before. */
  close(): void;
}

/** Options of a host's CPU engine. */
export interface CpuEngineOptions {
  /** Threads inside one operator; the engine's own choice where left out. */
  threads?: number;
  /** Browser: the folder, as a URL ending in "/", with ONNX Runtime's `.wasm` and `.mjs` files. */
  wasmPaths?: string;
}

/** What differs between Deno, Node and the browser. */
export interface Host {
  /** As it is shown to people. */
  readonly name: "Deno" | "Node" | "browser";
  /** What somebody without a WebGPU adapter can do about it. */
  readonly adapterHint: string;
  /** Whether onnxruntime-web can use a WebGPU device here. */
  readonly networksOnGpu: boolean;
  /**
   * Opens WebGPU.
   *
   * @returns null where the runtime has no WebGPU.
   * @throws {DeviceError} If a package is missing; the message says which.
   */
  openGpu(): Promise<OpenGpu | null>;
  /** The engine that runs networks on the CPU. */
  cpuEngine(options: CpuEngineOptions): Promise<Engine>;
}

/** Tells Deno from Node from a browser. Deno comes first: it also looks like the other two. */
export function detectHost(): Host {
  if ("Deno" in globalThis) return deno;
  const { process } = globalThis as { process?: { versions?: { node?: string } } };
  return process?.versions?.node ? node : browser;
}
