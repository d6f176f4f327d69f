/**
 * The page's elements, and how new ones are made.
 *
 * @module
 */

/**
 * Finds an element that index.html has.
 *
 * @throws {TypeError} If it is missing or another kind of element.
 */
export function byId<Type extends HTMLElement>(id: string, kind: new () => Type): Type {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new TypeError(`index.html has no ${kind.name} #${id}`);
  return found;
}

/** Makes an element with properties, and with texts or elements inside. */
export function make<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  properties: Partial<HTMLElementTagNameMap[Tag]> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** A canvas of index.html, and its context. */
export function context2d(id: string): CanvasRenderingContext2D {
  return byId(id, HTMLCanvasElement).getContext("2d")!;
}
