/**
 * A static file server, as anybody would put in front of the studio.
 *
 * @module
 */
import { extname, join, normalize } from "node:path";

const types: Readonly<Record<string, string>> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".mjs": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".webp": "image/webp",
};

/** Options of {@linkcode serveFolder}. */
export interface ServeOptions {
  /** The port; any free one where left out. */
  readonly port?: number;
  /** Whether pages are cross-origin isolated, which WebAssembly needs for threads; true. */
  readonly isolated?: boolean;
}

/** A server that runs until it is closed. */
export interface FolderServer extends AsyncDisposable {
  /** Its address, ending in "/". */
  readonly url: string;
}

/**
 * Serves a folder to this machine alone. Browsers keep the files and ask whether they have changed.
 *
 * @param folder What to serve; `/` is its index.html.
 */
export function serveFolder(folder: string, options: ServeOptions = {}): FolderServer {
  const { port = 0, isolated = true } = options;
  const headers = {
    "Cache-Control": "no-cache",
    ...(isolated && {
      "Cross-Origin-Opener-Policy": "same-origin",
      "Cross-Origin-Embedder-Policy": "require-corp",
    }),
  };
  const server = Deno.serve({ port, hostname: "127.0.0.1", onListen() {} }, async (request) => {
    const path = normalize(decodeURIComponent(new URL(request.url).pathname));
    const file = join(folder, path.endsWith("/") ? `${path}index.html` : path);
    try {
      const { size, mtime, isFile } = await Deno.stat(file);
      if (!isFile) throw new Deno.errors.NotFound();
      const tag = `"${size}-${mtime?.getTime()}"`;
      if (request.headers.get("If-None-Match") === tag) {
        return new Response(null, { status: 304, headers: { ...headers, ETag: tag } });
      }
      const body = await Deno.open(file);
      return new Response(body.readable, {
        headers: {
          ...headers,
          ETag: tag,
          "Content-Length": String(size),
          "Content-Type": types[extname(file)] ?? "application/octet-stream",
        },
      });
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      return new Response("not found", { status: 404, headers });
    }
  });
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
