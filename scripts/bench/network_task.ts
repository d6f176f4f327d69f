/**
 * What is timed of a network: its forward pass, or steps of its training.
 *
 * @module
 */
import type { ParameterEntry, ParameterLayout } from "../../lib/graph/mod.ts";
import { Rng } from "../../lib/rng.ts";
import { float32, type HostTensor } from "../../lib/tensor.ts";
import { type BenchNetwork, inputTensors, startingPoint } from "./networks.ts";

/** The passes, as the rows call them. */
export type Pass = "forward" | "training step";

/** A pass of a network with its parameters and inputs, the same for everybody who is timed. */
export interface NetworkTask {
  /** Tells it from the kernels' tasks. */
  readonly kernel: "network";
  /** Which of the networks. */
  readonly kind: BenchNetwork["kind"];
  /** Its sizes. */
  readonly config: BenchNetwork["config"];
  /** Which pass. */
  readonly pass: Pass;
  /** Names, shapes and places of the parameters. */
  readonly entries: readonly ParameterEntry[];
  /** All parameters, one after the other. */
  readonly parameters: HostTensor<"float32">;
  /** The network's inputs, then, in training, the loss's. */
  readonly inputs: readonly HostTensor[];
  /** AdamW's rate; the rest is as PyTorch has it: β 0.9 and 0.999, ε 1e-8, decay 0.01 everywhere. */
  readonly learningRate: number;
}

/** A pass with parameters and inputs that are the same each time. */
export function taskOf(network: BenchNetwork, layout: ParameterLayout, pass: Pass): NetworkTask {
  const { kind, config, inputs, targets } = network;
  return {
    kernel: "network",
    kind,
    config,
    pass,
    entries: layout.entries,
    parameters: float32([layout.size], startingPoint(layout, new Rng(1))),
    inputs: inputTensors(pass === "forward" ? inputs : [...inputs, ...targets], new Rng(2)),
    learningRate: 1e-4,
  };
}
