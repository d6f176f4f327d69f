/**
 * A segmentation service as one function from a Request to a Response, which Deno, Node and whatever
 * else knows the fetch API can serve:
 *
 *     POST /segment?classes=dog,guitar    an image file as the body
 *
 * answers `[{ label, score, mask, … }]`, as transformers.js names them, or a picture where the client
 * accepts `image/png`. What is wrong with a request comes back as 4xx and a message.
 *
 * @module
 */
import sharp from "sharp";
import {
  classColours,
  type ErrorCode,
  InputError,
  overlay,
  OvsError,
  type Ovsnet,
  readAll,
  segments,
  vocabulary,
} from "@ovstage/ovstage";
import { decodeImage } from "@ovstage/ovstage/read-image";

/** What a service takes. */
export interface Limits {
  /** The longest body, in bytes. */
  readonly maxBytes: number;
  /** The largest image, in pixels. */
  readonly maxPixels: number;
  /** Requests that are worked on at a time; more are asked to come again. */
  readonly maxRunning: number;
}

/** 12 megapixels in 20 MB, eight at a time. */
export const defaultLimits: Limits = { maxBytes: 20e6, maxPixels: 12e6, maxRunning: 8 };

/** Whose fault an error is; all that is not listed is ours. */
const statusOf: Partial<Record<ErrorCode, number>> = { INPUT: 400, OPTION: 400, DEVICE_LOST: 503 };

function refuse(status: number, code: string, message: string, headers: HeadersInit = {}) {
  return Response.json({ error: { code, message } }, { status, headers });
}

/**
 * Reads a body; null where it is too long. What is a little too long is read to its end all the
 * same: a client that still sends would not see the answer.
 */
async function readBody(request: Request, maxBytes: number): Promise<Uint8Array | null> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  try {
    for await (const part of request.body ?? []) {
      size += part.length;
      if (size <= maxBytes) parts.push(part);
      else if (size > 4 * maxBytes) break;
    }
  } catch (cause) {
    throw new InputError("the body broke off before its end; send it again", { cause });
  }
  return size > maxBytes ? null : new Uint8Array(await new Blob(parts).arrayBuffer());
}

/**
 * Makes the function.
 *
 * @param ovsnet Serves all requests, several at once; stays the caller's.
 */
export function segmentationHandler(
  ovsnet: Ovsnet,
  limits: Limits = defaultLimits,
): (request: Request) => Promise<Response> {
  const { maxBytes, maxPixels, maxRunning } = limits;
  let running = 0;

  async function segment(names: string[], bytes: Uint8Array, request: Request): Promise<Response> {
    const words = vocabulary(names);
    const image = await decodeImage(bytes, "the body", { maxPixels });
    // Who hangs up is not worked for any more.
    const { signal } = request;
    using result = await ovsnet.run({ image, vocabulary: words }, { signal });
    const { segmentation } = result.outputs;
    const [labels, scores] = await readAll([segmentation.labels, segmentation.scores]);
    const { width, height } = image;
    const found = segments({ width, height, labels, scores }, names);
    if (!request.headers.get("accept")?.includes("image/png")) return Response.json(found);
    const colours = classColours(names.length, found.map(({ index }) => index));
    const { rgb } = overlay(image, labels, colours);
    const png = await sharp(rgb, { raw: { width, height, channels: 3 } }).png().toBuffer();
    return new Response(new Uint8Array(png), { headers: { "content-type": "image/png" } });
  }

  async function answer(request: Request): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname !== "/segment") {
      return refuse(404, "PATH", `${pathname}: there is only /segment`);
    }
    if (request.method !== "POST") {
      return refuse(405, "METHOD", `${request.method}: it must be POST`, { allow: "POST" });
    }
    const bytes = await readBody(request, maxBytes);
    if (bytes === null) {
      return refuse(413, "SIZE", `the body is too long; at most ${maxBytes} bytes are taken`);
    }
    if (running >= maxRunning) {
      return refuse(503, "BUSY", "too many requests at a time", { "retry-after": "1" });
    }
    const names = (searchParams.get("classes") ?? "").split(",").map((name) => name.trim());
    running++;
    try {
      return await segment(names, bytes, request);
    } finally {
      running--;
    }
  }

  return async (request) => {
    try {
      return await answer(request);
    } catch (error) {
      if (request.signal.aborted) return new Response(null, { status: 499 });
      if (error instanceof OvsError && statusOf[error.code] !== undefined) {
        return refuse(statusOf[error.code]!, error.code, error.message);
      }
      console.error(error); // for whoever runs the service, and nobody else
      return refuse(500, "INTERNAL", "the service failed; it is not the request's fault");
    }
  };
}
