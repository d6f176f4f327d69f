/**
 * What stages throw, as their users see it.
 *
 * @module
 */
import { OvsError, PipelineError } from "../errors.ts";
import { firstLine } from "../first_line.ts";
import { type AnyStage, formatStage } from "./stage.ts";

/**
 * What a stage or its making threw, as an error that names the stage. Errors of this package say
 * enough already and stay as they are.
 */
export function stageFailure(stage: Pick<AnyStage, "role" | "name">, error: unknown): unknown {
  if (error instanceof OvsError) return error;
  return new PipelineError(`${formatStage(stage)} failed: ${firstLine(error)}`, { cause: error });
}
