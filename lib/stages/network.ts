/**
 * Networks inside stages: an ONNX model, loaded by name, whose inputs and outputs are checked.
 *
 * @module
 */
import { ModelError } from "../errors.ts";
import { firstLine } from "../first_line.ts";
import type { Session } from "../runtime.ts";
import { formatShape, type Tensor } from "../tensor.ts";
import type { StageEnvironment } from "./plugin.ts";
import { reshape } from "./reshape.ts";

/** What a stage expects of its model. */
export interface NetworkNames {
  /** All inputs of the graph. */
  readonly inputs: readonly string[];
  /** Outputs that the graph must have; it may have more. */
  readonly outputs: readonly string[];
}

/**
 * Loads a model and checks its inputs and outputs.
 *
 * @param environment Where models are, and what executes them.
 * @param name The model's file.
 * @param names The inputs and outputs that the stage uses.
 * @returns The session; the stage disposes of it.
 * @throws {ModelError} If the file is missing, no whole model, or has other inputs or outputs.
 */
export async function loadNetwork(
  environment: StageEnvironment,
  name: string,
  { inputs, outputs }: NetworkNames,
): Promise<Session> {
  const { device, models } = environment;
  const bytes = await models.read(name);
  let session: Session;
  try {
    session = await device.engine.load(bytes);
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    throw new ModelError(`model ${name}: ${firstLine(error)}`, { cause: error });
  }
  const others = session.inputNames.filter((input) => !inputs.includes(input));
  const missing = [
    ...inputs.filter((input) => !session.inputNames.includes(input)),
    ...outputs.filter((output) => !session.outputNames.includes(output)),
  ];
  if (others.length === 0 && missing.length === 0) return session;
  await session.dispose();
  throw new ModelError(
    `model ${name} takes ${session.inputNames.join(", ")} and gives ${
      session.outputNames.join(", ")
    }; it must take ${inputs.join(", ")} and give ${outputs.join(", ")}`,
  );
}

/**
 * Takes the batch axis, of size 1, off a network's output, as slots have none.
 *
 * @param tensor The output; its place is taken by the result.
 * @param output Its name, for messages.
 * @throws {ModelError} If it is not float32 or its batch is not 1.
 */
export function unbatched(tensor: Tensor, output: string): Tensor<"float32"> {
  if (tensor.shape[0] !== 1 || tensor.dtype !== "float32") {
    throw new ModelError(
      `output "${output}" is ${tensor.dtype} ${
        formatShape(tensor.shape)
      }; it must be float32 with a batch of 1`,
    );
  }
  return reshape(tensor as Tensor<"float32">, tensor.shape.slice(1));
}
