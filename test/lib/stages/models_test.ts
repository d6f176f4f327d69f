import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { modelsAt, modelsIn, readJson } from "../../../lib/stages/models.ts";

Deno.test("a folder gives its files, and names those it does not have", async () => {
  const folder = mkdtempSync(join(tmpdir(), "ovstage-models-"));
  try {
    writeFileSync(join(folder, "a.json"), '{"x": [1]}');
    writeFileSync(join(folder, "cut.json"), '{"x": [1');
    const models = modelsAt(pathToFileURL(folder));
    assert.deepEqual(await readJson(models, "a.json"), { x: [1] });
    await assert.rejects(
      readJson(models, "cut.json"),
      /ModelError: model cut\.json: its 8 bytes are no JSON/,
    );
    await assert.rejects(
      models.read("b.onnx"),
      /ModelError: model b\.onnx: no such file \(looked at/,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

Deno.test("an address gives its files, and the server's answer where it does not", async () => {
  const server = createServer((request, response) => {
    response.statusCode = request.url === "/m/a.onnx" ? 200 : 404;
    response.end("bytes");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const models = modelsAt(`http://127.0.0.1:${(server.address() as AddressInfo).port}/m`);
    assert.equal(new TextDecoder().decode(await models.read("a.onnx")), "bytes");
    await assert.rejects(models.read("b.onnx"), /model b\.onnx: the server answered 404/);
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
});

Deno.test("memory gives its files, and names those it does not have", async () => {
  const models = modelsIn({ "a.onnx": Uint8Array.of(7) });
  assert.deepEqual(await models.read("a.onnx"), Uint8Array.of(7));
  await assert.rejects(models.read("toString"), /no such file in memory; there are a\.onnx/);
});
