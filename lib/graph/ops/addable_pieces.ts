/**
 * How sums over repeated indices are kept whole on several threads.
 *
 * @module
 */

/**
 * Most elements that one `ScatterND` adds. ONNX Runtime's CPU engine shares larger ones out among
 * threads, and where two of them add to the same place at once, a sum is lost
 * (microsoft/onnxruntime#18048). It does from 210,000 elements on.
 */
const addedByOneThread = 2 ** 17;

/** The sizes of the pieces into which `count` updates of `width` elements each are to be cut. */
export function addablePieces(count: number, width: number): number[] {
  const most = Math.max(1, Math.floor(addedByOneThread / Math.max(1, width)));
  const pieces = Math.max(1, Math.ceil(count / most));
  const end = (i: number) => Math.floor(i * count / pieces);
  return Array.from({ length: pieces }, (_, i) => end(i + 1) - end(i));
}
