// What a model with a head says of texts: labels with their probabilities, numbers, tags of words, answers in contexts.
import { UsageError } from "../core/errors.ts";
import { encodeQuestion, encodeText, encodeWords, type TaskExample } from "../data/encode_task.ts";
import { PROBLEM_TYPES, type ProblemType } from "../data/label_names.ts";
import { labelNames } from "../objectives/tasks.ts";
import type { Model } from "./model.ts";
import { predictLogits, type PredictLogitsOptions } from "./predict_logits.ts";
import type { ModelState } from "./state.ts";

/** What can be asked: a text or two, words, or a question about a text. */
export type PredictInput =
  | string
  | { readonly text: string; readonly text_pair?: string }
  | { readonly tokens: readonly string[] }
  | { readonly question: string; readonly context: string };

/** What a sequence is classified as. */
export interface ClassPrediction {
  /** The likeliest label; of several, those above one half, joined by commas. */
  readonly label: string;
  /** Probability of the label. */
  readonly score: number;
  /** Probability of every label; of a regression its numbers. */
  readonly scores: Readonly<Record<string, number>>;
  /** Labels above one half, where a row may have several. */
  readonly labels?: readonly string[];
}

/** The tags of words. */
export interface TagPrediction {
  /** The likeliest tag of each word. */
  readonly tags: readonly string[];
  /** Probability of each tag. */
  readonly scores: readonly number[];
}

/** The answer to a question. */
export interface AnswerPrediction {
  /** Empty where the context seems to have none. */
  readonly answer: string;
  /** Product of the probabilities of its first and its last token. */
  readonly score: number;
  /** Where it begins in the context, in UTF-16 units. */
  readonly start: number;
  /** Where it ends in the context. */
  readonly end: number;
}

/** What an input is answered with. */
export type PredictionOf<I extends PredictInput> = I extends { readonly tokens: unknown } ? TagPrediction
  : I extends { readonly question: unknown } ? AnswerPrediction
  : ClassPrediction;

/** Options of {@linkcode predict}. */
export interface PredictOptions extends PredictLogitsOptions {
  /** Tokens of the longest row (512, or the positions of the model where they are less). */
  readonly maxLength?: number;
  /** Tokens of the longest answer (30). */
  readonly maxAnswer?: number;
  /** Allow that a context has no answer (false). */
  readonly noAnswer?: boolean;
}

/**
 * Predict with the adapter in use. Texts are classified, `{ tokens }` tagged, and questions answered, as the task of the
 * model is.
 *
 * @throws {UsageError} `usage/task` where the model has another task, or none with labels.
 *
 * @example Usage
 * ```ts no-eval
 * import { adapterTask, loadModel, openDevice, predict } from "@graft/graft";
 *
 * const model = await loadModel(await openDevice(), "models/bert", await adapterTask("out"));
 * await model.loadAdapter("out");
 * for (const { label, score } of await predict(model, ["A film to remember."])) console.log(label, score);
 * ```
 */
export async function predict<I extends PredictInput>(
  model: Model,
  inputs: readonly I[],
  options: PredictOptions = {},
): Promise<PredictionOf<I>[]> {
  const { state, tokenizer } = model;
  const maxLength = Math.min(options.maxLength ?? 512, state.architecture.positions);
  const encode = { tokenizer, maxLength };
  const made = inputs.map((input: PredictInput): TaskExample[] => {
    requireTask(state, input);
    if (typeof input === "string") return [encodeText({ text: input, line: 0 }, encode)];
    if ("tokens" in input) return [encodeWords({ words: input.tokens, line: 0 }, undefined, encode)];
    if ("question" in input) return encodeQuestion({ ...input, line: 0 }, { ...encode, stride: 128 });
    const { text, text_pair: pair } = input;
    return [encodeText({ text, ...(pair === undefined ? {} : { pair }), line: 0 }, encode)];
  });
  const logits = await predictLogits(model, made.flat().map(({ example }) => example), options);
  const names = labelNames(state.config);
  let at = 0;
  const predictions = made.map((windows, i) => {
    const own = logits.slice(at, at += windows.length), input = inputs[i]!;
    if (typeof input === "object" && "question" in input) return bestAnswer(input.context, windows, own, options);
    if (typeof input === "object" && "tokens" in input) {
      return tagsOf(own[0]!, windows[0]!.words!, { names, count: input.tokens.length });
    }
    return classOf(own[0]!, { names, kind: problemOf(state) });
  });
  return predictions as PredictionOf<I>[];
}

function requireTask({ task: { name } }: ModelState, input: PredictInput): void {
  const kind = typeof input === "string"
    ? "sequence-classification"
    : "tokens" in input
    ? "token-classification"
    : "question" in input
    ? "question-answering"
    : "sequence-classification";
  if (kind === name) return;
  throw new UsageError("usage/task", `Cannot use a model for ${name} for ${kind}`, {
    hint: `Load it with a head for it: loadModel(…, { task: "${kind}" }).`,
  });
}

/** What the sequences of a model are classified as. */
export function problemOf({ config, task: { classes } }: ModelState): ProblemType {
  return PROBLEM_TYPES.find((problem) => problem === config.problem_type) ??
    (classes === 1 ? "regression" : "single_label_classification");
}

/** A class from the logits of one row. */
export function classOf(
  z: Float32Array,
  { names, kind }: { readonly names: readonly string[]; readonly kind: ProblemType },
): ClassPrediction {
  const p = kind === "regression" ? [...z] : kind === "multi_label_classification" ? [...z].map(sigmoid) : softmax(z);
  const scores = Object.fromEntries(names.map((name, i) => [name, p[i]!]));
  const best = p.indexOf(Math.max(...p));
  if (kind !== "multi_label_classification") return { label: names[best]!, score: p[best]!, scores };
  const labels = names.filter((_, i) => p[i]! > 0.5);
  const certain = labels.length > 0 ? Math.min(...labels.map((name) => scores[name]!)) : 1 - p[best]!;
  return { label: labels.join(", "), score: certain, scores, labels };
}

/** Tags from the logits [T, classes] of one row; words that were cut off have the first label. */
export function tagsOf(
  z: Float32Array,
  words: Int32Array,
  { names, count }: { readonly names: readonly string[]; readonly count: number },
): TagPrediction {
  const fallback = names.indexOf("O") >= 0 ? "O" : names[0]!;
  const tags: string[] = new Array(count).fill(fallback), scores: number[] = new Array(count).fill(0);
  words.forEach((word, t) => {
    if (word < 0) return;
    const p = softmax(z.subarray(t * names.length, (t + 1) * names.length));
    const best = p.indexOf(Math.max(...p));
    tags[word] = names[best]!;
    scores[word] = p[best]!;
  });
  return { tags, scores };
}

/** Tokens of the longest answer. */
const LONGEST_ANSWER = 30;

/** The best span of all windows, by the sum of its logits; the first token of a window stands for no answer. */
export function bestAnswer(
  context: string,
  windows: readonly Pick<TaskExample, "context">[],
  logits: readonly Float32Array[],
  { maxAnswer = LONGEST_ANSWER, noAnswer = false }: Pick<PredictOptions, "maxAnswer" | "noAnswer">,
): AnswerPrediction {
  let best = { sum: -Infinity, w: 0, a: 0, b: 0 }, none = Infinity;
  for (const [w, z] of logits.entries()) {
    const { first, offsets } = windows[w]!.context!;
    none = Math.min(none, z[0]! + z[1]!);
    for (let a = 0; a < offsets.length; a++) {
      for (let b = a; b < Math.min(offsets.length, a + maxAnswer); b++) {
        const sum = z[2 * (first + a)]! + z[2 * (first + b) + 1]!;
        if (sum > best.sum && offsets[b]![1] > offsets[a]![0]) best = { sum, w, a, b };
      }
    }
  }
  const { sum, w, a, b } = best;
  if (sum === -Infinity || (noAnswer && none > sum)) return { answer: "", score: 0, start: 0, end: 0 };
  const { first, offsets } = windows[w]!.context!, z = logits[w]!;
  const start = offsets[a]![0], end = offsets[b]![1];
  const column = (c: number) => softmax(z.filter((_, i) => i % 2 === c));
  return { answer: context.slice(start, end), score: column(0)[first + a]! * column(1)[first + b]!, start, end };
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

function softmax(z: Float32Array): number[] {
  const most = Math.max(...z);
  const parts = Array.from(z, (x) => Math.exp(x - most));
  const sum = parts.reduce((a, b) => a + b, 0);
  return parts.map((x) => x / sum);
}
