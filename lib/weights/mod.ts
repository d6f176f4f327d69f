/**
 * Weights of networks: safetensors, PyTorch checkpoints and ONNX files, read by random access and
 * without executing anything in them; written as safetensors and ONNX; and brought under this
 * project's names.
 *
 * @module
 */
export { blobSource, type ByteSource, bytesSource } from "./byte_source.ts";
export {
  bytesPerElement,
  type ElementArray,
  type ElementArrayOf,
  type ElementType,
  toFloat32,
  type WeightEntry,
  type WeightFile,
  type WeightTensor,
} from "./weight_file.ts";
export { openWeights, type OpenWeightsOptions } from "./open_weights.ts";
export {
  openSafetensors,
  type SafetensorsOptions,
  safetensorsPieces,
  writeSafetensors,
} from "./safetensors.ts";
export {
  openSharded,
  type ShardedWeights,
  type ShardOptions,
  writeShardedSafetensors,
} from "./sharded.ts";
export {
  InertObject,
  openTorchCheckpoint,
  type TorchCheckpoint,
  type TorchOptions,
  TorchTensor,
} from "./torch_checkpoint.ts";
export { PickleGlobal, type PickleRules, type PickleValue, unpickle } from "./pickle.ts";
export * from "./onnx_model.ts";
export { graphFromOnnx } from "./onnx_graph.ts";
export { type OnnxParts, writeOnnx, type WriteOnnxOptions } from "./write_onnx.ts";
export {
  formatWeightReport,
  MappedWeights,
  mapWeights,
  type WantedTensor,
  type WeightReport,
  type WeightRule,
} from "./map_weights.ts";
