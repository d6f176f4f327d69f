/**
 * From the name of a task to how it is scored.
 *
 * @module
 */
import { OptionError } from "../../../lib/errors.ts";
import type { EvaluationIdentity } from "../run_folder.ts";
import { semanticTask } from "./semantic.ts";
import type { Task } from "./task.ts";

/**
 * The task of an evaluation.
 *
 * @param identity What is measured.
 */
export function taskOf(
  { task, classes, dataset: { others } }: Pick<EvaluationIdentity, "task" | "classes"> & {
    readonly dataset: Pick<EvaluationIdentity["dataset"], "others">;
  },
): Task {
  switch (task) {
    case "semantic":
      return semanticTask({ classes, others });
    default:
      throw new OptionError(`task ${task}: can't be scored yet`);
  }
}
