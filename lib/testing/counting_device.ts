/**
 * A device that counts what is taken from it and not given back.
 *
 * @module
 */
import { DeviceError } from "../errors.ts";
import type { Device, Session } from "../runtime.ts";

/** A device for stages that compute in TypeScript alone: its engine loads nothing. */
export function hostDevice(): Device {
  return {
    kind: "cpu",
    description: "host memory alone",
    fallbackReason: null,
    engine: {
      name: "none",
      kind: "cpu",
      load: () =>
        Promise.reject(
          new DeviceError(
            "the laws were given no device; pass one, as in " +
              '{ device: await acquireDevice("cpu") }',
          ),
        ),
    },
    gpu: null,
    assertAlive() {},
    dispose: () => Promise.resolve(),
  };
}

/** What {@linkcode countDevice} returns. */
export interface CountingDevice {
  /** The device to use. */
  readonly device: Device;
  /** Sessions that are loaded and not disposed of. */
  sessions(): number;
  /** GPU buffers that were made and not destroyed. */
  buffers(): number;
  /** Stops counting. */
  restore(): void;
}

/** Counts the sessions and GPU buffers that are taken from a device from now on. */
export function countDevice(device: Device): CountingDevice {
  const sessions = new Set<Session>();
  const buffers = new Set<GPUBuffer>();
  const { gpu, engine } = device;
  if (gpu) {
    // On the object itself, in front of the prototype's method: everybody who holds the device
    // goes through it.
    gpu.createBuffer = (descriptor) => {
      const buffer = Object.getPrototypeOf(gpu).createBuffer.call(gpu, descriptor) as GPUBuffer;
      buffers.add(buffer);
      buffer.destroy = () => {
        buffers.delete(buffer);
        Object.getPrototypeOf(buffer).destroy.call(buffer);
      };
      return buffer;
    };
  }
  return {
    device: {
      kind: device.kind,
      description: device.description,
      fallbackReason: device.fallbackReason,
      gpu,
      assertAlive: () => device.assertAlive(),
      dispose: () => device.dispose(),
      engine: {
        name: engine.name,
        kind: engine.kind,
        async load(model, options) {
          const session = await engine.load(model, options);
          const counted: Session = {
            inputNames: session.inputNames,
            outputNames: session.outputNames,
            run: (inputs, outputs) => session.run(inputs, outputs),
            dispose() {
              sessions.delete(counted);
              return session.dispose();
            },
          };
          sessions.add(counted);
          return counted;
        },
      },
    },
    sessions: () => sessions.size,
    buffers: () => buffers.size,
    restore() {
      if (gpu) Reflect.deleteProperty(gpu, "createBuffer");
    },
  };
}
