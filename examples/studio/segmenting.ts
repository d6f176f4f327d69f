/**
 * Keeps a worker at work on what is wanted last, and begins anew when it is lost.
 *
 * @module
 */
import type { DeviceRequest } from "@ovstage/ovstage";
import type { OpenedDevice, Picture, RankedClass, SegmentedPicture, Settings } from "./protocol.ts";
import { RequestFailure, WorkerGone, WorkerLink } from "./worker_link.ts";

/** Something that went wrong, for a person. */
export interface Trouble {
  /** What happened, and what is done about it or can be. */
  readonly text: string;
  /** Whether work goes on by itself; otherwise `start` begins anew. */
  readonly goesOn: boolean;
}

/** What happens along the way. */
export interface SegmentingEvents {
  /** A new worker begins to open the models, on this device if it can be had. */
  onStart(device: DeviceRequest): void;
  /** The models are there, and the device is known. */
  onOpened(device: OpenedDevice): void;
  /** A result. Only the last one that was wanted is sure to arrive. */
  onResult(result: SegmentedPicture): void;
  /** What the worker is busy with. */
  onProgress(text: string, share: number | null): void;
  /** Whether anything is under way. */
  onBusy(isBusy: boolean): void;
  /** Something went wrong. */
  onTrouble(trouble: Trouble): void;
}

interface Wanted {
  readonly picture: Picture;
  readonly settings: Settings;
  readonly mayBeDraft: boolean;
}

/** After so many milliseconds without a change a draft is replaced by the whole. */
const restful = 150;
/** Losses within this many milliseconds are counted together. */
const patience = 60_000;
const maxLosses = 3;

/** Segments in a worker. */
export class Segmenting {
  readonly #events: SegmentingEvents;
  #device: DeviceRequest = "auto";
  #link: WorkerLink | null = null;
  #isOpen = false;
  #isWorking = false;
  #isStopped = false;
  #sentKey = 0;
  #next: Wanted | null = null;
  #last: Wanted | null = null;
  #losses: number[] = [];
  #refining: ReturnType<typeof setTimeout> | undefined;

  /** Nothing happens before `start`. */
  constructor(events: SegmentingEvents) {
    this.#events = events;
  }

  /** Opens the models in a new worker, on the same device or another one, and goes on there. */
  start(device: DeviceRequest = this.#device): void {
    this.#device = device;
    this.#link?.close();
    this.#isStopped = false;
    this.#isOpen = false;
    this.#isWorking = false;
    this.#sentKey = 0;
    clearTimeout(this.#refining);
    this.#next ??= this.#last && { ...this.#last, mayBeDraft: false };
    const link: WorkerLink = new WorkerLink({
      onProgress: (text, share) => this.#events.onProgress(text, share),
      onGone: (text, isGpu, hasBegun) => this.#recover(text, isGpu, hasBegun),
    });
    this.#link = link;
    this.#events.onStart(device);
    this.#events.onBusy(true);
    this.#open(link).catch((error) => this.#fail(error));
  }

  /**
   * Asks for a segmentation; it takes the place of any that has not begun. Begins anew where work
   * has stopped.
   *
   * @param mayBeDraft Whether a draft may come first, as long as more changes follow.
   */
  segment(picture: Picture, settings: Settings, mayBeDraft = false): void {
    clearTimeout(this.#refining);
    this.#next = { picture, settings, mayBeDraft };
    if (this.#isStopped) this.start();
    else this.#work();
  }

  /** Whether work has stopped until somebody begins anew. */
  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Forgets what is wanted: there is nothing to segment by. */
  cancel(): void {
    clearTimeout(this.#refining);
    this.#next = this.#last = null;
    if (this.#isOpen && !this.#isWorking) this.#events.onBusy(false);
  }

  /** The classes that compete for a pixel of the last result; null where the worker can't say. */
  async rank(x: number, y: number, count: number): Promise<readonly RankedClass[] | null> {
    try {
      return await this.#link?.request("rank", { x, y, count }) ?? null;
    } catch {
      return null;
    }
  }

  /**
   * The last result's label map as a PNG file.
   *
   * @throws {RequestFailure} If there is none.
   * @throws {WorkerGone} If the worker is; it is being replaced then.
   */
  async labelPng(): Promise<Uint8Array<ArrayBuffer>> {
    if (this.#link === null) throw new WorkerGone("no worker is running: start it again first");
    return await this.#link.request("labelPng", {});
  }

  async #open(link: WorkerLink): Promise<void> {
    const opened = await link.request("open", { device: this.#device });
    this.#isOpen = true;
    this.#events.onOpened(opened);
    if (this.#next === null) this.#events.onBusy(false);
    this.#work();
  }

  #work(): void {
    const wanted = this.#next;
    const link = this.#link;
    if (wanted === null || link === null || !this.#isOpen || this.#isWorking) return;
    this.#isWorking = true;
    this.#events.onBusy(true);
    this.#next = null;
    this.#last = wanted;
    const { picture, settings, mayBeDraft } = wanted;
    const ask = { pictureKey: picture.key, settings, mayBeDraft };
    const isSent = this.#sentKey === picture.key;
    this.#sentKey = picture.key;
    link.request("segment", isSent ? ask : { ...ask, picture }).then((result) => {
      // Cancelled in the meantime?
      if (this.#last !== null) this.#events.onResult(result);
      this.#rest(link, result.isDraft);
    }, (error) => {
      if (error instanceof RequestFailure && error.code !== "DEFECT") {
        this.#events.onTrouble({ text: error.message, goesOn: true });
        this.#rest(link);
      } else this.#fail(error);
    });
  }

  #rest(link: WorkerLink, isDraft = false): void {
    if (link !== this.#link) return;
    this.#isWorking = false;
    if (this.#next !== null) return this.#work();
    if (!isDraft || this.#last === null) return this.#events.onBusy(false);
    const { picture, settings } = this.#last;
    this.#refining = setTimeout(() => this.segment(picture, settings), restful);
  }

  #fail(error: Error): void {
    // Whoever noticed the loss deals with it.
    if (error instanceof WorkerGone) return;
    if (error instanceof RequestFailure && error.code === "DEVICE" && this.#device !== "cpu") {
      this.#events.onTrouble({ text: `${error.message}. Working on the CPU now.`, goesOn: true });
      return this.start("cpu");
    }
    this.#stop(error.message);
  }

  /** Waits for somebody to begin anew. */
  #stop(text: string): void {
    this.#link?.close();
    this.#link = null;
    this.#isStopped = true;
    this.#events.onTrouble({ text, goesOn: false });
    this.#events.onBusy(false);
  }

  #recover(text: string, isGpu: boolean, hasBegun: boolean): void {
    if (!hasBegun) {
      return this.#stop(`worker.js could not be loaded (${text}): look to the connection.`);
    }
    const now = performance.now();
    this.#losses = [...this.#losses.filter((time) => now - time < patience), now];
    const isHopeless = this.#losses.length >= maxLosses;
    if (isGpu && isHopeless) {
      this.#losses = [];
      this.#events.onTrouble({
        text: `The GPU was lost ${maxLosses} times in a minute (${text}). Working on the CPU now.`,
        goesOn: true,
      });
      return this.start("cpu");
    }
    if (isHopeless) {
      this.#losses = [];
      return this.#stop(
        `The worker stopped ${maxLosses} times in a minute (${text}). ` +
          "A smaller image, fewer classes or closed tabs may help.",
      );
    }
    this.#events.onTrouble({
      text: isGpu
        ? `The GPU was lost (${text}). Opening it again; your picture and classes are kept.`
        : `The worker stopped (${text}). Starting another; your picture and classes are kept.`,
      goesOn: true,
    });
    this.start();
  }
}
