/**
 * Rows of embeddings in host memory.
 *
 * @module
 */
import { float32, type HostTensor, type Tensor } from "../../lib/tensor.ts";

/**
 * L2-normalises rows; a row of zeros stays as it is.
 *
 * @param tensor N × D.
 * @returns A new N × D tensor in host memory.
 */
export async function normalizedRows(
  tensor: Tensor<"float32">,
): Promise<HostTensor<"float32">> {
  const data = await tensor.read();
  const [rows, columns] = tensor.shape as readonly [number, number];
  const result = float32([rows, columns]);
  for (let n = 0; n < rows; n++) {
    const at = n * columns;
    // By the largest element first, so that huge and tiny rows neither overflow nor vanish.
    let scale = 0;
    for (let d = 0; d < columns; d++) scale = Math.max(scale, Math.abs(data[at + d]!));
    if (scale === 0) continue;
    let sum = 0;
    for (let d = 0; d < columns; d++) {
      const value = data[at + d]! / scale;
      sum += value * value;
    }
    const norm = Math.sqrt(sum);
    for (let d = 0; d < columns; d++) result.data[at + d] = data[at + d]! / scale / norm;
  }
  return result;
}
