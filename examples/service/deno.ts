/**
 * The service on Deno; SIGTERM ends it when the requests under way are answered. With the flag, a
 * request's signal aborts only when its client hangs up:
 *
 *     deno run -A --unstable-no-legacy-abort examples/service/deno.ts 8000
 *     curl --data-binary @photo.png "http://localhost:8000/segment?classes=dog,guitar"
 *
 * @module
 */
import { acquireDevice, openOvsnet } from "@ovstage/ovstage";
import { segmentationHandler } from "./handler.ts";

const [port = "8000"] = Deno.args;
if (!/^\d+$/.test(port)) {
  console.error("usage: deno run -A examples/service/deno.ts [PORT]");
  Deno.exit(2);
}

await using device = await acquireDevice("auto");
await using ovsnet = await openOvsnet({ device });
const server = Deno.serve({
  port: Number(port),
  onListen: ({ port }) =>
    console.log(`listening on port ${port}, computing on ${device.description}`),
}, segmentationHandler(ovsnet));
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, () => server.shutdown());
}
await server.finished;
console.log("bye");
