/**
 * The page: hands the worker a frame whenever it is idle, and drops those that come meanwhile, so
 * that the overlay is never further behind than one frame takes.
 *
 * @module
 */
import type { Begin, Frame, Reply } from "./messages.ts";

const element = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const video = element<HTMLVideoElement>("video");
const classes = element<HTMLInputElement>("classes");
const status = element("status");

const worker = new Worker("worker.js", { type: "module" });
let device = "";
let busy = true; // until the models are there
let [shown, dropped] = [0, 0];

worker.addEventListener("message", ({ data }: MessageEvent<Reply>) => {
  busy = false;
  if (data.kind === "failed") {
    status.textContent = data.message;
  } else if (data.kind === "ready") {
    device = data.device;
    status.textContent = `Ready on ${device}. Choose the camera or a file.`;
  } else {
    shown++;
    status.textContent = `${data.milliseconds.toFixed(0)} ms a frame on ${device}; ` +
      `${shown} shown, ${dropped} dropped, ${data.buffers} GPU buffers`;
    element("legend").replaceChildren(...data.found.map(({ label, share, colour }) => {
      const [item, swatch] = [document.createElement("li"), document.createElement("span")];
      swatch.style.background = colour;
      item.append(swatch, `${label}: ${(100 * share).toFixed(1)} %`);
      return item;
    }));
  }
});
worker.addEventListener("error", ({ message }) => {
  status.textContent = `The worker failed: ${message}. Reload the page.`;
});

async function onFrame(): Promise<void> {
  video.requestVideoFrameCallback(onFrame);
  const names = classes.value.split(",").map((name) => name.trim()).filter((name) => name !== "");
  if (names.length === 0) return;
  if (busy) {
    dropped++;
    return;
  }
  busy = true;
  const bitmap = await createImageBitmap(video);
  worker.postMessage({ bitmap, names } satisfies Frame, [bitmap]);
}

async function play(source: { srcObject: MediaStream | null; src: string }): Promise<void> {
  if (source.srcObject === null) video.srcObject = null;
  Object.assign(video, source);
  await video.play();
}

element("camera").addEventListener("click", async () => {
  try {
    const srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
    await play({ srcObject, src: "" });
  } catch (error) {
    status.textContent = `No camera: ${(error as Error).message}. Allow it, or choose a file.`;
  }
});
element<HTMLInputElement>("file").addEventListener("change", async ({ target }) => {
  const file = (target as HTMLInputElement).files?.[0];
  if (file === undefined) return;
  try {
    await play({ srcObject: null, src: URL.createObjectURL(file) });
  } catch {
    status.textContent = `${file.name}: this browser can't play it; take an MP4 or WebM file.`;
  }
});

video.requestVideoFrameCallback(onFrame);
const canvas = element<HTMLCanvasElement>("overlay").transferControlToOffscreen();
const wanted = new URLSearchParams(location.search).get("device");
const begin: Begin = { canvas, device: wanted === "cpu" || wanted === "webgpu" ? wanted : "auto" };
worker.postMessage(begin, [canvas]);
