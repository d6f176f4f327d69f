/**
 * The studio: binds the page's parts to the worker.
 *
 * @module
 */
import { type DeviceRequest, OvsError } from "@ovstage/ovstage";
import { prepareCamera } from "./camera.ts";
import { ClassChips } from "./class_chips.ts";
import { byId, make } from "./elements.ts";
import { documentOf, download, drawOverlay, fileNames } from "./export_files.ts";
import { FoundList } from "./found_list.ts";
import { Inspector } from "./inspector.ts";
import { type LoadedPicture, loadFile } from "./load_picture.ts";
import { notify } from "./notices.ts";
import { fusers, type OpenedDevice, type SegmentedPicture, type Settings } from "./protocol.ts";
import { type GeneratedScene, listScenes, loadScene, markScene, showScenes } from "./scenes.ts";
import { Segmenting } from "./segmenting.ts";
import { showDevice, showStages } from "./stage_table.ts";
import { Viewer } from "./viewer.ts";

const fuserHelp: Readonly<Record<Settings["fuser"], string>> = {
  gfa: "A random walk between what CLIP sees and what the decoder knows.",
  mean: "The mean of CLIP's features and the decoder's queries.",
  clip: "CLIP's features alone: open to any word, unsure of shapes.",
  query: "The decoder's queries alone: sure of what it was trained on.",
};

const main = byId("main", HTMLElement);
const status = byId("status", HTMLElement);
const progress = byId("progress", HTMLProgressElement);
const omega = byId("omega", HTMLInputElement);
const lambda = byId("lambda", HTMLInputElement);
const opacity = byId("opacity", HTMLInputElement);
const deviceChoice = byId("device", HTMLSelectElement);
const exports = ["export-png", "export-labels", "export-json"].map((id) =>
  byId(id, HTMLButtonElement)
);

const viewer = new Viewer();
const found = new FoundList((index) => viewer.light(index));
const chips = new ClassChips(() => {
  isOwnList = chips.names.length > 0 && !(scene !== null && sameNames(scene.names));
  segment();
});
const segmenting = new Segmenting({
  onStart(request) {
    deviceChoice.value = request;
    showDevice(null);
  },
  onOpened(opened) {
    closeTrouble();
    device = opened;
    showDevice(opened);
  },
  onResult: show,
  onProgress(text, share) {
    progress.hidden = share === null;
    progress.value = share ?? 0;
    // What is over in a moment is not worth a word, least of all a spoken one.
    clearTimeout(saying);
    saying = setTimeout(() => status.textContent = text, share === null ? 250 : 0);
  },
  onBusy(isBusy) {
    main.ariaBusy = String(isBusy);
    offerExports();
    if (isBusy) return;
    clearTimeout(saying);
    progress.hidden = true;
    const text = idleText();
    if (status.textContent !== text) status.textContent = text;
  },
  onTrouble({ text, goesOn }) {
    if (!goesOn) byId("badge-text", HTMLElement).textContent = "Stopped";
    const action = { label: "Try again", run: begin };
    const close = notify(text, { isError: true, ...(!goesOn && { action }) });
    closeTrouble = goesOn ? () => {} : close;
  },
});
const inspector = new Inspector(viewer, (x, y) => segmenting.rank(x, y, 4));

let device: OpenedDevice | null = null;
let saying: ReturnType<typeof setTimeout> | undefined;
/** Whether the classes are the person's own rather than a scene's. */
let isOwnList = false;
/** The scene on show; null for a picture of the person's own. */
let scene: GeneratedScene | null = null;
/** Takes away the message that work has stopped. */
let closeTrouble = () => {};
/** Takes away what was said of a picture that is no longer the last one. */
let closeAboutPicture = () => {};
/** Counts what is being loaded: the last one wins, however long the others take. */
let loads = 0;

/** Opens the device that is chosen, in a new worker. */
function begin(): void {
  segmenting.start(deviceChoice.value as DeviceRequest);
}

function idleText(): string {
  const { result } = viewer;
  if (segmenting.isStopped) return "Stopped: any change tries again";
  if (viewer.picture === null) return "Open an image to begin";
  if (chips.names.length === 0) return "Add a class to look for";
  if (result === null) return "Ready";
  const count = result.segments.length;
  return `${count} of ${chips.names.length} classes found`;
}

function settings(): Settings {
  const chosen = document.querySelector<HTMLInputElement>("[name=fuser]:checked")!.value;
  return {
    names: chips.names,
    fuser: fusers.find((name) => name === chosen)!,
    omega: omega.valueAsNumber,
    lambda: lambdaValue(),
  };
}

/** The slider goes by orders of magnitude. */
function lambdaValue(): number {
  return Number((10 ** lambda.valueAsNumber).toPrecision(2));
}

/** Segments what is on the page; called at every change, those of a slider among them. */
function segment(isSliding = false): void {
  const { picture } = viewer;
  if (picture !== null && chips.names.length > 0) {
    performance.mark("studio:asked");
    return segmenting.segment(picture.picture, settings(), isSliding);
  }
  segmenting.cancel();
  viewer.clear();
  found.show(null);
  chips.colour([]);
  offerExports();
  status.textContent = idleText();
}

function show(result: SegmentedPicture): void {
  // Another picture is on show by now, or the list is empty.
  if (result.pictureKey !== viewer.picture?.picture.key || chips.names.length === 0) return;
  viewer.showResult(result);
  found.show(result);
  if (result.settings.names === chips.names || sameNames(result.settings.names)) {
    chips.colour(result.segments);
  }
  showStages(result.stages, result.milliseconds);
  inspector.refresh();
  offerExports();
  performance.mark("studio:shown", { detail: { milliseconds: result.milliseconds } });
}

/** Only what is settled can be saved: else the files would contradict each other. */
function offerExports(): void {
  const { result } = viewer;
  const isSettled = result !== null && !result.isDraft && main.ariaBusy !== "true";
  for (const button of exports) button.disabled = !isSettled;
}

function sameNames(names: readonly string[]): boolean {
  return names.length === chips.names.length && names.every((name, i) => name === chips.names[i]);
}

/** Takes a picture that may take a while to come, or says why it can't. */
async function open(
  load: () => Promise<LoadedPicture>,
  from: GeneratedScene | null = null,
): Promise<void> {
  const number = ++loads;
  try {
    const picture = await load();
    if (number === loads) take(picture, from);
  } catch (error) {
    if (!(error instanceof OvsError)) throw error;
    closeAboutPicture();
    closeAboutPicture = notify(`${error.message}.`, { isError: true });
  }
}

function take(picture: LoadedPicture, from: GeneratedScene | null): void {
  closeAboutPicture();
  scene = from;
  viewer.showPicture(picture);
  inspector.hide();
  found.show(null);
  markScene(scene);
  const { width, height } = picture.picture;
  const [w, h] = picture.original;
  byId("caption", HTMLElement).textContent = w === width && h === height
    ? `${picture.name}, ${w} × ${h}`
    : `${picture.name}, ${w} × ${h}, worked on at ${width} × ${height}`;
  if (scene !== null && !isOwnList) chips.set(scene.names);
  else if (scene !== null) {
    const { names } = scene;
    closeAboutPicture = notify("Your classes are kept.", {
      action: {
        label: "Take the scene's",
        run() {
          isOwnList = false;
          chips.set(names);
          segment();
        },
      },
    });
  }
  segment();
}

function openFiles(files: FileList | null | undefined): boolean {
  const file = files?.[0];
  if (file === undefined) return false;
  const name = file.name || "pasted.png";
  open(() => loadFile(file, name));
  if (files!.length > 1) {
    notify(`One image at a time: of ${files!.length} files, ${name} is opened.`);
  }
  return true;
}

function listenForFiles(): void {
  const input = byId("file", HTMLInputElement);
  byId("open", HTMLButtonElement).onclick = () => input.click();
  input.onchange = () => {
    openFiles(input.files);
    // The same file may be chosen again.
    input.value = "";
  };
  document.addEventListener("paste", (event) => {
    // Spreadsheets copy text and a picture of it: in the class field, the text is meant.
    const isText = event.target instanceof HTMLInputElement &&
      event.clipboardData?.getData("text") !== "";
    if (event.defaultPrevented || isText) return;
    if (openFiles(event.clipboardData?.files)) event.preventDefault();
  });
  const { classList } = document.body;
  const isForField = ({ dataTransfer, target }: DragEvent) =>
    target instanceof HTMLInputElement && !dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (isForField(event)) return;
    event.preventDefault();
    classList.toggle("dragging", event.dataTransfer?.types.includes("Files") ?? false);
  });
  document.addEventListener("dragleave", ({ relatedTarget }) => {
    if (relatedTarget === null) classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    if (isForField(event)) return;
    event.preventDefault();
    classList.remove("dragging");
    openFiles(event.dataTransfer?.files);
  });
}

function listenForSettings(): void {
  const update = () => {
    const { fuser } = settings();
    byId("fuser-help", HTMLElement).textContent = fuserHelp[fuser];
    omega.disabled = lambda.disabled = fuser !== "gfa";
    byId("omega-value", HTMLElement).textContent = omega.valueAsNumber.toFixed(2);
    byId("lambda-value", HTMLElement).textContent = String(lambdaValue());
    // The slider's own figure is an exponent.
    lambda.ariaValueText = String(lambdaValue());
  };
  for (const control of [omega, lambda, byId("fusers", HTMLFieldSetElement)]) {
    control.addEventListener("input", () => {
      update();
      segment(control instanceof HTMLInputElement);
    });
  }
  update();
  const look = () => {
    viewer.setView(view());
    byId("opacity-value", HTMLElement).textContent = `${Math.round(100 * view().opacity)} %`;
  };
  for (const control of [opacity, ...document.querySelectorAll(".switches input")]) {
    control.addEventListener("input", look);
  }
  look();
  deviceChoice.onchange = begin;
}

function view() {
  return {
    opacity: opacity.valueAsNumber,
    names: byId("show-names", HTMLInputElement).checked,
    outlines: byId("show-outlines", HTMLInputElement).checked,
  };
}

function listenForExports(): void {
  const [png, labels, json] = exports as [HTMLButtonElement, HTMLButtonElement, HTMLButtonElement];
  const onClick = (
    button: HTMLButtonElement,
    save: (picture: LoadedPicture, result: SegmentedPicture) => Promise<void> | void,
  ) => {
    button.onclick = async () => {
      const { picture, result } = viewer;
      if (picture === null || result === null) return;
      try {
        await save(picture, result);
      } catch (error) {
        notify(`The file could not be made: ${(error as Error).message}.`, { isError: true });
      }
    };
  };
  onClick(png, async (picture, result) => {
    const blob = await drawOverlay(picture, result, view());
    download(blob, "image/png", fileNames(picture).overlay);
  });
  onClick(labels, async (picture) => {
    download(await segmenting.labelPng(), "image/png", fileNames(picture).labels);
  });
  onClick(json, (picture, result) => {
    if (device === null) return;
    download(documentOf(picture, result, device), "application/json", fileNames(picture).json);
  });
}

/** The model's words, once somebody is about to type one. */
function offerWords(): void {
  byId("class-input", HTMLInputElement).addEventListener("focus", async () => {
    try {
      const response = await fetch(new URL("words.json", document.baseURI));
      const words = await response.json() as string[];
      const options = words.map((value) => make("option", { value }));
      document.getElementById("words")!.replaceChildren(...options);
    } catch {
      // Typing does without.
    }
  }, { once: true });
}

begin();
listenForFiles();
listenForSettings();
listenForExports();
offerWords();
prepareCamera((picture) => {
  loads++;
  take(picture, null);
});
try {
  const scenes = await listScenes();
  const openScene = (scene: GeneratedScene) => open(() => loadScene(scene), scene);
  showScenes(scenes, openScene);
  // Something to see at once, unless somebody was quicker.
  if (loads === 0 && scenes[0] !== undefined) await openScene(scenes[0]);
} catch (error) {
  if (!(error instanceof OvsError)) throw error;
  notify(`${error.message}.`, { isError: true });
}
