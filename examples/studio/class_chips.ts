/**
 * The class list as chips, and the field that adds to it.
 *
 * @module
 */
import { addClasses, maxClasses, splitClasses } from "./class_list.ts";
import { byId, make } from "./elements.ts";
import { notify } from "./notices.ts";
import type { FoundSegment } from "./protocol.ts";

const count = (classes: number) => classes === 1 ? "1 class" : `${classes} classes`;

/** Chips beyond these are counted, not drawn. */
const maxChips = 400;

/** The list. */
export class ClassChips {
  readonly #onChange: () => void;
  readonly #list = byId("chip-list", HTMLUListElement);
  readonly #box = byId("chips", HTMLElement);
  readonly #input = byId("class-input", HTMLInputElement);
  readonly #spoken = byId("spoken", HTMLElement);
  #names: readonly string[] = [];
  #colours: ReadonlyMap<number, string> = new Map();

  /** Begins to listen; `onChange` is called after a person changed the list. */
  constructor(onChange: () => void) {
    this.#onChange = onChange;
    byId("add", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#addTyped();
    });
    this.#input.addEventListener("input", () => {
      if (this.#input.value.includes(",")) this.#addTyped();
    });
    this.#input.addEventListener("paste", (event) => {
      const text = event.clipboardData?.getData("text") ?? "";
      if (!/[,;\t\r\n]/.test(text.trim())) return;
      event.preventDefault();
      this.add(splitClasses(text));
    });
    this.#input.addEventListener("keydown", ({ key }) => {
      const last = this.#names.at(-1);
      if (key === "Backspace" && this.#input.value === "" && last !== undefined) this.#remove(last);
    });
    byId("clear", HTMLButtonElement).onclick = () => this.#clear();
    byId("copy", HTMLButtonElement).onclick = () => this.#copy();
  }

  /** The classes, in order. */
  get names(): readonly string[] {
    return this.#names;
  }

  /** Takes another list; `onChange` is not called. */
  set(names: readonly string[]): void {
    this.#names = addClasses([], names).names;
    this.#colours = new Map();
    this.#draw();
  }

  /** Adds to the list. */
  add(names: readonly string[]): void {
    const { names: all, added, again, dropped } = addClasses(this.#names, names);
    if (dropped > 0) {
      notify(`Left out: ${count(dropped)}. The list holds up to ${maxClasses}.`, {
        isError: true,
      });
    }
    if (added.length > 0) {
      this.#names = all;
      this.#draw();
      this.#box.scrollTop = this.#box.scrollHeight;
      this.#onChange();
    }
    this.#spoken.textContent = [
      ...(added.length > 0 ? [`added ${added.slice(0, 5).join(", ")}`] : []),
      ...(again.length > 0 ? [`${again.slice(0, 5).join(", ")} is there already`] : []),
    ].join("; ");
    for (const name of again) {
      const chip = this.#list.children[this.#names.indexOf(name)];
      chip?.classList.remove("again");
      requestAnimationFrame(() => chip?.classList.add("again"));
      chip?.scrollIntoView({ block: "nearest" });
    }
  }

  /** Gives the chips of classes that were found their colours. */
  colour(segments: readonly FoundSegment[]): void {
    this.#colours = new Map(segments.map(({ index, colour }) => [index, colour]));
    [...this.#list.children].forEach((chip, index) => this.#paint(chip as HTMLElement, index));
  }

  #addTyped(): void {
    const names = splitClasses(this.#input.value);
    this.#input.value = "";
    this.add(names);
  }

  #remove(name: string): void {
    const at = this.#names.indexOf(name);
    this.#names = this.#names.filter((other) => other !== name);
    this.#colours = new Map();
    const isTyping = document.activeElement === this.#input;
    this.#draw();
    this.#spoken.textContent = `removed ${name}`;
    if (!isTyping) {
      // Where a keyboard was stays where it was.
      const chips = this.#list.querySelectorAll("button");
      (chips[Math.min(at, chips.length - 1)] ?? this.#input).focus({ preventScroll: true });
    }
    this.#onChange();
  }

  #clear(): void {
    const before = this.#names;
    if (before.length === 0) return;
    this.set([]);
    this.#onChange();
    notify(`${count(before.length)} removed.`, {
      action: { label: "Undo", run: () => this.add(before) },
    });
  }

  async #copy(): Promise<void> {
    if (this.#names.length === 0) {
      notify("There is no class to copy: add one first.");
      return;
    }
    try {
      await navigator.clipboard.writeText(this.#names.join("\n"));
      notify(`${count(this.#names.length)} copied, one a line.`);
    } catch {
      notify("The browser does not allow copying here.", { isError: true });
    }
  }

  #draw(): void {
    byId("class-count", HTMLElement).textContent = String(this.#names.length);
    const chips = this.#names.slice(0, maxChips).map((name, index) => {
      const remove = make("button", {
        type: "button",
        textContent: "×",
        ariaLabel: `Remove ${name}`,
        onclick: () => this.#remove(name),
      });
      const chip = make("li", { title: name }, make("span", { textContent: name }), remove);
      this.#paint(chip, index);
      return chip;
    });
    const rest = this.#names.length - chips.length;
    if (rest > 0) chips.push(make("li", { textContent: `and ${rest} more` }));
    this.#list.replaceChildren(...chips);
  }

  #paint(chip: HTMLElement, index: number): void {
    const colour = this.#colours.get(index);
    chip.classList.toggle("is-found", colour !== undefined);
    chip.style.setProperty("--colour", colour ?? "");
  }
}
