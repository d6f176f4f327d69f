/**
 * Counts the models that a device's engine loads.
 *
 * @module
 */
import type { Device } from "../lib/runtime.ts";

/** The device, and how many models its engine has loaded from now on. */
export function countLoads(device: Device): { device: Device; loads: () => number } {
  let loads = 0;
  const { engine } = device;
  return {
    device: {
      ...device,
      assertAlive: () => device.assertAlive(),
      dispose: () => device.dispose(),
      engine: {
        name: engine.name,
        kind: engine.kind,
        load(...args) {
          loads++;
          return engine.load(...args);
        },
      },
    },
    loads: () => loads,
  };
}
