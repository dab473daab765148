// The rows of a task with labels: their labels decide about the head, unless the model has one that they fit.
import { DataError, UsageError } from "../core/errors.ts";
import { type TaskChoice, type TaskName, taskOfChoice } from "../core/task_name.ts";
import { loadTaskDataset, type RowTask, type TaskDataset, type TaskDatasetOptions } from "../data/task_dataset.ts";
import { PROBLEM_TYPES, type ProblemType } from "../data/label_names.ts";
import type { TaskOptions } from "../objectives/choose_task.ts";
import { labelNames, taskName } from "../objectives/tasks.ts";
import type { Inspected } from "./plan_model.ts";
import { flagName } from "./settings.ts";

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
  const problemType: ProblemType | undefined = asked === "regression" ? "regression" : own;
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

/** How further rows of the same task are read. */
export function likeRows({ task, labels, problemType }: TaskDataset): Pick<
  TaskDatasetOptions,
  "task" | "labels" | "problemType"
> {
  return { task, problemType, ...(labels.length > 0 ? { labels } : {}) };
}

/** Settings that some tasks have no use for. */
const MEANT_FOR: Readonly<Record<string, readonly TaskName[]>> = {
  packing: ["causal-lm"],
  probe: ["causal-lm"],
  prompt: ["causal-lm", "seq2seq-lm"],
  sourcePrefix: ["seq2seq-lm"],
  maxTargetLength: ["seq2seq-lm"],
};

/**
 * Refuse settings that mean nothing with a task.
 *
 * @throws {UsageError} `usage/task` listing them.
 */
export function refuseForTask(task: TaskName, given: Readonly<Record<string, unknown>>): void {
  const set = (name: string) => given[name] !== undefined && given[name] !== false;
  const wrong = Object.entries(MEANT_FOR).filter(([name, tasks]) => set(name) && !tasks.includes(task));
  if (wrong.length === 0) return;
  const flags = wrong.map(([name]) => `--${flagName(name)}`).join(", ");
  throw new UsageError("usage/task", `Cannot use ${flags} with --task ${task}`);
}
