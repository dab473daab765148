// The rows of a task with labels: their labels decide about the head, unless the model has one that they fit.
import { DataError, UsageError } from "../core/errors.ts";
import { type TaskChoice, type TaskName, taskOfChoice } from "../core/task_name.ts";
import { loadTaskDataset, type RowTask, type TaskDataset, type TaskDatasetOptions } from "../data/task_dataset.ts";
import type { LabelKind } from "../data/label_names.ts";
import type { TaskOptions } from "../objectives/choose_task.ts";
import { PROBLEM_TYPES } from "../objectives/sequence_classification.ts";
import { labelNames, taskName } from "../objectives/tasks.ts";
import type { Inspected } from "./plan_model.ts";

/** Whether the rows of a task are read here. */
export function hasRows(task: TaskName): task is RowTask {
  return ["sequence-classification", "token-classification", "question-answering", "masked-lm"].includes(task);
}

/** How the rows are read, apart from their labels. */
export type Reading = Omit<TaskDatasetOptions, "task" | "labels" | "problemType">;

/** The rows, and what the model must be loaded for. */
export interface PlannedRows {
  readonly data: TaskDataset;
  readonly choice: TaskOptions;
}

/**
 * Load the training rows. Labels that the model has names for are its own; others are found in the rows.
 *
 * @param asked What `--task` says.
 */
export async function planRows(
  path: string,
  { stored, architecture, task }: Inspected,
  { asked, ...reading }: Reading & { readonly asked: TaskChoice | undefined },
): Promise<PlannedRows> {
  const name = task.name as RowTask;
  const known = taskName(stored, architecture) === name;
  const own = known ? PROBLEM_TYPES.find((kind) => kind === stored.problem_type) : undefined;
  const problemType: LabelKind | undefined = asked === "regression" ? "regression" : own;
  const options = { ...reading, task: name, ...(problemType ? { problemType } : {}) };
  const named = known && stored.id2label !== undefined && task.trains.length > 0 && name !== "question-answering";
  const data = await loadNamed(path, options, named ? labelNames(stored) : undefined);
  if (data.labels.length === 0) return { data, choice: { task: asked ?? name } };
  const kind = name === "sequence-classification" ? { problemType: data.problemType } : {};
  return { data, choice: { task: asked === undefined ? name : taskOfChoice(asked), labels: data.labels, ...kind } };
}

async function loadNamed(
  path: string,
  options: TaskDatasetOptions,
  labels: readonly string[] | undefined,
): Promise<TaskDataset> {
  if (labels === undefined) return await loadTaskDataset(path, options);
  try {
    return await loadTaskDataset(path, { ...options, labels });
  } catch (error) {
    if (!(error instanceof DataError) || error.code !== "data/label") throw error;
    return await loadTaskDataset(path, options);
  }
}

/**
 * Refuse settings that are about texts which a model writes.
 *
 * @param given What was set beside `--task`.
 */
export function refuseForRows(task: TaskName, given: Readonly<Record<string, unknown>>): void {
  const wrong = ["packing", "probe", "prompt"].filter((name) => given[name] !== undefined && given[name] !== false);
  if (wrong.length === 0) return;
  throw new UsageError("usage/task", `Cannot use ${wrong.map((name) => `--${name}`).join(", ")} with --task ${task}`);
}
