import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encode } from "fast-png";
import fc from "fast-check";
import sharp from "sharp";
import { InputError, OptionError } from "../../../lib/errors.ts";
import { Image } from "../../../lib/image/image.ts";
import { encodeLabelPng } from "../../../lib/image/indexed_png.ts";
import { Rng } from "../../../lib/rng.ts";
import { decodeLabelMap } from "../../../plugins/datasets/labelled_folder/label_png.ts";
import { LabelledFolder } from "../../../plugins/datasets/labelled_folder/labelled_folder.ts";
import { openFolderData } from "../../../plugins/training/folder_batches.ts";
import type { FolderConfig } from "../../../plugins/training/train_config.ts";
import { encodePng, tinyClasses, tinyPicture, writeTinyFolder } from "../training/tiny_runs.ts";

async function withFolder(body: (path: string) => Promise<void>): Promise<void> {
  const path = mkdtempSync(join(tmpdir(), "ovs-folder-"));
  try {
    await body(path);
  } finally {
    rmSync(path, { recursive: true });
  }
}

const grey = (width: number, height: number, values: number[], depth: 8 | 16 = 8) =>
  encode({
    width,
    height,
    depth,
    channels: 1,
    data: depth === 8 ? Uint8Array.from(values) : Uint16Array.from(values),
  });

const refuses = (promise: Promise<unknown>, ...parts: string[]) =>
  assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof InputError, String(error));
    for (const part of parts) assert.ok(error.message.includes(part), error.message);
    return true;
  });

Deno.test("label PNGs: grey and palettes of every depth come back as they are", async () => {
  const values = Array.from({ length: 35 }, (_, i) => i * 7);
  assert.deepEqual([...decodeLabelMap(grey(7, 5, values), "a").values], values);
  const large = values.map((value) => value * 250);
  assert.deepEqual([...decodeLabelMap(grey(7, 5, large, 16), "a").values], large);
  const labels = Int32Array.from(values, (value) => value % 3);
  const colours = [[1, 2, 3], [4, 5, 6], [7, 8, 9]] as const;
  const own = await encodeLabelPng(labels, 7, 5, colours.map((c) => [...c]));
  assert.deepEqual([...decodeLabelMap(own, "a").values], [...labels]);
  // Few colours are packed several to a byte.
  for (const count of [2, 4, 16]) {
    const rgb = values.flatMap((_, i) => [10 * (i % count), 0, 255 - 10 * (i % count)]);
    const png = await sharp(Uint8Array.from(rgb), { raw: { width: 7, height: 5, channels: 3 } })
      .png({ palette: true, colours: count, dither: 0 }).toBuffer();
    const map = decodeLabelMap(png, "a");
    assert.equal(new Set(map.values).size, count);
    // The palette's order is the encoder's; equal colours have equal indices.
    values.forEach((_, i) => assert.equal(map.values[i], map.values[i % count]));
  }
});

Deno.test("label PNGs: damaged bytes are refused by name, and never read as something else", async () => {
  const whole = grey(6, 4, Array.from({ length: 24 }, (_, i) => i));
  const expected = decodeLabelMap(whole, "a.png").values;
  const judge = (bytes: Uint8Array) => {
    try {
      assert.deepEqual(decodeLabelMap(bytes, "a.png").values, expected);
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error;
      assert.ok(error instanceof InputError && error.message.startsWith("a.png: "), String(error));
    }
  };
  for (let length = 0; length < whole.length; length++) judge(whole.subarray(0, length));
  for (let bit = 0; bit < 8 * whole.length; bit++) {
    const bytes = Uint8Array.from(whole);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    judge(bytes);
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
    assert.throws(() => decodeLabelMap(bytes, "a.png"), InputError);
  }));
  assert.throws(() => decodeLabelMap(new Uint8Array(), "a.png"), /^InputError: a\.png: is empty;/);
  for (const length of [8, whole.length - 20]) {
    assert.throws(
      () => decodeLabelMap(whole.subarray(0, length), "a.png"),
      /cut short or damaged \(.*\w\); save or fetch it again$/,
    );
  }
  const rgb = await encodePng(new Image(2, 2, new Uint8Array(12)));
  assert.throws(() => decodeLabelMap(rgb, "a.png"), /a\.png: has 3 channels; labels must be grey/);
});

for (
  const [layout, splits] of [
    [["images", "annotations"], { train: 3, val: 2 }],
    [["img_dir", "ann_dir"], { train: 3, val: 2 }],
    [["images", "annotations"], { training: 3, validation: 2 }],
  ] as [readonly [string, string], Record<string, number>][]
) {
  Deno.test(`folders: ${layout.join(" and ")} with ${Object.keys(splits)} read as they were written`, () =>
    withFolder(async (path) => {
      await writeTinyFolder(path, layout, splits);
      const folder = await LabelledFolder.open({ path, classes: tinyClasses });
      assert.deepEqual([folder.count("train"), folder.count("val")], [3, 2]);
      assert.deepEqual(folder.names, tinyClasses);
      for (const [i, split] of Object.keys(splits).entries()) {
        const { image, labels } = await folder.read((["train", "val"] as const)[i]!, 1);
        const expected = tinyPicture(100 * split.length + 1);
        assert.deepEqual(labels, expected.labels);
        assert.deepEqual([...image.rgb], [...expected.image.rgb]);
      }
      await folder.verify(["train", "val"]);
    }));
}

Deno.test("folders: label values find their classes, by order, by id, and with zero reduced", () =>
  withFolder(async (path) => {
    for (const name of ["images/train", "annotations/train"]) {
      mkdirSync(join(path, name), { recursive: true });
    }
    const image = await encodePng(new Image(3, 1, new Uint8Array(9)));
    writeFileSync(join(path, "images/train/a.png"), image);
    const labels = async (
      values: number[],
      options: Partial<Parameters<typeof LabelledFolder.open>[0]>,
    ) => {
      writeFileSync(join(path, "annotations/train/a.png"), grey(3, 1, values, 16));
      const folder = await LabelledFolder.open({ path, classes: ["a", "b"], ...options });
      return [...(await folder.read("train", 0)).labels];
    };
    assert.deepEqual(await labels([0, 1, 255], {}), [0, 1, -1]);
    assert.deepEqual(await labels([0, 1, 9], { ignoreLabel: 9 }), [0, 1, -1]);
    assert.deepEqual(await labels([0, 1, 2], { reduceZeroLabel: true }), [-1, 0, 1]);
    assert.deepEqual(await labels([0, 1, 65535], { ignoreLabel: 65535 }), [0, 1, -1]);
    for (const ignoreLabel of [65536, -1, 0.5]) {
      await assert.rejects(
        labels([0, 1, 1], { ignoreLabel }),
        (error: Error) => error instanceof OptionError && /from 0 to 65535/.test(error.message),
      );
    }
    const list = join(path, "classes.json");
    writeFileSync(list, JSON.stringify([{ id: 7, name: "road" }, { id: 300, name: "wall" }]));
    assert.deepEqual(await labels([300, 7, 255], { classes: list }), [1, 0, -1]);
    const lines = join(path, "classes.txt");
    writeFileSync(lines, "road\r\nwall\n\n");
    assert.deepEqual(await labels([1, 0, 255], { classes: lines }), [1, 0, -1]);

    // An ignored value wins over a class of the same number, as in mmsegmentation.
    assert.deepEqual(await labels([0, 1, 1], { ignoreLabel: 1 }), [0, -1, -1]);
  }));

Deno.test("folders: whatever is wrong is refused by name", () =>
  withFolder(async (root) => {
    const fresh = async (name: string) => {
      const path = join(root, name);
      await writeTinyFolder(path);
      return path;
    };
    const classes = tinyClasses;
    await refuses(LabelledFolder.open({ path: join(root, "none"), classes }), "no such folder");
    mkdirSync(join(root, "bare"));
    await refuses(
      LabelledFolder.open({ path: join(root, "bare"), classes }),
      "images/",
      "ann_dir/",
    );

    const lacking = await fresh("lacking");
    rmSync(join(lacking, "annotations/train/2.png"));
    await refuses(LabelledFolder.open({ path: lacking, classes }), "train/2.png: has no labels");
    rmSync(join(lacking, "annotations/train"), { recursive: true });
    await refuses(LabelledFolder.open({ path: lacking, classes }), "annotations/train: no such");
    rmSync(join(lacking, "images/train"), { recursive: true });
    await refuses(LabelledFolder.open({ path: lacking, classes }), "images/train: holds no image");

    // Training looks at both splits.
    const second = await fresh("second");
    rmSync(join(second, "annotations/val/1.png"));
    await refuses(LabelledFolder.open({ path: second, classes }), "val/1.png: has no labels");

    const verify = async (path: string) => {
      const folder = await LabelledFolder.open({ path, classes });
      await folder.verify(["train", "val"]);
    };
    const sizes = await fresh("sizes");
    writeFileSync(join(sizes, "annotations/val/0.png"), grey(2, 1, [0, 0]));
    await refuses(verify(sizes), "annotations/val/0.png: is 2×1", "48×40");

    const values = await fresh("values");
    const wrong = new Array(48 * 40).fill(0);
    wrong[48 * 3 + 5] = 9;
    writeFileSync(join(values, "annotations/train/1.png"), grey(48, 40, wrong));
    await refuses(
      verify(values),
      "train/1.png: has the label 9 at row 3, column 5; the class list has 3, from 0 to 2",
    );

    const nothing = await fresh("nothing");
    for (let i = 0; i < 4; i++) {
      const ignored = new Array(48 * 40).fill(255);
      writeFileSync(join(nothing, `annotations/train/${i}.png`), grey(48, 40, ignored));
    }
    await refuses(verify(nothing), "all pixels of its 4 train images");

    const path = await fresh("classes");
    const list = join(root, "list.txt");
    const open = (content: string | Uint8Array) => {
      writeFileSync(list, content);
      return LabelledFolder.open({ path, classes: list });
    };
    await refuses(open('[{"id": 0, "name": "a"}, {"name": "b"}]'), 'entry 2 ("b") has no "id"');
    await refuses(open('[{"id": 1.5, "name": "a"}]'), "has the id 1.5");
    await refuses(open('[{"id": 0, "name": "a"}, {"id": 0, "name": "b"}]'), "the id 0 of entry 1");
    await refuses(open('[{"id": 0}]'), 'entry 1 has no "name"');
    await refuses(open("[1"), "is no valid JSON");
    await refuses(open("a\nb\na\n"), '"a" is there twice');
    await refuses(LabelledFolder.open({ path, classes: join(root, "no.txt") }), "no such file");
    // Whatever else would be read as other names, or under other numbers.
    await refuses(open(Buffer.from("café\nsky", "latin1")), list, "is not UTF-8");
    for (const mark of ["", "\ufeff"]) {
      await refuses(open(Buffer.from(`${mark}sky\napple`, "utf16le")), list, "is not UTF-8");
    }
    await refuses(open('{\n  "sky": 0,\n  "apple": 1\n}\n'), list, "is a JSON object");
    await refuses(open("{sky\napple\n"), list, "is no valid JSON");
    await refuses(open("sky\n\napple\n"), list, "line 2 of 3 is empty");
    await refuses(
      open('[{"id": 0, "name": "sky", "synonym": ["heaven"]}]'),
      'entry 1 ("sky") has an unknown field "synonym"; did you mean "synonyms"?',
    );
    await refuses(open('["sky", {"id": 1, "name": "apple"}]'), 'entry 1 has no "name"');
    const { names } = await open("\ufeffsky\r\napple\r\n\r\n");
    assert.deepEqual(names, ["sky", "apple"]);
    assert.deepEqual((await open('\ufeff["sky", "apple"]')).names, names);
  }));

const config = (path: string): FolderConfig => ({
  kind: "folder",
  path,
  classes: tinyClasses,
  ignoreLabel: 255,
  reduceZeroLabel: false,
  imageSuffix: "",
  labelSuffix: ".png",
  scale: [0.4, 2.5],
  flip: true,
  size: 32,
  maxSegments: 3,
});

Deno.test("folder batches: masks are shares of cells, what counts nowhere is in none, seeds decide", () =>
  withFolder(async (path) => {
    await writeTinyFolder(path);
    const data = await openFolderData(config(path), { validates: true, verify: true });
    const cells = 8 * 8;
    for (let seed = 0; seed < 20; seed++) {
      const batch = await data.batch(new Rng(seed), 3);
      assert.deepEqual(await data.batch(new Rng(seed), 3), batch);
      assert.ok(batch.images.every((x) => x >= 0 && x <= 1));
      for (let b = 0; b < 3; b++) {
        let segments = 0;
        const cover = new Float32Array(cells);
        for (let g = 0; g < 3; g++) {
          const slot = b * 3 + g;
          const row = batch.classes.subarray(slot * 3, slot * 3 + 3);
          const mask = batch.masks.subarray(slot * cells, (slot + 1) * cells);
          assert.equal(row.reduce((a, x) => a + x, 0), mask.some((x) => x > 0) ? 1 : 0);
          segments += row.reduce((a, x) => a + x, 0);
          mask.forEach((x, i) => cover[i]! += x);
        }
        assert.ok(segments >= 1);
        // All classes fit into the slots: together the masks cover what counts, and no more.
        const counts = batch.counts!.subarray(b * cells, (b + 1) * cells);
        cover.forEach((x, i) => assert.ok(Math.abs(x - counts[i]!) < 1e-6));
        // A pixel of a class has its colour: cells of one class alone show it.
        for (let g = 0; g < 3; g++) {
          const slot = b * 3 + g;
          const label = batch.classes.subarray(slot * 3, slot * 3 + 3).indexOf(1);
          if (label < 0) continue;
          const mask = batch.masks.subarray(slot * cells, (slot + 1) * cells);
          for (let y = 1; y < 7; y++) {
            for (let x = 1; x < 7; x++) {
              const around = [-9, -8, -7, -1, 0, 1, 7, 8, 9].map((d) => mask[8 * y + x + d]!);
              if (!around.every((share) => share > 1 - 1e-6)) continue;
              const at = (4 * y + 2) * 32 + 4 * x + 2;
              const rgb = [0, 1, 2].map((c) => batch.images[(3 * b + c) * 1024 + at]!);
              assert.equal(rgb.indexOf(Math.max(...rgb)), label);
            }
          }
        }
      }
    }
  }));

Deno.test("folder batches: without images to validate on, validation is refused", () =>
  withFolder(async (path) => {
    await writeTinyFolder(path, ["images", "annotations"], { train: 1 });
    await refuses(openFolderData(config(path), { validates: true, verify: false }), "validate on");
    const data = await openFolderData(config(path), { validates: false, verify: true });
    assert.equal(data.validationImages, 0);
  }));
