// Which task an adapter folder is for: PEFT's task_type, and the labels in the config.json that Graft saves beside it.
import type { TaskName } from "../core/task_name.ts";
import { PROBLEM_TYPES, type ProblemType } from "../data/label_names.ts";
import { type AdapterFile, readAdapterFolder } from "../io/adapter_file.ts";
import { readJson, statOrUndefined } from "../io/files.ts";
import { isJsonObject } from "../io/strict_json.ts";
import type { TaskOptions } from "../objectives/choose_task.ts";
import { labelNames } from "../objectives/tasks.ts";
import type { ModelState } from "./state.ts";

const TASKS: ReadonlyMap<unknown, TaskName> = new Map([
  ["SEQ_CLS", "sequence-classification"],
  ["TOKEN_CLS", "token-classification"],
  ["QUESTION_ANS", "question-answering"],
]);

/** As PEFT does where it has no name for the task: the class of the base, and where transformers has it. */
export function autoMapping({ task, config }: Pick<ModelState, "task" | "config">): Readonly<Record<string, unknown>> {
  const [base] = Array.isArray(config.architectures) ? config.architectures : [];
  if (task.taskType !== null || typeof base !== "string") return {};
  const family = String(config.model_type).replaceAll("-", "_");
  return {
    auto_mapping: { base_model_class: base, parent_library: `transformers.models.${family}.modeling_${family}` },
  };
}

/** Modules that PEFT trains with an adapter of this task, also where its file does not name them. */
export function modulesOfTask(taskType: unknown): readonly string[] {
  if (taskType === "QUESTION_ANS") return ["qa_outputs"];
  return taskType === "SEQ_CLS" || taskType === "TOKEN_CLS" ? ["classifier", "score"] : [];
}

/**
 * What `loadModel` must be told so that the base has the head that an adapter trained; nothing where the base is used as
 * it is. Without a config.json beside the adapter the labels are counted.
 *
 * @throws {CheckpointError} `adapter/…` as `loadAdapter`.
 *
 * @example Usage
 * ```ts no-eval
 * import { adapterTask, loadModel, openDevice } from "@graft/graft";
 *
 * const model = await loadModel(await openDevice(), "models/bert", await adapterTask("out"));
 * await model.loadAdapter("out");
 * ```
 */
export async function adapterTask(path: string): Promise<TaskOptions> {
  const file = await readAdapterFolder(path);
  const task = TASKS.get(file.config.task_type);
  if (task === undefined) return {};
  if (task === "question-answering") return { task };
  const beside = await statOrUndefined(`${path}/config.json`) ? await readJson(`${path}/config.json`) : undefined;
  if (!isJsonObject(beside) || beside.id2label === undefined) return { task, labels: countLabels(file) };
  const problemType = PROBLEM_TYPES.find((problem) => problem === beside.problem_type);
  return { task, labels: labelNames(beside), ...problemOption(problemType) };
}

function problemOption(problemType: ProblemType | undefined): Pick<TaskOptions, "problemType"> {
  return problemType === undefined ? {} : { problemType };
}

function countLabels({ tensors }: AdapterFile): number | undefined {
  const heads = ["score.weight", "classifier.out_proj.weight", "classifier.weight"];
  for (const head of heads) {
    const found = [...tensors].find(([name]) => name === head || name.endsWith(`.${head}`));
    if (found) return found[1].shape[0];
  }
}
