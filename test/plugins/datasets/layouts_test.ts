import assert from "node:assert/strict";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import type { Dataset } from "../../../lib/data/dataset.ts";
import { InputError, OptionError } from "../../../lib/errors.ts";
import { Rng } from "../../../lib/rng.ts";
import { datasetKinds, openDataset } from "../../../plugins/datasets/open_dataset.ts";
import { builtinVocabulary } from "../../../plugins/vocabularies/builtin_vocabularies.ts";
import {
  greyPng,
  greyTiff,
  type Truth,
  writeBytes,
  writeCocoPanoptic,
  writeJpeg,
  type WrittenLayout,
  writtenLayouts,
} from "./write_layouts.ts";

async function withFolder(body: (path: string) => Promise<void>): Promise<void> {
  const path = mkdtempSync(join(tmpdir(), "ovs-data-"));
  try {
    await body(path);
  } finally {
    rmSync(path, { recursive: true });
  }
}

const refuses = (promise: Promise<unknown>, ...parts: string[]) =>
  assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof InputError, String(error));
    for (const part of parts) assert.ok(error.message.includes(part), error.message);
    return true;
  });

const kindOf = (layout: string) => layout.split(" ")[0]!;

/** Draws truth that shows the first class, the last one and void, where there is room. */
function drawTruth(layout: WrittenLayout, seed: number, images: number): Truth[] {
  const rng = new Rng(seed);
  return Array.from({ length: images }, (_, i) => {
    const [width, height] = [1 + rng.integer(9), 1 + rng.integer(7)];
    const labels = Int32Array.from(
      { length: width * height },
      () => rng.integer(layout.classes + 1) - 1,
    );
    const edges = [layout.classes - 1, -1, 0];
    edges.slice(0, labels.length).forEach((label, at) => labels[at] = label);
    return { id: layout.id(i), width, height, labels };
  });
}

const samplesOf = async (dataset: Dataset) => {
  const samples = [];
  for (let i = 0; i < dataset.length; i++) samples.push(await dataset.read(i));
  return samples;
};

for (const [name, layout] of Object.entries(writtenLayouts)) {
  Deno.test(`${name}: label values come back as the classes that were written`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(),
        fc.integer({ min: 1, max: 4 }),
        (seed, images) =>
          withFolder(async (root) => {
            const truth = drawTruth(layout, seed, images);
            const path = await layout.write(root, truth);
            const dataset = await openDataset(kindOf(name), { path });
            assert.equal(dataset.classes.length, layout.classes);
            assert.equal(dataset.length, images);
            for (const [i, sample] of (await samplesOf(dataset)).entries()) {
              const { id, width, height, labels } = truth[i]!;
              assert.equal(sample.id, id);
              assert.equal(dataset.id(i), id);
              assert.deepEqual([sample.image.width, sample.image.height], [width, height]);
              assert.deepEqual(sample.labels, labels);
              assert.equal(sample.segments, undefined);
            }
          }),
      ),
      { numRuns: 6 },
    );
  });
}

Deno.test("every kind of data set is written by some test here", () => {
  const written = new Set([
    ...Object.keys(writtenLayouts).map(kindOf),
    "coco-panoptic",
    "folder",
    "emoji-scenes",
  ]);
  assert.deepEqual(new Set(datasetKinds.map(({ kind }) => kind)), written);
});

Deno.test("layouts: an image without labels, labels without an image and two sizes are refused", async () => {
  for (const [name, layout] of Object.entries(writtenLayouts)) {
    const truth = drawTruth(layout, 7, 2);
    const open = (path: string) => openDataset(kindOf(name), { path });
    await withFolder(async (root) => {
      const path = await layout.write(root, truth);
      const { files } = filesOf(root);
      const image = files.find((file) => /\.jpg$|_leftImg8bit\.png$/.test(file))!;
      const labels = files.filter((file) => /\.tif$|\.png$/.test(file) && !file.endsWith("t.png"))
        .find((file) => file !== image)!;
      for (const [missing, whose] of [[labels, "labels"], [image, "image"]] as const) {
        renameSync(missing, `${missing}.away`);
        // A benchmark lists its files: what is missing shows when it is read.
        const run = name === "benchmark" ? open(path).then(samplesOf) : open(path);
        const stem = missing.replace(/\.\w+$/, "");
        await refuses(run, stem, name === "benchmark" ? "no such file" : `has no ${whose}`);
        renameSync(`${missing}.away`, missing);
      }
      const { width, height } = truth[0]!;
      await writeJpeg(image, width + 1, height);
      await refuses(open(path).then(samplesOf), image, labels, `${width + 1}×${height}`);
    });
  }
});

function filesOf(root: string): { files: string[] } {
  const files: string[] = [];
  const visit = (folder: string) => {
    for (const entry of Deno.readDirSync(folder)) {
      const path = join(folder, entry.name);
      if (entry.isDirectory) visit(path);
      else files.push(path);
    }
  };
  visit(root);
  return { files: files.sort() };
}

Deno.test("layouts: a label that no class has is refused with its place", async () => {
  const spoil = async (
    kind: string,
    value: number,
    write: (values: number[]) => Promise<Uint8Array> | Uint8Array,
  ) => {
    const layout = writtenLayouts[kind]!;
    await withFolder(async (root) => {
      const truth = {
        id: layout.id(0),
        width: 3,
        height: 2,
        labels: new Int32Array(6),
      };
      const path = await layout.write(root, [truth]);
      const labels = filesOf(root).files.find((file) => /\.tif$|(?<!Img8bit)\.png$/.test(file))!;
      const first = kind === "cityscapes" ? 7 : 1;
      writeBytes(labels, await write([first, first, first, first, value, first]));
      const dataset = await openDataset(kind, { path });
      await refuses(dataset.read(0), labels, `label ${value} at row 1, column 1`);
    });
  };
  const grey = (values: number[]) => greyPng(3, 2, values, 8);
  await spoil("voc20", 21, grey);
  await spoil("voc21", 254, grey);
  await spoil("ade150", 151, grey);
  await spoil("ade150", 255, grey);
  await spoil("pc59", 59, grey);
  // 11 is COCO's "street sign", which no annotation has.
  await spoil("coco-stuff171", 11, grey);
  await spoil("cityscapes", 34, grey);
  await spoil("ade847", 847, (values) => greyTiff(3, 2, values));
  await spoil("pc459", 65534, (values) => greyTiff(3, 2, values));
  await spoil("benchmark", 300, (values) => greyPng(3, 2, values, 16));
});

Deno.test("layouts: 8-bit labels are refused where 16 bits are meant", async () => {
  for (const kind of ["ade847", "pc459", "benchmark"]) {
    const layout = writtenLayouts[kind]!;
    await withFolder(async (root) => {
      const truth = { id: layout.id(0), width: 2, height: 2, labels: new Int32Array(4) };
      const path = await layout.write(root, [truth]);
      const labels = filesOf(root).files.find((file) => /\.tif$|\.png$/.test(file))!;
      writeBytes(labels, greyPng(2, 2, [1, 2, 3, 4], 8));
      const dataset = await openDataset(kind, { path });
      await refuses(dataset.read(0), labels, "has 8 bits per pixel", "have 16");
    });
  }
});

Deno.test("label TIFFs: damaged bytes are refused by name, and never read as something else", async () => {
  const { decodeLabelFile } = await import("../../../plugins/datasets/label_file.ts");
  const values = Array.from({ length: 60 }, (_, i) => i * 1000);
  for (const compression of ["none", "lzw", "deflate", "packbits"] as const) {
    const whole = await greyTiff(10, 6, values, compression);
    const map = await decodeLabelFile(whole, "a.tif");
    assert.deepEqual([map.depth, ...map.values], [16, ...values]);
    for (let length = 0; length < whole.length; length += 3) {
      const read = decodeLabelFile(whole.subarray(0, length), "a.tif");
      await read.then(({ values }) => assert.deepEqual(values, map.values), (error) => {
        assert.ok(error instanceof InputError && error.message.startsWith("a.tif: "), error);
      });
    }
  }
});

Deno.test("folders: images and labels are paired, and class lists may give synonyms", async () => {
  await withFolder(async (root) => {
    for (const i of [0, 1]) {
      await writeJpeg(join(root, `images/val/a/${i}.jpg`), 3, 1);
      writeBytes(join(root, `annotations/val/a/${i}.png`), greyPng(3, 1, [i, 7, 255], 8));
    }
    const list = join(root, "classes.json");
    const write = (entries: unknown) => writeFileSync(list, JSON.stringify(entries));
    const options = { path: root, classes: list };
    const entry = { id: 7, name: "cat", synonyms: ["kitty", "cat"] };
    write([{ id: 0, name: "dog" }, entry, { id: 1, name: "cow" }]);
    const folder = await openDataset("folder", options);
    assert.deepEqual(folder.classes.map(({ synonyms }) => synonyms), [
      ["dog"],
      ["cat", "kitty"],
      ["cow"],
    ]);
    assert.deepEqual((await samplesOf(folder)).map(({ id, labels }) => [id, ...labels]), [
      ["a/0", 0, 1, -1],
      ["a/1", 2, 1, -1],
    ]);

    write([{ id: 0, name: "dog" }, { name: "cat" }, { id: 1, name: "cow" }]);
    await refuses(openDataset("folder", options), list, '("cat") has no "id"');
    write([{ id: 0, name: "dog" }, { id: 7, name: "cat", synonyms: "kitty" }]);
    await refuses(openDataset("folder", options), list, '("cat") has synonyms');
    // A class that is missing shows when a pixel has its value.
    write([{ id: 0, name: "dog" }, { id: 7, name: "cat" }]);
    await refuses(openDataset("folder", options).then(samplesOf), "1.png", "label 1 at row 0");

    // With 256 classes the last one has the label that counts nowhere by default, and from there
    // on 8 bits are too few.
    const many = Array.from({ length: 257 }, (_, c) => `class ${c}`);
    write(many);
    await refuses(openDataset("folder", options), '"class 255"', "label 255", "--ignore-label");
    const read = openDataset("folder", { ...options, ignoreLabel: 65535 }).then(samplesOf);
    await refuses(read, "0.png", "8 bits per pixel", "256");
    write(many.slice(0, 255));
    await openDataset("folder", options).then(samplesOf);

    write(["dog"]);
    const [image, label] = [
      join(root, "images/val/a/1.jpg"),
      join(root, "annotations/val/a/1.png"),
    ];
    renameSync(image, `${image}.away`);
    await refuses(openDataset("folder", options), label, "has no image", image);
    renameSync(`${image}.away`, image);
    renameSync(label, `${label}.away`);
    await refuses(openDataset("folder", options), image, "has no labels", label);
    renameSync(`${label}.away`, label);
    const twin = join(root, "images/val/a/1.png");
    copyFileSync(image, twin);
    await refuses(openDataset("folder", options), image, `there a second time, as ${twin}`);
    rmSync(twin);

    // A measurement on val has nothing to do with train.
    await writeJpeg(join(root, "images/train/0.jpg"), 3, 1);
    assert.equal((await openDataset("folder", options)).length, 2);
    const train = { ...options, split: "train" };
    await refuses(openDataset("folder", train), join(root, "annotations/train"), "no such folder");
    mkdirSync(join(root, "annotations/train"));
    assert.equal((await openDataset("folder", options)).length, 2);
    await refuses(openDataset("folder", train), "train/0.jpg", "has no labels");
    await refuses(openDataset("folder", { ...options, split: "test" }), '"test"', "val, train");
  });
});

Deno.test("links to files and folders count as what they lead to; wrong ones are refused", async () => {
  const cityscapes = writtenLayouts["cityscapes"]!;
  const kinds = [
    {
      kind: "cityscapes",
      images: "leftImg8bit/val",
      labels: "gtFine/val",
      city: "munster",
      write: (root: string) => cityscapes.write(root, drawTruth(cityscapes, 5, 2)),
    },
    {
      kind: "folder",
      images: "images/val",
      labels: "annotations/val",
      city: "a",
      async write(root: string) {
        for (const i of [0, 1]) {
          await writeJpeg(join(root, `images/val/a/${i}.jpg`), 3, 1);
          writeBytes(join(root, `annotations/val/a/${i}.png`), greyPng(3, 1, [0, 0, 0], 8));
        }
      },
    },
  ];
  for (const { kind, images, labels, city, write } of kinds) {
    await withFolder(async (root) => {
      await write(root);
      const open = () =>
        openDataset(kind, { path: root, ...(kind === "folder" ? { classes: ["sky"] } : {}) });
      const whole = await samplesOf(await open());
      assert.equal(whole.length, 2);

      // The files elsewhere, each behind a link, and the folder that held them behind another.
      for (const folder of [images, labels]) {
        const [here, away] = [join(root, folder, city), join(root, "away", folder)];
        mkdirSync(join(away, "links"), { recursive: true });
        renameSync(here, join(away, "files"));
        for (const file of readdirSync(join(away, "files"))) {
          symlinkSync(`../files/${file}`, join(away, "links", file));
        }
        symlinkSync(join(away, "links"), here);
      }
      assert.deepEqual(await samplesOf(await open()), whole);

      for (
        const [target, message] of [
          ["nowhere", "is a link to nowhere, which isn't there"],
          [".", "leads back to"],
          ["wrong", "is a link to wrong, which can't be read"],
          [root, "leads back to"],
        ] as const
      ) {
        const link = join(root, images, "wrong");
        symlinkSync(target, link);
        await refuses(open(), link, message);
        rmSync(link);
      }
      // What an editor or the system hides is no matter.
      symlinkSync("nowhere", join(root, images, ".lock"));
      assert.equal((await open()).length, 2);
    });
  }
});

Deno.test("coco-panoptic: ids, classes, crowds and void come back as they were written", async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(), (seed) =>
      withFolder(async (root) => {
        const rng = new Rng(seed);
        const categories = [1, 44, 187];
        const samples = ["000000000001", "000000000002"].map((id) => {
          const [width, height] = [2 + rng.integer(6), 2 + rng.integer(6)];
          const segments = [...new Set([1, 0xffffff, rng.integer(2 ** 24 - 1) + 1])].map((id) => ({
            id,
            category: rng.pick(categories),
            crowd: rng.integer(3) === 0,
          }));
          const choice = [0, ...segments.map(({ id }) => id)];
          const ids = Int32Array.from({ length: width * height }, () => rng.pick(choice));
          // Every segment has a pixel, and so has void.
          choice.forEach((id, at) => ids[at] = id);
          return { id, width, height, ids, segments };
        });
        await writeCocoPanoptic(root, samples);
        const dataset = await openDataset("coco-panoptic", { path: root });
        assert.ok(dataset.hasSegments);
        assert.deepEqual(dataset.classes.map(({ isThing }) => isThing), [true, true, false]);
        for (const [i, { id, labels, segments: read }] of (await samplesOf(dataset)).entries()) {
          const { ids, segments } = samples[i]!;
          assert.equal(id, samples[i]!.id);
          assert.deepEqual(read!.ids, ids);
          const label = new Map(segments.map((s) => [s.id, categories.indexOf(s.category)]));
          assert.deepEqual([...labels], [...ids].map((id) => id === 0 ? -1 : label.get(id)));
          assert.deepEqual(
            read!.segments,
            segments.map(({ id, category, crowd }) => ({
              id,
              label: label.get(id),
              isThing: category !== 187,
              isCrowd: crowd,
              area: ids.filter((other) => other === id).length,
            })),
          );
        }
      })),
    { numRuns: 6 },
  );
});

Deno.test("coco-panoptic: whatever is wrong is refused by name", async () => {
  const sample = {
    id: "000000000001",
    width: 2,
    height: 1,
    ids: Int32Array.from([5, 70000]),
    segments: [{ id: 5, category: 1 }, { id: 70000, category: 187 }],
  };
  const json = "panoptic_val2017.json";
  // deno-lint-ignore no-explicit-any
  const cases: [(document: any) => void, ...string[]][] = [
    [(d) => delete d.categories[1].id, json, "categories[1].id is missing"],
    [(d) => d.categories[1].id = 1, json, "two categories have the id 1"],
    [(d) => d.categories[1].name = "person", json, 'two categories are called "person"'],
    [
      (d) => d.annotations[0].segments_info[1].category_id = 9,
      json,
      "segment 70000",
      "category 9",
    ],
    [(d) => d.annotations[0].segments_info.pop(), "000000000001.png", "segment 70000 at row 0"],
    [
      (d) => d.annotations[0].segments_info.push({ id: 6, category_id: 1 }),
      "000000000001.png",
      "no pixel of segment 6",
    ],
    [
      (d) => d.annotations[0].segments_info.push({ id: 5, category_id: 44 }),
      "000000000001.png",
      "segment 5 twice",
    ],
    [(d) => d.annotations = [], json, "000000000001.jpg has no annotation"],
    [(d) => d.annotations[0].image_id = 3, json, "of no image"],
    [(d) => d.annotations.push(d.annotations[0]), json, "two annotations"],
    [(d) => d.images[0].file_name = "b.jpg", "has no image", "b.jpg"],
    [(d) => d.annotations[0].file_name = "b.png", "has no labels", "b.png"],
    [(d) => delete d.images, json, "images is missing"],
  ];
  for (const [change, ...parts] of cases) {
    await withFolder(async (root) => {
      await writeCocoPanoptic(root, [sample], change);
      await refuses(openDataset("coco-panoptic", { path: root }).then(samplesOf), ...parts);
    });
  }
  await withFolder(async (root) => {
    await writeCocoPanoptic(root, [sample]);
    const png = join(root, "annotations/panoptic_val2017/000000000001.png");
    const open = () => openDataset("coco-panoptic", { path: root }).then(samplesOf);
    const whole = readFileSync(png);
    writeFileSync(png, greyPng(2, 1, [5, 5], 8));
    await refuses(open(), png, "1 channels of 8 bits");
    writeFileSync(png, whole.subarray(0, 50));
    await refuses(open(), png, "cut short");
    writeFileSync(join(root, "annotations", json), "{");
    await refuses(open(), json, "is no valid JSON");
  });
});

Deno.test("benchmarks: a document that is none is refused by its field", async () => {
  await withFolder(async (root) => {
    const truth = drawTruth(writtenLayouts["benchmark"]!, 1, 2);
    await writtenLayouts["benchmark"]!.write(root, truth);
    const file = join(root, "benchmark.json");
    const good = readFileSync(file, "utf8");
    assert.equal((await openDataset("benchmark", { path: file })).othersIndex, 299);
    // deno-lint-ignore no-explicit-any
    const cases: [(document: any) => void, string][] = [
      [(d) => d.version = 2, "version is 2"],
      [(d) => d.format = "coco", 'format is "coco"'],
      [(d) => d.colour = 1, "there is no field colour"],
      [(d) => delete d.classes[4].name, "classes[4].name is missing"],
      [(d) => d.classes[4].name = "class 3", 'classes 3 and 4 are both called "class 3"'],
      [(d) => d.classes[4].synonyms = ["b"], 'classes[4].synonyms begins with "b"'],
      [(d) => d.othersIndex = 300, "othersIndex is 300"],
      [(d) => d.samples[1].id = d.samples[0].id, "samples 0 and 1 are both called"],
      [(d) => d.samples[1].image = "/etc/a.png", "samples[1].image"],
    ];
    for (const [change, part] of cases) {
      const document = JSON.parse(good);
      change(document);
      writeFileSync(file, JSON.stringify(document));
      await refuses(openDataset("benchmark", { path: root }), file, part);
    }
    rmSync(file);
    await refuses(openDataset("benchmark", { path: root }), file, "no such file");
  });
});

Deno.test("data sets: lists, folders, splits and options that can't be right are refused", async () => {
  await withFolder(async (root) => {
    await refuses(openDataset("ade150", { path: join(root, "none") }), "none", "no such folder");
    await refuses(
      openDataset("ade150", { path: root }),
      root,
      "images/validation/ and annotations/validation/",
    );
    await refuses(openDataset("voc21", { path: root, split: "test" }), '"test"', "trainval");
    // Only one of the trees of PASCAL Context has such a list.
    await assert.rejects(
      openDataset("pc59", { path: root, split: "trainval" }),
      /there must be JPEGImages\/ and SegmentationClassContext\/ and ImageSets\/[^,]*$/,
    );
    const layout = writtenLayouts["voc21"]!;
    await layout.write(root, drawTruth(layout, 3, 1));
    const list = join(root, "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt");
    const id = layout.id(0);
    writeFileSync(list, `${id}\n\n${id}\n`);
    await refuses(openDataset("voc21", { path: root }), list, `lists ${id} twice`);
    writeFileSync(list, "\n");
    await refuses(openDataset("voc21", { path: root }), list, "lists no image");
    writeFileSync(list, `${id}\nghost\n`);
    await refuses(openDataset("voc21", { path: root }), list, "ghost has no image");
    rmSync(list);
    await refuses(openDataset("voc21", { path: root }), list, "no such file");
  });
  const wrong: [string, Parameters<typeof openDataset>[1], string][] = [
    ["voc22", {}, 'did you mean "voc20"'],
    ["voc21", {}, "path is missing"],
    ["folder", { path: "a" }, "classes is missing"],
    ["voc21", { path: "a", scenes: 3 }, "takes no scenes; it takes path, split"],
    ["benchmark", { path: "a", split: "val" }, "takes no split; it takes path"],
  ];
  for (const [kind, options, part] of wrong) {
    await assert.rejects(
      openDataset(kind, options),
      (error: unknown) => error instanceof OptionError && error.message.includes(part),
      part,
    );
  }
});

Deno.test("data sets: the fingerprint tells images and classes apart, and folders don't matter", async () => {
  const prints = new Map<string, string>();
  for (const name of ["voc20", "voc21", "ade150", "ade847", "benchmark"]) {
    const layout = writtenLayouts[name]!;
    for (const images of [1, 2]) {
      await withFolder(async (root) => {
        const path = await layout.write(root, drawTruth(layout, images, images));
        const print = await (await openDataset(name, { path })).fingerprint();
        assert.match(print, /^[0-9a-f]{64}$/);
        prints.set(`${name}: ${images}`, print);
        // Elsewhere, with other pixels: the same data set as far as scores go together.
        await withFolder(async (elsewhere) => {
          const path = await layout.write(elsewhere, drawTruth(layout, 99, images));
          assert.equal(await (await openDataset(name, { path })).fingerprint(), print);
        });
      });
    }
  }
  assert.equal(new Set(prints.values()).size, prints.size);
});

Deno.test("data sets: an aborted signal ends reading, and indices outside are refused", async () => {
  await withFolder(async (root) => {
    const layout = writtenLayouts["ade150"]!;
    const dataset = await openDataset("ade150", {
      path: await layout.write(root, drawTruth(layout, 1, 1)),
    });
    const signal = AbortSignal.abort(new Error("enough"));
    await assert.rejects(dataset.read(0, { signal }), /enough/);
    for (const index of [-1, 1, 0.5]) {
      await assert.rejects(dataset.read(index), /there is no image/);
      assert.throws(() => dataset.id(index), /it has 1/);
    }
  });
});

Deno.test("vocabularies: names are unique, ids too, synonyms begin with the name", () => {
  const counts = {
    voc20: 20,
    voc21: 21,
    ade150: 150,
    ade847: 847,
    pc59: 59,
    pc459: 459,
    "coco-stuff171": 171,
    "coco-panoptic133": 133,
    cityscapes19: 19,
  };
  for (const [name, count] of Object.entries(counts)) {
    const classes = builtinVocabulary(name);
    assert.equal(classes.length, count, name);
    assert.equal(new Set(classes.map((c) => c.name)).size, count, name);
    assert.equal(new Set(classes.map((c) => c.id)).size, count, name);
    for (const { name, synonyms } of classes) {
      assert.equal(synonyms[0], name);
      assert.equal(new Set(synonyms).size, synonyms.length, name);
      assert.ok(synonyms.every((text) => text === text.trim() && text !== ""), name);
    }
  }
  const things = (name: string) => builtinVocabulary(name).filter(({ isThing }) => isThing).length;
  assert.deepEqual(
    ["voc21", "ade150", "coco-stuff171", "coco-panoptic133", "cityscapes19"].map(things),
    [20, 100, 80, 80, 8],
  );
  assert.throws(() => builtinVocabulary("ade15"), /did you mean "ade150"/);
  assert.throws(() => builtinVocabulary("toString"), InputError);
});
