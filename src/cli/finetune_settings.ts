// Settings of `finetune`.
import { LEARNING_RATES } from "../adapters/defaults.ts";
import { TASK_CHOICES } from "../core/task_name.ts";
import { models } from "../models/mod.ts";
import { schedules } from "../optim/schedule.ts";
import type { Given } from "./arguments.ts";
import { BUNDLED, EVAL_ROWS, MAX_LENGTH, SAMPLING } from "./defaults.ts";
import { methodFields, VIRTUAL_TOKENS } from "./method_settings.ts";
import { quantizeFields } from "./open_model.ts";
import { choice, count, flag, path, real, type Settings, text } from "./settings.ts";

/** Names of the learning-rate schedules. */
const SCHEDULES = Object.keys(schedules) as (keyof typeof schedules)[];

/** Tasks that rows can teach. */
const FINETUNE_TASKS = TASK_CHOICES.filter((task) => task !== "sentence-embedding");

/** The fields. */
export const finetuneSchema = {
  model: path(`folder of the base model, of type ${Object.keys(models).join(", ")} (the bundled base)`, {
    placeholder: "DIR",
  }),
  data: path("training rows: a file, or a folder with train.jsonl and valid.jsonl (the bundled set)"),
  output: path("where the adapter goes, a new or empty folder (runs/<date>-<data>)", {
    placeholder: "DIR",
    transient: true,
  }),
  config: path("settings in YAML or JSON, such as config.yaml of a run; options win over it", {
    placeholder: "FILE",
    transient: true,
  }),
  task: choice("what the model learns (what it is for)", FINETUNE_TASKS),
  sourcePrefix: text('put before every source of an encoder-decoder, such as "summarize: "'),
  ...methodFields,
  ...quantizeFields,
  optimizer: choice("how gradients become updates (sgd has momentum 0.9)", ["adamw", "adam", "sgd", "adagrad"], {
    default: "adamw",
  }),
  learningRate: real(
    `peak step size (lora ${LEARNING_RATES.lora}, full ${LEARNING_RATES.full}, …; more where the model is narrow)`,
    { above: 0, max: 1000 },
  ),
  loraPlusRatio: real("LoRA+: step size of B by that of A, such as 16", { above: 0, max: 1e6 }),
  loraPlusEmbeddingRate: real("LoRA+: step size of adapters of embeddings (1e-6)", { min: 0, max: 1000 }),
  schedule: choice("how the step size falls", SCHEDULES, { default: "linear" }),
  warmupSteps: real("updates over which it rises; below 1 a share of all", { default: 0, min: 0 }),
  epochs: real("passes over the data", { default: 1, above: 0 }),
  maxSteps: count("stop after this many updates", { min: 1 }),
  batchSize: count("rows of a batch", { default: 8, min: 1 }),
  gradientAccumulation: count("batches of an update", { default: 1, min: 1 }),
  recompute: flag("compute layers again in the backward pass: less memory, more time, the same numbers"),
  maxLength: count(`tokens of the longest row; longer ones are cut (${MAX_LENGTH})`, { min: 2 }),
  maxTargetLength: count("tokens of the longest text that an encoder-decoder writes (128)", { min: 2 }),
  packing: flag("join rows and cut them into windows of the longest length"),
  skipBadRows: count("bad rows to leave out before it is an error", { default: 0, min: 0 }),
  maxGradNorm: real("largest norm of the gradients, 0 for none", { default: 1, min: 0 }),
  weightDecay: real("weight decay", { default: 0, min: 0 }),
  labelSmoothing: real("label smoothing", { default: 0, min: 0, below: 1 }),
  seed: count("seed of the order of rows and of the first weights", { default: 42, min: 0, max: 2 ** 32 - 1 }),
  evalData: path("rows to evaluate on (valid.jsonl of the data folder)"),
  limitEval: count("rows of each evaluation", { default: EVAL_ROWS, min: 1 }),
  probe: path("rows of an old domain, to see what is forgotten (the bundled one for the bundled base)"),
  prompt: text("opening of the sample texts (from the data)"),
  samples: count("sample texts before and after", { default: 2, min: 0, max: 20 }),
  sampleTokens: count("tokens of a sample text", { default: SAMPLING.maxNewTokens, min: 1 }),
  precision: choice("what products are computed in; f16 where the GPU has it", ["f32", "f16"], { default: "f32" }),
  requireGpu: flag("refuse a software driver"),
  dryRun: flag("check everything, print what would be done, and stop", { transient: true }),
};

/** The settings. */
export type FinetuneSettings = Settings<typeof finetuneSchema>;

/** Settings of LoRA+, which is about the factors of a low-rank adapter. */
export const LORA_PLUS = ["loraPlusRatio", "loraPlusEmbeddingRate"] as const;

/** What replaces the defaults: the measured numbers of the bundled job. */
export function finetunePresets(given: Given<typeof finetuneSchema>): Given<typeof finetuneSchema> {
  const method = given.method ?? "lora";
  const bundledJob = given.model === undefined && given.data === undefined && method !== "full";
  if (!bundledJob) return {};
  const { targetModules, learningRate, maxLength, ...rest } = BUNDLED;
  const inFront = method.endsWith("-tuning") && method !== "ln-tuning" ? given.virtualTokens ?? VIRTUAL_TOKENS : 0;
  const job = { ...rest, maxLength: Math.max(2, maxLength - inFront) };
  const lowRank = method === "lora" || method === "dora";
  return { ...job, ...(lowRank ? { targetModules, learningRate } : {}) };
}
