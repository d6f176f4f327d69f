/**
 * Messages that come up over the page.
 *
 * @module
 */
import { byId, make } from "./elements.ts";

/** What can be done about it. */
export interface NoticeAction {
  /** On the button. */
  readonly label: string;
  /** What the button does. */
  run(): void;
}

/** Options of {@linkcode notify}. */
export interface NoticeOptions {
  /** Errors stay until they are closed, and are read out at once. */
  readonly isError?: boolean;
  /** A button. */
  readonly action?: NoticeAction;
}

const maxShown = 3;
const milliseconds = 9000;

/** Shows a message; what it gives takes the message away again. */
export function notify(text: string, { isError = false, action }: NoticeOptions = {}): () => void {
  const shelf = byId("notices", HTMLElement);
  const notice = make("div", { className: `notice${isError ? " error" : ""}` });
  notice.setAttribute("role", isError ? "alert" : "status");
  let before: EventTarget | null = null;
  notice.addEventListener("focusin", ({ relatedTarget }) => {
    if (!notice.contains(relatedTarget as Node | null)) before = relatedTarget;
  });
  const close = () => {
    const hadFocus = notice.contains(document.activeElement);
    notice.remove();
    // A keyboard goes back to where it came from.
    if (hadFocus && before instanceof HTMLElement) before.focus({ preventScroll: true });
  };
  notice.append(make("p", { textContent: text }));
  if (action) {
    notice.append(make("button", {
      type: "button",
      textContent: action.label,
      onclick() {
        close();
        action.run();
      },
    }));
  }
  notice.append(make("button", {
    type: "button",
    className: "close",
    ariaLabel: "Close the message",
    textContent: "×",
    onclick: close,
  }));
  // The same text twice says no more than once.
  for (const other of [...shelf.children]) {
    if (other.querySelector("p")?.textContent === text) other.remove();
  }
  shelf.append(notice);
  while (shelf.children.length > maxShown) {
    // What can be done about something goes last.
    const spare = [...shelf.children].find((other) =>
      other.querySelector("button:not(.close)") === null
    );
    (spare ?? shelf.firstElementChild!).remove();
  }
  if (!isError) setTimeout(close, milliseconds);
  return close;
}
