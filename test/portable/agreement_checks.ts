/**
 * Checks that a browser sees what Deno sees, with the shipped models.
 *
 * @module
 */
import { modelsAt } from "../../lib/stages/models.ts";
import { vocabulary } from "../../lib/stages/vocabulary.ts";
import { openOvsnet } from "../../plugins/methods/ovsnet.ts";
import { acquireDevice, type AcquireOptions } from "../../plugins/runtimes/mod.ts";
import type { SegmentedScene } from "../../scripts/segmented_scenes.ts";
import { type Check, ensure } from "./check.ts";

function bytes(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

/**
 * Checks for a page whose server has the models and the scenes as Deno segments them.
 *
 * @param home The page's address.
 */
export function agreementChecks(options: AcquireOptions, home: string): Check[] {
  return (["cpu", "webgpu"] as const).map((request) => ({
    name: `${request}: this runtime and Deno give 99.9 % of pixels the same label`,
    async run() {
      const scenes = await (await fetch(new URL("/scenes.json", home))).json() as SegmentedScene[];
      await using device = await acquireDevice(request, options);
      const models = modelsAt(new URL("/models/", home));
      await using ovsnet = await openOvsnet({ device, models });
      let [same, all] = [0, 0];
      for (const { width, height, rgb, names, labels } of scenes) {
        const image = { width, height, rgb: bytes(rgb) };
        using result = await ovsnet.run({ image, vocabulary: vocabulary(names) });
        const found = await result.outputs.segmentation.labels.read();
        const expected = new Int32Array(bytes(labels).buffer);
        ensure(found.length === expected.length, `${found.length} labels, not ${expected.length}`);
        same += found.filter((label, i) => label === expected[i]).length;
        all += found.length;
      }
      ensure(same >= 0.999 * all, `${same} of ${all} pixels of ${scenes.length} scenes`);
      return `${same} of ${all} pixels of ${scenes.length} scenes, ${device.description}`;
    },
  }));
}
