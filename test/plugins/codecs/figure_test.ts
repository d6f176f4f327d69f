import assert from "node:assert/strict";
import sharp from "sharp";
import { InputError } from "../../../lib/errors.ts";
import { Image } from "../../../lib/image/image.ts";
import { palette } from "../../../lib/image/palette.ts";
import { type Mark, renderFigure } from "../../../plugins/codecs/figure.ts";
import { outlineText } from "../../../plugins/codecs/text_outlines.ts";

Deno.test("text outlines: Latin, Greek, Cyrillic, Chinese and emoji; null for what no font has", async () => {
  for (const text of ["slice of pizza", "żółć café", "Ωμέγα", "собака", "狗", "🐕 dog", "👨‍👩‍👧"]) {
    const outline = await outlineText(text, 20);
    assert.ok(outline !== null && outline.width > 5, text);
  }
  for (const text of ["한국어", "مرحبا", "dog \u{10ffff}", "\ud800"]) {
    assert.equal(await outlineText(text, 20), null, text);
  }
  const [one, two] = [await outlineText("dog", 20), await outlineText("dog", 40)];
  assert.ok(Math.abs(two!.width - 2 * one!.width) < 1e-6);
  assert.equal((await outlineText("", 20))!.width, 0);
});

Deno.test("text outlines: every word is whole at every size", async () => {
  const path = /^(?:M-?[\d.]+ -?[\d.]+|L-?[\d.]+ -?[\d.]+|[QC](?:-?[\d.]+ ?){4,6}|Z)+$/;
  for (const text of ["briefcase", "bacon", "bicycle", "banana", "cow", "狗"]) {
    for (let size = 10; size < 110; size++) {
      const { svg } = (await outlineText(text, size / 3 + 10))!;
      assert.match(/^<path d="(.*)"\/>$/.exec(svg)?.[1] ?? "", path, `${text} at ${size / 3 + 10}`);
    }
  }
});

Deno.test("figure: panels keep their pixels and their size, the legend lies below", async () => {
  const image = new Image(300, 40, Uint8Array.from({ length: 36000 }, (_, i) => (i * 7) % 256));
  const colours = palette(60);
  const legend = ["dog", "狗", "한국어", "x".repeat(500), "<&>\"'"].map((label, index) => ({
    label,
    index,
    colour: colours[index]!,
    note: "1 %",
  }));
  const bytes = await renderFigure({ panels: [{ image }], legend });
  const { data, info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true });
  assert.deepEqual([info.width, info.channels], [300, 3]);
  assert.ok(info.height > 40);
  for (let i = 0; i < 36000; i++) if (data[i] !== image.rgb[i]) assert.fail(`pixel ${i}`);
  // Every swatch is there.
  const found = new Set<string>();
  for (let i = 36000; i < data.length; i += 3) found.add(data.subarray(i, i + 3).join());
  for (const { colour } of legend) assert.ok(found.has(colour.join()), colour.join());
});

Deno.test("figure: a small image, several panels, no class, more classes than fit", async () => {
  const dot = new Image(1, 1, new Uint8Array([9, 8, 7]));
  const colours = palette(100);
  const legend = colours.map((colour, index) => ({ label: `c${index}`, index, colour }));
  for (const entries of [[], legend]) {
    const bytes = await renderFigure({
      panels: [{ image: dot, title: "scene" }, { image: dot, title: "truth" }],
      legend: entries,
    });
    const { width, height } = await sharp(bytes).metadata();
    assert.ok(width >= 280 && height > 20 && height < 2000);
  }
  await assert.rejects(renderFigure({ panels: [], legend: [] }), InputError);
  const panels = [{ image: dot }, { image: new Image(2, 1) }];
  await assert.rejects(renderFigure({ panels, legend: [] }), InputError);
});

Deno.test("figure: names inside a panel, where they fit and cover no other", async () => {
  const image = new Image(200, 100, new Uint8Array(60000).fill(120));
  const draw = async (marks: Mark[]) => {
    const bytes = await renderFigure({ panels: [{ image, marks }], legend: [] });
    const { data } = await sharp(bytes).extract({ left: 40, top: 0, width: 200, height: 100 }).raw()
      .toBuffer({ resolveWithObject: true });
    const touched = Array.from({ length: 20000 }, (_, i) => i)
      .filter((i) => data.subarray(3 * i, 3 * i + 3).some((value) => value !== 120));
    return {
      left: Math.min(...touched.map((i) => i % 200)),
      right: Math.max(...touched.map((i) => i % 200)),
      top: Math.min(...touched.map((i) => Math.floor(i / 200))),
      bottom: Math.max(...touched.map((i) => Math.floor(i / 200))),
      touched: touched.length,
    };
  };
  const dog = { x: 100, y: 50, room: 30, label: "dog", index: 3 };
  const one = await draw([dog]);
  assert.ok(one.touched > 50);
  assert.ok(Math.abs((one.left + one.right) / 2 - 100) < 3);
  assert.ok(Math.abs((one.top + one.bottom) / 2 - 50) < 5);
  // Too little room, in the way of a name that is there, wider than the panel.
  for (
    const hidden of [
      { ...dog, x: 20, y: 20, room: 2 },
      { ...dog, x: 104, y: 52 },
      { ...dog, y: 10, label: "dog ".repeat(40) },
    ]
  ) assert.deepEqual(await draw([dog, hidden]), one);
  // At the border it moves inside; a script without a font shows its number.
  assert.ok((await draw([{ ...dog, x: 0, y: 99 }])).touched > 0.9 * one.touched);
  assert.deepEqual(
    await draw([{ ...dog, label: "한국어" }]),
    await draw([{ ...dog, label: "#3" }]),
  );
});
