/**
 * From the name of a task to how it is scored.
 *
 * @module
 */
import type { EvaluationIdentity } from "../run_folder.ts";
import { instanceTask } from "./instance.ts";
import { panopticTask } from "./panoptic.ts";
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
    case "panoptic":
      return panopticTask({ classes, others });
    case "instance":
      return instanceTask({ classes, others });
  }
}
