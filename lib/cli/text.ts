/**
 * Text on a terminal: how wide it is, and what must not reach it.
 *
 * @module
 */

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

// Scripts whose characters take two cells (Unicode Standard Annex 11, "wide" and "fullwidth").
const wide = new RegExp(
  "\\p{Emoji_Presentation}|\\ufe0f|" +
    "[\\u1100-\\u115f\\u2e80-\\u303e\\u3041-\\u33ff\\u3400-\\u4dbf\\u4e00-\\u9fff\\ua000-\\ua4cf" +
    "\\uac00-\\ud7a3\\uf900-\\ufaff\\ufe30-\\ufe6f\\uff00-\\uff60\\uffe0-\\uffe6" +
    "\\u{20000}-\\u{3fffd}]",
  "u",
);

/** Cells that a text takes on a terminal: Chinese and emoji take two each. */
export function textWidth(text: string): number {
  let width = 0;
  for (const { segment } of graphemes.segment(text)) {
    width += wide.test(segment) ? 2 : /^[\p{Mn}\p{Cf}]*$/u.test(segment) ? 0 : 1;
  }
  return width;
}

/** A text that can't steer the terminal: control characters become `�`. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, "\ufffd");
}

/** A text of at most `width` cells, shortened with an ellipsis where it has to be. */
export function shorten(text: string, width: number): string {
  if (textWidth(text) <= width) return text;
  let short = "";
  let used = 0;
  for (const { segment } of graphemes.segment(text)) {
    used += textWidth(segment);
    if (used > width - 1) break;
    short += segment;
  }
  return short + "…";
}

/** Breaks a text between words into lines of at most `width` characters. */
export function wrap(text: string, width: number): string[] {
  const lines = [""];
  for (const word of text.split(/\s+/)) {
    const line = lines[lines.length - 1]!;
    if (line !== "" && line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
  }
  return lines;
}
