// A model's config.json for another task than it was saved for: a new head on a known trunk.
import { UsageError } from "../core/errors.ts";
import { type TaskChoice, type TaskName, taskOfChoice } from "../core/task_name.ts";
import type { ProblemType } from "../data/label_names.ts";
import type { Json } from "../models/config.ts";

/** What a model is to do, where its config.json does not say it or says something else. */
export interface TaskOptions {
  /** The task; that of `architectures` by default. */
  readonly task?: TaskChoice | undefined;
  /** Names of the labels in the order of their ids, or how many there are. */
  readonly labels?: readonly string[] | number | undefined;
  /** What a sequence is classified as; by default found from the labels of each batch. */
  readonly problemType?: ProblemType | undefined;
}

/** Endings of transformers' classes. */
const ENDINGS: Readonly<Record<TaskName, string>> = {
  "causal-lm": "ForCausalLM",
  "sequence-classification": "ForSequenceClassification",
  "token-classification": "ForTokenClassification",
  "question-answering": "ForQuestionAnswering",
  "masked-lm": "ForMaskedLM",
  "sentence-embedding": "Model",
  "seq2seq-lm": "ForConditionalGeneration",
};

/** Beginnings of transformers' classes that are not the `model_type` with a capital. */
const CLASSES: Readonly<Record<string, string>> = {
  distilbert: "DistilBert",
  "xlm-roberta": "XLMRoberta",
  gpt2: "GPT2",
  t5: "T5",
  mt5: "MT5",
};

/**
 * config.json as transformers would save it for this task and these labels.
 *
 * @throws {UsageError} `model/labels` if names are missing or come twice.
 */
export function chooseTask(config: Json, { task, labels, problemType }: TaskOptions): Json {
  const name = task === undefined ? undefined : taskOfChoice(task);
  const regression = task === "regression";
  const problem = problemType ?? (regression ? "regression" : undefined);
  const given = labels ?? (regression && config.problem_type !== "regression" ? 1 : undefined);
  const names = typeof given === "number" ? Array.from({ length: given }, (_, i) => `LABEL_${i}`) : given;
  if (names && (names.length === 0 || new Set(names).size < names.length)) {
    throw new UsageError("model/labels", `Cannot use these labels as there are none, or one comes twice: ${names}`);
  }
  return {
    ...config,
    ...(name === undefined ? {} : { architectures: [className(config, name)] }),
    ...(problem === undefined ? {} : { problem_type: problem }),
    ...(names === undefined ? {} : {
      id2label: Object.fromEntries(names.map((label, i) => [`${i}`, label])),
      label2id: Object.fromEntries(names.map((label, i) => [label, i])),
    }),
  };
}

function className({ model_type: type, architectures }: Json, task: TaskName): string {
  const known = Array.isArray(architectures) && typeof architectures[0] === "string" ? architectures[0] : "";
  const kind = typeof type === "string" ? type : "";
  const begin = /^(.+?)(?:For[A-Z]\w*|LMHeadModel|DoubleHeadsModel|Model)$/.exec(known)?.[1] ??
    CLASSES[kind] ?? kind.charAt(0).toUpperCase() + kind.slice(1);
  return begin === "GPT2" && task === "causal-lm" ? "GPT2LMHeadModel" : `${begin}${ENDINGS[task]}`;
}
