// Tasks by name: what a model is to do, and what the rows of a data set say.

/** Tasks by their names on the command line. */
export type TaskName =
  | "causal-lm"
  | "sequence-classification"
  | "token-classification"
  | "question-answering"
  | "masked-lm"
  | "sentence-embedding"
  | "seq2seq-lm";

/** What can be asked for: a task, its short name, or a regression, which is a classification of another kind. */
export type TaskChoice = TaskName | "regression" | "causal" | "seqcls" | "tokcls" | "qa" | "mlm" | "seq2seq";

const SHORT: Readonly<Record<Exclude<TaskChoice, TaskName>, TaskName>> = {
  regression: "sequence-classification",
  causal: "causal-lm",
  seqcls: "sequence-classification",
  tokcls: "token-classification",
  qa: "question-answering",
  mlm: "masked-lm",
  seq2seq: "seq2seq-lm",
};

/** Everything that {@linkcode TaskChoice} allows, the long names first. */
export const TASK_CHOICES: readonly TaskChoice[] = [
  ...["causal-lm", "sequence-classification", "regression", "token-classification"] as const,
  ...["question-answering", "masked-lm", "sentence-embedding", "seq2seq-lm"] as const,
  ...["causal", "seqcls", "tokcls", "qa", "mlm", "seq2seq"] as const,
];

/** The task that a choice means. */
export function taskOfChoice(choice: TaskChoice): TaskName {
  return Object.hasOwn(SHORT, choice) ? SHORT[choice as keyof typeof SHORT] : choice as TaskName;
}
