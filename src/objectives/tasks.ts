// Which task a config.json is for: transformers' class names end with it.
import { ConfigError, printable } from "../core/errors.ts";
import type { Architecture } from "../models/architecture.ts";
import type { Json } from "../models/config.ts";
import { causalLm } from "./causal_lm.ts";
import type { Task, TaskName } from "./task.ts";

/** What a task is made from. */
export interface TaskSetting {
  readonly architecture: Architecture;
  readonly config: Json;
}

/** One line for each task. */
export const tasks: { readonly [K in TaskName]?: (setting: TaskSetting) => Task } = {
  "causal-lm": ({ architecture }) => causalLm({ vocabSize: architecture.V }),
};

/** Names of the tasks that there are. */
export const TASK_NAMES: readonly TaskName[] = Object.keys(tasks) as TaskName[];

const ENDINGS: readonly (readonly [RegExp, TaskName])[] = [
  [/ForSequenceClassification$/, "sequence-classification"],
  [/ForTokenClassification$/, "token-classification"],
  [/ForQuestionAnswering$/, "question-answering"],
  [/ForMaskedLM$/, "masked-lm"],
  [/ForConditionalGeneration$/, "seq2seq-lm"],
  [/(?:ForCausalLM|LMHeadModel)$/, "causal-lm"],
];

/** The task that the `architectures` of a config.json name; of a bare model, what its family is pre-trained for. */
export function taskName(config: Json, { head }: Architecture): TaskName {
  const names = Array.isArray(config.architectures) ? config.architectures : [];
  const found = ENDINGS.find(([ending]) => names.some((name) => typeof name === "string" && ending.test(name)));
  return found?.[1] ?? (head ? "causal-lm" : "masked-lm");
}

/**
 * The task of a config.json.
 *
 * @throws {ConfigError} `config/architectures` if the task is not supported, or not with this family.
 */
export function taskOf(config: Json, architecture: Architecture): Task {
  const name = taskName(config, architecture);
  const make = tasks[name];
  const fits = name === "causal-lm" ? architecture.head !== undefined : true;
  if (make && fits) return make({ architecture, config });
  throw new ConfigError("config/architectures", "config.json", [
    `"architectures" is for ${name}, which ${printable(architecture.type)} models do not have here: received ${
      printable(JSON.stringify(config.architectures) ?? "nothing")
    }`,
  ]);
}
