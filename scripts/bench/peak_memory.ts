/**
 * The peak memory of a few training steps in this process; `bench graphs` starts it.
 *
 * @module
 */
import { ortNodeEngine } from "../../plugins/runtimes/ort_node.ts";
import { networkSide } from "./network_sides.ts";
import { taskOf } from "./network_task.ts";
import { layoutOf, networks, smallNetworks } from "./networks.ts";

/** How many steps of training it takes. */
export const steps = 3;

if (import.meta.main) {
  const [name, threads] = Deno.args;
  const network = [...networks, ...smallNetworks].find((network) => network.name === name)!;
  const engine = await ortNodeEngine({ threads: Number(threads) });
  const layout = layoutOf(network);
  const side = await networkSide(engine, network, layout, taskOf(network, layout, "training step"));
  await side.time(steps);
  // What getrusage counts would include the process that started this one.
  const status = await Deno.readTextFile("/proc/self/status");
  console.log(1024 * Number(/VmHWM:\s+(\d+) kB/.exec(status)![1]));
  Deno.exit(0);
}
