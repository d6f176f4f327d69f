/**
 * The segments as a list: what was found, how surely, how much of the picture.
 *
 * @module
 */
import { byId, make } from "./elements.ts";
import { formatScore } from "./inspector.ts";
import type { SegmentedPicture } from "./protocol.ts";

/** A figure in its column; what it is, is only spoken. */
function figure(what: string, text: string): HTMLSpanElement {
  const spoken = make("span", { className: "hidden", textContent: what });
  return make("span", { className: "figure" }, spoken, text);
}

/** The list; a segment that is pointed at or chosen is lit in the picture. */
export class FoundList {
  readonly #light: (index: number | null) => void;
  readonly #list = byId("found", HTMLUListElement);
  #chosen: string | null = null;
  #indices = new Map<string, number>();

  /** `light` lights a class of the result, or with null all of them. */
  constructor(light: (index: number | null) => void) {
    this.#light = light;
    this.#list.addEventListener("pointerleave", () => this.#lightChosen());
    this.show(null);
  }

  /** Shows a result's segments; null for none. */
  show(result: SegmentedPicture | null): void {
    const segments = result?.segments ?? [];
    byId("found-count", HTMLElement).textContent = String(segments.length);
    this.#indices = new Map(segments.map(({ label, index }) => [label, index]));
    if (this.#chosen !== null && !this.#indices.has(this.#chosen)) this.#chosen = null;
    if (segments.length === 0) {
      const text = result === null ? "Nothing yet." : "None of the classes was found.";
      this.#list.replaceChildren(make("li", { className: "nothing", textContent: text }));
      return;
    }
    const hadFocus = this.#list.contains(document.activeElement)
      ? (document.activeElement as HTMLElement).dataset.label
      : undefined;
    const total = result!.width * result!.height;
    const items = segments.map(({ label, index, score, area, colour }) => {
      const share = 100 * area / total;
      const button = make(
        "button",
        {
          type: "button",
          title: label,
          onpointerenter: () => this.#light(index),
          onfocus: () => this.#light(index),
          onblur: () => this.#lightChosen(),
          onclick: () => this.#choose(label),
        },
        make("span", { className: "swatch" }),
        make("span", { className: "name", textContent: label }),
        figure("score ", formatScore(score)),
        figure("share ", share < 0.1 ? "< 0.1 %" : `${share.toFixed(1)} %`),
      );
      button.dataset.label = label;
      button.ariaPressed = String(label === this.#chosen);
      button.style.setProperty("--colour", colour);
      return make("li", {}, button);
    });
    this.#list.replaceChildren(...items);
    if (hadFocus !== undefined) {
      items.map((item) => item.firstElementChild as HTMLElement)
        .find(({ dataset }) => dataset.label === hadFocus)?.focus({ preventScroll: true });
    }
    this.#lightChosen();
  }

  #choose(label: string): void {
    this.#chosen = this.#chosen === label ? null : label;
    for (const button of this.#list.querySelectorAll("button")) {
      button.ariaPressed = String(button.dataset.label === this.#chosen);
    }
    this.#lightChosen();
  }

  #lightChosen(): void {
    this.#light(this.#chosen === null ? null : this.#indices.get(this.#chosen) ?? null);
  }
}
