/**
 * Tensors under another shape, without a copy.
 *
 * @module
 */
import { ShapeError } from "../errors.ts";
import { type DType, formatShape, HostTensor, sizeOf, type Tensor } from "../tensor.ts";

/**
 * The same elements under another shape, such as with the batch axis of a network left out. The
 * result takes the place of `tensor`: dispose of the result and no longer of `tensor`.
 *
 * @param tensor A tensor in host memory or in a WebGPU buffer.
 * @param shape Sizes with the same product.
 * @throws {ShapeError} If the shape holds another number of elements.
 */
export function reshape<T extends DType>(tensor: Tensor<T>, shape: readonly number[]): Tensor<T> {
  return viewed(tensor, shape, () => tensor.dispose());
}

/**
 * Lends a tensor under another shape to something that only reads it. Dispose of the loan after
 * use; `tensor` stays as it is.
 *
 * @param tensor A tensor in host memory or in a WebGPU buffer.
 * @param shape Sizes with the same product.
 * @throws {ShapeError} If the shape holds another number of elements.
 */
export function lend<T extends DType>(tensor: Tensor<T>, shape: readonly number[]): Tensor<T> {
  return viewed(tensor, shape, () => {});
}

/** A tensor that knows how to share its device memory. */
interface Viewable<T extends DType> extends Tensor<T> {
  view(shape: readonly number[], release: () => void): Tensor<T>;
}

function isViewable<T extends DType>(tensor: Tensor<T>): tensor is Viewable<T> {
  return "view" in tensor;
}

function viewed<T extends DType>(
  tensor: Tensor<T>,
  shape: readonly number[],
  free: () => void,
): Tensor<T> {
  if (sizeOf(shape) !== sizeOf(tensor.shape)) {
    throw new ShapeError(
      `a tensor of shape ${formatShape(tensor.shape)} can't be read as ${formatShape(shape)}`,
    );
  }
  if (tensor instanceof HostTensor) return new HostTensor(tensor.dtype, shape, tensor.data);
  if (isViewable(tensor)) return tensor.view(shape, free);
  return {
    dtype: tensor.dtype,
    shape,
    location: tensor.location,
    read: () => tensor.read(),
    dispose: free,
  };
}
