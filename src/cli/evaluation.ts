// What `evaluate` measures on a model: by its task, from the rows that the task reads.
import { UsageError } from "../core/errors.ts";
import { describe, loadDataset } from "../data/dataset.ts";
import { loadPairDataset } from "../data/pair_dataset.ts";
import { findSplit, readSamples, type Sample } from "../data/rows.ts";
import { loadTaskDataset, type RowTask, type TaskDatasetOptions } from "../data/task_dataset.ts";
import type { ConfusionMatrix } from "../metrics/classification.ts";
import {
  type Measurement,
  measureTexts,
  measureTokens,
  TEXT_METRICS,
  type TextMetric,
} from "../metrics/measurements.ts";
import { labelNames } from "../objectives/tasks.ts";
import { generateTexts } from "../train/generate.ts";
import { measurePredictions } from "../train/measure_predictions.ts";
import type { Model } from "../train/model.ts";
import { problemOf } from "../train/predict.ts";
import { scoreRows } from "../train/score_rows.ts";
import { taskPredictions } from "../train/task_metrics.ts";
import { refuse } from "./arguments.ts";
import { MAX_LENGTH } from "./defaults.ts";

/** What is measured, and on what. */
export interface EvaluationSettings {
  readonly data: string;
  readonly split: "train" | "valid" | "test";
  readonly limit: number | undefined;
  readonly batchSize: number;
  readonly maxLength: number | undefined;
  readonly packing: boolean;
  /** What stands before every source of an encoder-decoder. */
  readonly sourcePrefix: string | undefined;
  /** Whether texts are written and compared. */
  readonly generate: boolean;
  readonly maxNewTokens: number;
  readonly numBeams: number;
  /** Metrics to report; all without. */
  readonly metrics: readonly string[];
}

/** What a model is found to do. */
export interface Found {
  readonly measurements: readonly Measurement[];
  readonly confusion?: ConfusionMatrix;
  /** Tokens that were predicted, of language models. */
  readonly tokens?: number;
}

/** The rows, and how a model is measured on them. */
export interface Evaluation {
  /** The rows in a few lines for people. */
  readonly about: string;
  readonly rows: number;
  /** Measure the model with the adapter in use. */
  readonly measure: (model: Model) => Promise<Found>;
}

const TOKEN_METRICS = ["loss", "perplexity", "token_accuracy"];
const CLASS_METRICS = ["accuracy", "micro_f1", "macro_f1", "weighted_f1", "matthews"];

/** Metrics of the tasks that predict something for each row. */
const METRICS: Readonly<Record<Exclude<RowTask, "masked-lm">, readonly string[]>> = {
  "sequence-classification": [...CLASS_METRICS, "mse", "mae", "pearson", "spearman"],
  "token-classification": ["precision", "recall", "f1", ...CLASS_METRICS],
  "question-answering": ["exact_match", "f1"],
};

/**
 * Read the rows for the task of the model.
 *
 * @throws {UsageError} `usage/task`, `usage/metrics`, and what reading the rows throws.
 */
export async function prepareEvaluation(model: Model, settings: EvaluationSettings): Promise<Evaluation> {
  const { name } = model.state.task;
  if (name === "sentence-embedding") {
    throw new UsageError("usage/task", "Cannot evaluate sentence embeddings: they predict nothing of a row");
  }
  const writes = name === "causal-lm" || name === "seq2seq-lm";
  refuse("usage/task", [
    ...(settings.generate && !writes ? [`--generate needs a model that writes: it is loaded for ${name}`] : []),
    ...(settings.packing && name !== "causal-lm" ? [`--packing has no meaning for ${name}`] : []),
    ...(settings.sourcePrefix && name !== "seq2seq-lm" ? [`--source-prefix has no meaning for ${name}`] : []),
  ]);
  if (writes || name === "masked-lm") {
    checkMetrics(settings, [...TOKEN_METRICS, ...settings.generate ? TEXT_METRICS : []]);
    if (name === "masked-lm") return await hiddenEvaluation(model, settings);
    if (name === "seq2seq-lm") return await pairEvaluation(model, settings);
    const tokens = await tokenEvaluation(model, settings);
    return settings.generate ? both(tokens, written(await completions(settings), settings)) : tokens;
  }
  checkMetrics(settings, METRICS[name]);
  const { batchSize } = settings;
  const data = await loadTaskDataset(settings.data, {
    ...reading(model, settings),
    ...labelsOf(model),
    task: name,
  });
  return {
    about: describe(data.report),
    rows: data.report.rows,
    async measure(model) {
      const { measurement, confusion } = measurePredictions(await taskPredictions(model, data, { batchSize }));
      return { measurements: [measurement], ...confusion ? { confusion } : {} };
    },
  };
}

function checkMetrics({ metrics }: EvaluationSettings, known: readonly string[]): void {
  const problems = metrics.filter((name) => !known.includes(name)).map((name) =>
    `--metrics: there is no "${name}" here, only ${known.join(", ")}`
  );
  refuse("usage/metrics", problems);
}

/** Options of all readers of rows. */
function reading(model: Model, settings: EvaluationSettings): Omit<TaskDatasetOptions, "task"> {
  const { positions, V } = model.state.architecture;
  const { maxLength = Math.min(MAX_LENGTH, positions), split, limit } = settings;
  const cut = limit === undefined ? {} : { limit };
  return { tokenizer: model.tokenizer, maxLength, positions, vocabSize: V, split, ...cut };
}

/** Labels and kind of a head, as its model has them. */
function labelsOf({ state }: Model): Pick<TaskDatasetOptions, "labels" | "problemType"> {
  const { config, task: { name } } = state;
  if (name === "question-answering") return {};
  const kind = problemOf(state);
  return { ...kind === "regression" ? {} : { labels: labelNames(config) }, problemType: kind };
}

/** Loss and hits of every token. */
async function tokenEvaluation(model: Model, settings: EvaluationSettings): Promise<Evaluation> {
  const data = await loadDataset(settings.data, { ...reading(model, settings), packing: settings.packing });
  return scored(data, settings);
}

/** The same of hidden tokens, always of the same ones. */
async function hiddenEvaluation(model: Model, settings: EvaluationSettings): Promise<Evaluation> {
  return scored(await loadTaskDataset(settings.data, { ...reading(model, settings), task: "masked-lm" }), settings);
}

function scored(data: Awaited<ReturnType<typeof loadDataset>>, { batchSize }: EvaluationSettings): Evaluation {
  return {
    about: describe(data.report),
    rows: data.report.rows,
    async measure(model) {
      const rows = await scoreRows(model, data, { batchSize });
      return { measurements: [measureTokens(rows)], tokens: rows.reduce((sum, { tokens }) => sum + tokens, 0) };
    },
  };
}

/** The same of the targets of an encoder-decoder, and texts that it writes from the sources. */
async function pairEvaluation(model: Model, settings: EvaluationSettings): Promise<Evaluation> {
  const { sourcePrefix = "", generate } = settings;
  const data = await loadPairDataset(settings.data, { ...reading(model, settings), sourcePrefix });
  const tokens = scored(data, settings);
  if (!generate) return tokens;
  const rows = data.rows.map(({ source, references }) => ({ prompt: `${sourcePrefix}${source}`, references }));
  return both(tokens, written(rows, settings));
}

/** A text to be written. */
interface Wanted {
  readonly prompt: string;
  /** All right texts. */
  readonly references: readonly string[];
}

/** Completions, to be written behind their prompts. */
async function completions({ data, split, limit = Infinity }: EvaluationSettings): Promise<Wanted[]> {
  const file = await findSplit(data, split);
  const samples: Sample[] = [];
  const rows = file === undefined ? [] : readSamples(file, {
    onBadRow: (error) => {
      throw error;
    },
  });
  for await (const sample of rows) {
    if (samples.length >= limit) break;
    samples.push(sample);
  }
  if (samples.length === 0 || samples.some(({ prompt }) => prompt === "")) {
    throw new UsageError("usage/generate", "Cannot compare written texts as the rows have no prompts", {
      hint: '--generate needs rows {"prompt", "completion"} or {"instruction", "output"}.',
    });
  }
  return samples.map(({ prompt, completion }) => ({ prompt, references: [completion] }));
}

/** Texts that the model writes, against the right ones. */
function written(rows: readonly Wanted[], settings: EvaluationSettings): Evaluation {
  const { batchSize, maxNewTokens, numBeams, metrics } = settings;
  const references = rows.map((row) => row.references.map((text) => text.trim()));
  const asked = TEXT_METRICS.filter((name) => metrics.length === 0 || metrics.includes(name));
  const names: readonly TextMetric[] = asked.length > 0 ? asked : TEXT_METRICS;
  return {
    about: "",
    rows: rows.length,
    async measure(model) {
      const texts: string[] = [];
      for (let at = 0; at < rows.length; at += batchSize) {
        const prompts = rows.slice(at, at + batchSize).map(({ prompt }) => prompt);
        texts.push(...await generateTexts(model, prompts, { maxNewTokens, numBeams }));
      }
      return { measurements: [measureTexts(texts.map((text) => text.trim()), references, names)] };
    },
  };
}

function both(tokens: Evaluation, texts: Evaluation): Evaluation {
  return {
    ...tokens,
    async measure(model) {
      const scored = await tokens.measure(model);
      return { ...scored, measurements: [...scored.measurements, ...(await texts.measure(model)).measurements] };
    },
  };
}
