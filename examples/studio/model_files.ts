/**
 * The model files: fetched with progress, checked by SHA-256, kept in the browser's cache.
 *
 * @module
 */
import { ModelError, type ModelSource } from "@ovstage/ovstage";

/** What the build writes into `models/manifest.json`. */
export interface ModelManifest {
  /** All files. */
  readonly files: readonly ModelEntry[];
}

/** One file. */
export interface ModelEntry {
  /** Its name inside the folder. */
  readonly name: string;
  /** Its length. */
  readonly bytes: number;
  /** Its checksum, in hexadecimal. */
  readonly sha256: string;
}

const cacheName = "ovstage-models";

/** Called as bytes arrive. */
export type FetchProgress = (done: number, total: number) => void;

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The cache, or null where the page is not allowed one (private windows, full disks). */
async function openCache(): Promise<Cache | null> {
  try {
    return await caches.open(cacheName);
  } catch {
    return null;
  }
}

/** Fetches, and says what is wrong with the answer. */
async function download(
  { name, bytes: length }: ModelEntry,
  url: URL,
  onBytes: (count: number) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  let response: Response;
  try {
    response = await fetch(url);
  } catch (cause) {
    throw new ModelError(
      `model ${name} could not be fetched from ${url.origin}: check the connection and try again`,
      { cause },
    );
  }
  if (!response.ok || response.body === null) {
    throw new ModelError(
      `model ${name} is missing: the server answered ${response.status} for ${url.pathname}; ` +
        "build the page again, or put the file there",
    );
  }
  const result = new Uint8Array(length);
  let at = 0;
  const reader = response.body.getReader();
  try {
    while (true) {
      const { done, value } = await reader.read();
      if (done) break;
      if (at + value.length <= length) result.set(value, at);
      at += value.length;
      onBytes(value.length);
    }
  } catch (cause) {
    throw new ModelError(
      `model ${name} broke off after ${at} of ${length} bytes: check the connection and try again`,
      { cause },
    );
  }
  if (at !== length) {
    throw new ModelError(
      `model ${name} has ${at} bytes; it must have ${length}: it was cut short or exchanged, ` +
        "so try again, or build the page again",
    );
  }
  return result;
}

/**
 * Gets all files of a folder.
 *
 * @param folder Its URL, ending in "/".
 * @param onProgress Bytes so far, and in all.
 * @returns A source that reads from memory. A file leaves it when it is read.
 * @throws {ModelError} If a file is missing, cut short or not the one that the manifest names.
 */
export async function fetchModels(folder: URL, onProgress: FetchProgress): Promise<ModelSource> {
  if (globalThis.crypto?.subtle === undefined) {
    throw new ModelError("checksums need a secure page: open this one over https or localhost");
  }
  const { files } = await readManifest(folder);
  const cache = await openCache();
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  let done = 0;
  const report = (count: number) => onProgress(done = Math.min(total, done + count), total);
  const known = new Set<string>();
  const read = async (entry: ModelEntry): Promise<[string, Uint8Array]> => {
    const url = new URL(entry.name, folder);
    url.searchParams.set("sha256", entry.sha256);
    known.add(url.href);
    const kept = await cache?.match(url);
    if (kept !== undefined) {
      const bytes = new Uint8Array(await kept.arrayBuffer());
      if (bytes.length === entry.bytes && await sha256(bytes) === entry.sha256) {
        report(bytes.length);
        return [entry.name, bytes];
      }
      await cache?.delete(url);
    }
    const bytes = await download(entry, url, report);
    const sum = await sha256(bytes);
    if (sum !== entry.sha256) {
      throw new ModelError(
        `model ${entry.name} has the SHA-256 ${sum.slice(0, 12)}…; it must be ${
          entry.sha256.slice(0, 12)
        }…: it was damaged on the way, so try again, or build the page again`,
      );
    }
    try {
      await cache?.put(url, new Response(bytes));
    } catch {
      // No room: the next visit fetches again.
    }
    return [entry.name, bytes];
  };
  const contents = new Map(await Promise.all(files.map(read)));
  // Models of earlier versions would pile up.
  for (const request of await cache?.keys() ?? []) {
    if (request.url.startsWith(folder.href) && !known.has(request.url)) {
      await cache?.delete(request);
    }
  }
  return {
    location: folder.href,
    read(name) {
      const bytes = contents.get(name);
      contents.delete(name);
      return bytes ? Promise.resolve(bytes) : Promise.reject(
        new ModelError(`model ${name} is not in ${folder.href}manifest.json; build the page again`),
      );
    },
  };
}

async function readManifest(folder: URL): Promise<ModelManifest> {
  const url = new URL("manifest.json", folder);
  try {
    const response = await fetch(url, { cache: "no-cache" });
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    const manifest = await response.json() as ModelManifest;
    if (!Array.isArray(manifest.files)) throw new Error('it has no "files"');
    return manifest;
  } catch (cause) {
    throw new ModelError(
      `the list of models, ${url.pathname}, can't be read (${(cause as Error).message}): ` +
        "check the connection and try again",
      { cause },
    );
  }
}
