/**
 * Counts what crosses between host and device, whoever causes it: kernels or ONNX Runtime.
 *
 * @module
 */

/** Bytes that were uploaded to a device's buffer, by one call. */
export interface Upload {
  /** The buffer's label. */
  readonly label: string;
  /** Whether it can only hold a kernel's parameters. */
  readonly uniform: boolean;
  /** How many bytes. */
  readonly bytes: number;
}

/** What crossed while a task ran. */
export interface Transfers {
  /** Buffers that were mapped for reading, with their sizes. */
  readonly readBacks: number[];
  /** Writes to buffers, by the queue or at their creation. */
  readonly uploads: Upload[];
}

const uniformUsage = 0x40;
const mapRead = 1;

/** Counts read-backs and uploads on a device while a task runs. */
export async function countTransfers(
  gpu: GPUDevice,
  task: () => Promise<unknown>,
): Promise<Transfers> {
  const found: Transfers = { readBacks: [], uploads: [] };
  const { createBuffer } = gpu;
  const { queue } = gpu;
  const { writeBuffer } = queue;
  const upload = ({ label, usage }: GPUBuffer, bytes: number) =>
    found.uploads.push({ label, uniform: (usage & uniformUsage) !== 0, bytes });
  gpu.createBuffer = (descriptor) => {
    const buffer = createBuffer.call(gpu, descriptor);
    if (descriptor.mappedAtCreation) upload(buffer, descriptor.size);
    const { mapAsync } = buffer;
    buffer.mapAsync = (mode, ...range) => {
      if (mode === mapRead) found.readBacks.push(buffer.size);
      return mapAsync.call(buffer, mode, ...range);
    };
    return buffer;
  };
  queue.writeBuffer = (buffer, offset, data, ...range) => {
    upload(buffer, range[1] ?? data.byteLength - (range[0] ?? 0));
    return writeBuffer.call(queue, buffer, offset, data as BufferSource, ...range);
  };
  try {
    await task();
  } finally {
    gpu.createBuffer = createBuffer;
    queue.writeBuffer = writeBuffer;
  }
  return found;
}

/** How many buffers were mapped for reading while a task ran. */
export async function countReadBacks(
  gpu: GPUDevice,
  task: () => Promise<unknown>,
): Promise<number> {
  return (await countTransfers(gpu, task)).readBacks.length;
}
