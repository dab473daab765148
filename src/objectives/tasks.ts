// Which task a config.json is for: transformers' class names end with it.
import { ConfigError, printable } from "../core/errors.ts";
import type { TaskName } from "../core/task_name.ts";
import { PROBLEM_TYPES, type ProblemType } from "../data/label_names.ts";
import type { Architecture, HeadName } from "../models/architecture.ts";
import { type Json, readConfig } from "../models/config.ts";
import { causalLm } from "./causal_lm.ts";
import { maskedLm } from "./masked_lm.ts";
import { questionAnswering } from "./question_answering.ts";
import { seq2seqLm } from "./seq2seq_lm.ts";
import { sequenceClassification } from "./sequence_classification.ts";
import { sentenceEmbedding } from "./sentence_embedding.ts";
import type { Task } from "./task.ts";
import { tokenClassification } from "./token_classification.ts";

/** What a task is made from. */
export interface TaskSetting {
  readonly architecture: Architecture;
  readonly config: Json;
}

/** One line for each task. */
export const tasks: { readonly [K in TaskName]?: (setting: TaskSetting) => Task } = {
  "causal-lm": ({ architecture }) => causalLm({ vocabSize: architecture.V }),
  "sequence-classification": ({ config }) => sequenceClassification(sequenceSettings(config)),
  "token-classification": ({ config }) => tokenClassification({ classes: labelNames(config).length }),
  "question-answering": () => questionAnswering(),
  "masked-lm": ({ architecture }) => maskedLm({ vocabSize: architecture.V }),
  "sentence-embedding": ({ architecture }) => sentenceEmbedding({ width: architecture.D }),
  "seq2seq-lm": ({ architecture }) => seq2seqLm({ vocabSize: architecture.V }),
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
export function taskName(config: Json, { encoder, head, heads }: Architecture): TaskName {
  const names = Array.isArray(config.architectures) ? config.architectures : [];
  const found = ENDINGS.find(([ending]) => names.some((name) => typeof name === "string" && ending.test(name)));
  if (found) return found[1];
  if (encoder) return "seq2seq-lm";
  return head ? "causal-lm" : heads?.["masked-lm"] ? "masked-lm" : "sentence-embedding";
}

/**
 * The task of a config.json.
 *
 * @throws {ConfigError} `config/architectures` if the task is not supported, or not with this family.
 */
export function taskOf(config: Json, architecture: Architecture): Task {
  const name = taskName(config, architecture);
  const make = tasks[name];
  if (make && hasHead(architecture, name)) return make({ architecture, config });
  throw new ConfigError("config/architectures", "config.json", [
    `"architectures" is for ${name}, which ${printable(architecture.type)} models do not have here: received ${
      printable(JSON.stringify(config.architectures) ?? "nothing")
    }`,
  ]);
}

function hasHead({ encoder, head, heads }: Architecture, name: TaskName): boolean {
  if (name === "seq2seq-lm") return encoder !== undefined;
  return (name === "causal-lm" && !encoder ? head : heads?.[name as HeadName]) !== undefined;
}

/**
 * The names of the labels by their ids: `id2label`, or LABEL_0 and LABEL_1, as transformers has without.
 *
 * @throws {ConfigError} `config/id2label` unless it names each of 0, 1, … once.
 */
export function labelNames({ id2label }: Json): string[] {
  if (id2label === undefined || id2label === null) return ["LABEL_0", "LABEL_1"];
  const c = readConfig({ id2label });
  const entries = typeof id2label === "object" && !Array.isArray(id2label) ? Object.entries(id2label) : [];
  const names = entries.map((_, i) => entries.find(([id]) => Number(id) === i)?.[1]);
  if (entries.length === 0 || !names.every((name) => typeof name === "string")) {
    c.problem("id2label", `must name the labels 0, 1, …: received ${printable(JSON.stringify(id2label))}`);
  }
  c.finish();
  return names as string[];
}

function sequenceSettings(config: Json): Parameters<typeof sequenceClassification>[0] {
  const c = readConfig(config);
  const { problem_type: given, pad_token_id: pad } = config;
  const problem = given === undefined || given === null
    ? undefined
    : c.choice<ProblemType>("problem_type", PROBLEM_TYPES, "single_label_classification");
  c.finish();
  return { classes: labelNames(config).length, problem, padId: typeof pad === "number" ? pad : undefined };
}
