/**
 * Both outputs of GFA as one, on WebGPU.
 *
 * @module
 */
import { CommandList, f32, u32 } from "../dispatch/command_list.ts";
import { KernelContext } from "../dispatch/context.ts";
import type { GpuTensor } from "../dispatch/gpu_tensor.ts";
import { emptyArea } from "../mask_pooling/contract.ts";
import joinOutputsWgsl from "./join_outputs.wgsl" with { type: "text" };

/**
 * Joins the two embeddings of each mask, `share · F_C∞[n] + (1 − share) · F_Q∞[n]`; that of a mask
 * without pixels is F_Q∞[n].
 *
 * @param clip F_C∞, N×D on the device.
 * @param query F_Q∞, N×D on the device, which is written over.
 * @param areas N areas of the masks on the device.
 * @param share Of F_C∞, from 0 to 1.
 * @throws {DeviceLostError} If the device has gone away.
 */
export async function gpuJoinOutputs(
  clip: GpuTensor<"float32">,
  query: GpuTensor<"float32">,
  areas: GpuTensor<"float32">,
  share: number,
): Promise<void> {
  const context = KernelContext.of(query.gpu);
  const [rows, columns] = query.shape as readonly [number, number];
  const pipeline = await context.pipeline("gfa/join_outputs", joinOutputsWgsl);
  await context.guard("gfa: joining the outputs", () => {
    const list = new CommandList(context);
    const params = [u32(rows), u32(columns), f32(share), f32(emptyArea)];
    list.dispatch(pipeline, rows, params, [clip.buffer, areas.buffer, query.buffer]);
    list.submit();
  });
}
