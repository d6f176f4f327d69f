/**
 * Each stage's time and device.
 *
 * @module
 */
import { byId, make } from "./elements.ts";
import type { OpenedDevice, StageReport } from "./protocol.ts";

const titles = {
  "image-encoder": "Image encoder",
  "text-encoder": "Text encoder",
  decoder: "Mask decoder",
  pooler: "Mask pooling",
  fuser: "Fuser",
  classifier: "Classifier",
  segmenter: "Segmenter",
};

function formatMs(milliseconds: number): string {
  if (milliseconds >= 10_000) return `${(milliseconds / 1000).toFixed(1)} s`;
  return milliseconds < 10 ? `${milliseconds.toFixed(1)} ms` : `${Math.round(milliseconds)} ms`;
}

/** Fills the table; a stage that did not run again shows the time of its last run, in grey. */
export function showStages(stages: readonly StageReport[], milliseconds: number): void {
  const known = new Map(stages.map((stage) => [stage.role, stage]));
  const slowest = Math.max(1, ...stages.map((stage) => stage.milliseconds));
  const rows = Object.entries(titles).map(([role, title]) => {
    const stage = known.get(role);
    const time = make("td", { textContent: stage ? formatMs(stage.milliseconds) : "–" });
    if (stage && !stage.ran) time.title = "kept from an earlier run";
    const row = make(
      "tr",
      { className: stage?.ran ? "" : "kept" },
      Object.assign(make("th", { textContent: title }), { scope: "row" }),
      make("td", { textContent: stage?.device ?? "–" }),
      time,
    );
    if (stage?.ran) {
      row.style.setProperty("--share", `${(100 * stage.milliseconds / slowest).toFixed(1)}%`);
    }
    return row;
  });
  byId("stages", HTMLElement).replaceChildren(...rows);
  byId("total", HTMLElement).textContent = formatMs(milliseconds);
}

/** Says what computes, and plainly if that is not what one would hope for. */
export function showDevice(device: OpenedDevice | null): void {
  const badge = byId("badge", HTMLElement);
  const text = byId("device-text", HTMLElement);
  badge.classList.toggle("gpu", device?.kind === "webgpu");
  badge.classList.toggle("cpu", device?.kind === "cpu");
  text.classList.toggle("fallback", (device?.fallbackReason ?? null) !== null);
  byId("badge-text", HTMLElement).textContent = device === null
    ? "Starting"
    : device.kind === "webgpu"
    ? "On the GPU"
    : device.fallbackReason === null
    ? "On the CPU"
    : "On the CPU, no GPU";
  if (device === null) return text.replaceChildren();
  const lines = [`${device.description}.`];
  if (device.fallbackReason !== null) {
    lines.unshift(`Fell back to the CPU: ${device.fallbackReason}.`);
  } else if (device.kind === "webgpu" && device.networks === "cpu") {
    lines.push("The networks stay on the CPU: this GPU is a software driver.");
  }
  if (device.networks === "cpu") {
    lines.push(
      device.threads > 1
        ? `Networks have ${device.threads} threads.`
        : globalThis.crossOriginIsolated
        ? "Networks have one thread."
        : "Networks have one thread: the server does not send the headers that allow more " +
          "(COOP: same-origin, COEP: require-corp).",
    );
  }
  text.textContent = lines.join(" ");
  badge.title = text.textContent;
}
