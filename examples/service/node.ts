/**
 * The same service on Node, whose `node:http` hands out streams of its own. In a project that has
 * the package from npm:
 *
 *     npx esbuild examples/service/node.ts --bundle --platform=node --target=node20 --format=esm \
 *       --packages=external --outfile=service.mjs
 *     node service.mjs 8000
 *
 * @module
 */
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import process from "node:process";
import { Readable } from "node:stream";
import { acquireDevice, openOvsnet } from "@ovstage/ovstage";
import { segmentationHandler } from "./handler.ts";

const [port = "8000"] = process.argv.slice(2);
if (!/^\d+$/.test(port)) {
  console.error("usage: node service.mjs [PORT]");
  process.exit(2);
}

/** A request as the fetch API has it. */
function toRequest(incoming: IncomingMessage, signal: AbortSignal): Request {
  const { method = "GET", url = "/", headers } = incoming;
  const hasBody = method !== "GET" && method !== "HEAD";
  return new Request(new URL(url, "http://service"), {
    method,
    headers: headers as Record<string, string>,
    body: hasBody ? Readable.toWeb(incoming) as ReadableStream<Uint8Array> : null,
    duplex: "half",
    signal,
  } as RequestInit);
}

await using device = await acquireDevice("auto");
await using ovsnet = await openOvsnet({ device });
const handle = segmentationHandler(ovsnet);
const server = createServer(async (incoming, outgoing) => {
  const { socket } = incoming;
  const gone = new AbortController();
  outgoing.once("close", () => gone.abort());
  // A body that nobody reads to its end would hold the connection, and the server with it.
  outgoing.once("finish", () => incoming.complete || socket.destroy());
  try {
    const response = await handle(toRequest(incoming, gone.signal));
    const body = new Uint8Array(await response.arrayBuffer());
    outgoing.writeHead(response.status, Object.fromEntries(response.headers)).end(body);
  } catch {
    outgoing.writeHead(400).end(); // "GET // HTTP/1.1": that is no URL
  }
});
server.listen(Number(port));
await once(server, "listening");
const { port: chosen } = server.address() as AddressInfo;
console.log(`listening on port ${chosen}, computing on ${device.description}`);
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => server.close());
await once(server, "close");
console.log("bye");
