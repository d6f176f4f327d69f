/**
 * What is under the pointer, or under a cross that taps and arrow keys move: segment, score,
 * runners-up.
 *
 * @module
 */
import { byId, make } from "./elements.ts";
import type { RankedClass } from "./protocol.ts";
import { placeTip } from "./tip_place.ts";
import type { Viewer } from "./viewer.ts";

/** Ranks the classes at a pixel; null where nobody can say now. */
export type Rank = (x: number, y: number) => Promise<readonly RankedClass[] | null>;

interface Point {
  readonly x: number;
  readonly y: number;
}

const moves: Readonly<Record<string, readonly [number, number]>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/** Scores are small where many masks share a pixel. */
export function formatScore(score: number): string {
  return score.toFixed(score < 0.1 ? 3 : 2);
}

/** Listens on the viewer. */
export class Inspector {
  readonly #viewer: Viewer;
  readonly #rank: Rank;
  readonly #tip = byId("tip", HTMLElement);
  readonly #cross = byId("cross", HTMLElement);
  readonly #spoken = byId("spoken", HTMLElement);
  #at: Point | null = null;
  #by: "mouse" | "finger" | "keys" = "mouse";
  #isAsking = false;

  /** Begins to listen. */
  constructor(viewer: Viewer, rank: Rank) {
    this.#viewer = viewer;
    this.#rank = rank;
    viewer.onClear = () => this.refresh();
    const { element } = viewer;
    element.addEventListener("pointermove", (event) => this.#point(event));
    element.addEventListener("pointerdown", (event) => this.#point(event));
    // A finger is in the way of what it shows: that stays until there is a tap elsewhere.
    element.addEventListener("pointerleave", () => this.#by !== "finger" && this.hide());
    // It was no tap, but the page that was scrolled.
    element.addEventListener("pointercancel", () => this.hide());
    document.addEventListener("click", ({ target }) => {
      if (this.#by === "finger" && !element.contains(target as Node)) this.hide();
    });
    element.addEventListener("blur", () => this.#by === "keys" && this.hide());
    element.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Shows what a new result says at the same place; nothing, where there is none. */
  refresh(): void {
    if (this.#at !== null) this.#show(this.#at);
  }

  /** Hides tip and cross. */
  hide(): void {
    this.#at = null;
    this.#tip.hidden = this.#cross.hidden = true;
    this.#viewer.point(undefined);
  }

  #point(event: PointerEvent): void {
    const placement = this.#viewer.placement();
    const picture = this.#viewer.picture?.picture;
    if (placement === null || picture === undefined) return;
    const box = this.#viewer.element.getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left - placement.left) / placement.scale);
    const y = Math.floor((event.clientY - box.top - placement.top) / placement.scale);
    this.#by = event.pointerType === "touch" ? "finger" : "mouse";
    if (x < 0 || y < 0 || x >= picture.width || y >= picture.height) return this.hide();
    this.#show({ x, y });
  }

  #key(event: KeyboardEvent): void {
    const picture = this.#viewer.picture?.picture;
    if (event.key === "Escape") return this.hide();
    const move = moves[event.key];
    if (move === undefined || picture === undefined) return;
    event.preventDefault();
    const { width, height } = picture;
    const step = Math.max(1, Math.round(Math.max(width, height) / (event.shiftKey ? 10 : 50)));
    const from = this.#at ?? { x: width >> 1, y: height >> 1 };
    const [dx, dy] = this.#at === null ? [0, 0] : move;
    this.#by = "keys";
    this.#show({
      x: Math.max(0, Math.min(width - 1, from.x + dx * step)),
      y: Math.max(0, Math.min(height - 1, from.y + dy * step)),
    });
  }

  #show(at: Point): void {
    this.#at = at;
    const segment = this.#viewer.segmentAt(at.x, at.y);
    this.#viewer.point(segment?.index ?? null);
    this.#cross.hidden = this.#by === "mouse";
    if (this.#viewer.result === null) {
      this.#tip.hidden = true;
      this.#tip.replaceChildren();
      return;
    }
    const title = make("b", {}, make("span", { textContent: segment?.label ?? "no class" }));
    title.style.setProperty("--colour", segment?.colour ?? "");
    if (segment) title.append(make("i", { textContent: formatScore(segment.score) }));
    // The last place's runners-up make way for the new one's, without a gap in between.
    this.#tip.querySelector("b")?.remove();
    this.#tip.prepend(title);
    this.#tip.hidden = false;
    this.#place(at);
    this.#askRanks();
  }

  #place({ x, y }: Point): void {
    const { left, top, scale } = this.#viewer.placement()!;
    const { clientWidth, clientHeight } = this.#viewer.element;
    const px = left + (x + 0.5) * scale;
    const py = top + (y + 0.5) * scale;
    this.#cross.style.transform = `translate(${px}px, ${py}px)`;
    const { offsetWidth, offsetHeight } = this.#tip;
    const [tipX, tipY] = placeTip(
      [px, py],
      [offsetWidth, offsetHeight],
      [clientWidth, clientHeight],
      this.#by === "finger",
    );
    this.#tip.style.transform = `translate(${tipX}px, ${tipY}px)`;
  }

  /** One question at a time; the pointer may have gone on when the answer comes. */
  async #askRanks(): Promise<void> {
    if (this.#isAsking || this.#at === null) return;
    this.#isAsking = true;
    const at = this.#at;
    const ranks = await this.#rank(at.x, at.y);
    this.#isAsking = false;
    if (this.#at !== at) return this.#askRanks();
    if (ranks === null) return;
    const list = make("ol");
    const best = Math.max(1e-9, ranks[0]?.score ?? 0);
    for (const { label, score } of ranks) {
      const item = make(
        "li",
        {},
        make("span", { textContent: label }),
        make("span", { textContent: formatScore(score) }),
      );
      item.style.setProperty("--share", `${Math.round(100 * score / best)}%`);
      list.append(item);
    }
    this.#tip.querySelector("ol")?.remove();
    this.#tip.append(list);
    this.#place(at);
    if (this.#by !== "keys") return;
    const segment = this.#viewer.segmentAt(at.x, at.y);
    const others = ranks.filter(({ label }) => label !== segment?.label);
    this.#spoken.textContent = [
      segment ? `${segment.label}, score ${formatScore(segment.score)}` : "no class",
      ...others.map(({ label, score }) => `${label} ${formatScore(score)}`),
    ].join("; ");
  }
}
