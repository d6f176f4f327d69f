/**
 * Generated scenes, rendered when the page was built.
 *
 * @module
 */
import { InputError } from "@ovstage/ovstage";
import { byId, make } from "./elements.ts";
import { type LoadedPicture, loadFile } from "./load_picture.ts";

/** A scene, as the build lists it in `scenes/scenes.json`. */
export interface GeneratedScene {
  /** The picture's file. */
  readonly image: string;
  /** A small one. */
  readonly thumbnail: string;
  /** Its side in pixels. */
  readonly size: number;
  /** What it shows, the largest first, and a few things that it does not. */
  readonly names: readonly string[];
}

const folder = new URL("scenes/", document.baseURI);

async function get(path: string): Promise<Response> {
  const url = new URL(path, folder);
  let response: Response;
  try {
    response = await fetch(url);
  } catch (cause) {
    throw new InputError(`${url.pathname} could not be fetched: check the connection`, { cause });
  }
  if (!response.ok) {
    throw new InputError(`${url.pathname} is missing (${response.status}): build the page again`);
  }
  return response;
}

/** @throws {InputError} If the list can't be had. */
export async function listScenes(): Promise<readonly GeneratedScene[]> {
  return await (await get("scenes.json")).json() as GeneratedScene[];
}

/** @throws {InputError} If the picture can't be had. */
export async function loadScene({ image }: GeneratedScene): Promise<LoadedPicture> {
  return await loadFile(await (await get(image)).blob(), image);
}

/** Draws the list. */
export function showScenes(
  scenes: readonly GeneratedScene[],
  onChoose: (scene: GeneratedScene) => void,
): void {
  byId("scenes", HTMLElement).replaceChildren(...scenes.map((scene, i) => {
    const image = make("img", {
      src: new URL(scene.thumbnail, folder).href,
      alt: `Scene ${i + 1}: ${scene.names.slice(0, 3).join(", ")}`,
      width: 56,
      height: 56,
    });
    const button = make("button", { type: "button", onclick: () => onChoose(scene) }, image);
    button.dataset.image = scene.image;
    button.ariaPressed = "false";
    return make("li", {}, button);
  }));
}

/** Marks the scene on show; null for another picture. */
export function markScene(scene: GeneratedScene | null): void {
  for (const button of byId("scenes", HTMLElement).querySelectorAll("button")) {
    button.ariaPressed = String(button.dataset.image === scene?.image);
  }
}
