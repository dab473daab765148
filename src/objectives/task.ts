// A task as plain data: which arrays a program reads, how a batch becomes these arrays, what the model puts out for them,
// and what is minimized. Programs, training, evaluation and parity know tasks only through this.
import type { Shape } from "../core/dims.ts";
import type { TaskName } from "../core/task_name.ts";
import type { Batch } from "../data/batch.ts";
import type { Value } from "../graph/graph.ts";
import type { Architecture } from "../models/architecture.ts";
import type { ModelScope } from "../nn/scope.ts";
import type { Sequence } from "../nn/sequence.ts";
import type { Word } from "../ops/word.ts";

/** Inputs of programs. Those that Hugging Face has carry its names; the others are derived from them on the CPU. */
export type InputName =
  | "input_ids"
  | "attention_mask"
  | "token_type_ids"
  | "position_ids"
  | "decoder_input_ids"
  | "labels"
  /** f32 [B, L]: numbers to predict (regression). */
  | "values"
  /** f32 [B, L]: 1 where a row has a label, else 0 (multi-label classification). */
  | "memberships"
  /** u32 [B]: the token that stands for its sequence. */
  | "rows"
  /** f32 [B, T]: shares of the tokens in the mean that stands for their sequence. */
  | "weights"
  /** u32: positions whose labels count, and their labels. */
  | "labelled"
  | "labelled_labels"
  | "start_positions"
  | "end_positions"
  /** u32 [2]: the first column that is a token, and how many the batch has before T is rounded up. */
  | "columns";

/** One input with its content. */
export interface ArrayInput {
  readonly shape: Shape;
  readonly dtype: "u32" | "f32";
  readonly data: Uint32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Float32Array<ArrayBuffer>;
}

/** A batch as the arrays that programs read. Programs depend on nothing but the names, shapes and types of the inputs. */
export interface Arranged {
  readonly B: number;
  /** Positions of a row of the decoder, or of the encoder where that is all. */
  readonly T: number;
  readonly inputs: { readonly [K in InputName]?: ArrayInput };
  /** What the loss is averaged over, such as labels that are not -100. */
  readonly items: number;
}

/** The inputs as leaves of a program. */
export type Inputs = { readonly [K in InputName]?: Value } & { readonly input_ids: Value };

/** How a batch is arranged. */
export interface ArrangeOptions {
  /** T is rounded up to a multiple of this, so that few program shapes serve all batches (1). */
  readonly multiple?: number;
  /** Columns in front that are no text, and stand for nothing: those of a prefix (0). */
  readonly prefix?: number;
}

/** Factor and smoothing of a loss. */
export interface LossOptions {
  /** Factor on the sum, usually one over {@linkcode Arranged.items}. */
  readonly scale: Word;
  /** Label smoothing, in [0, 1) (0). */
  readonly smoothing?: number;
}

/** What a model is to do. */
export interface Task {
  readonly name: TaskName;
  /** `task_type` of adapter_config.json. */
  readonly taskType: string | null;
  /** Names of modules that PEFT trains in full beside every adapter (`modules_to_save`). */
  readonly trains: readonly string[];
  /** Columns of the logits. */
  readonly classes: number;
  /**
   * Check a batch and arrange it.
   *
   * @throws {ConfigError} `data/batch` with all that is wrong.
   */
  arrange(batch: Batch, architecture: Architecture, options?: ArrangeOptions): Arranged;
  /** A batch of these sizes that passes the check: what programs are traced for before there is data. */
  specimen(sizes: { readonly B: number; readonly T: number }): Batch;
  /** How rows map to positions; by default B sequences of T, with the attention of the architecture. */
  sequence?(architecture: Architecture, inputs: Inputs, sizes: Pick<Arranged, "B" | "T">): Sequence;
  /** The logits of a batch, one row for each position or sequence; its columns are the classes. */
  logits(m: ModelScope, architecture: Architecture, inputs: Inputs): Value;
  /** The shape of the logits as Hugging Face gives them. */
  shape(sizes: Pick<Arranged, "B" | "T">): Shape;
  /** The loss [1] of logits. */
  criterion(logits: Value, inputs: Inputs, options: LossOptions): Value;
  /** Where labels are tokens: hidden states [N, D], and the logits [n, V] of any rows of them. */
  readonly tokens?: TokenStates;
  /** The loss [1] of a batch where it need not have all logits in memory; by default the criterion of the logits. */
  loss?(m: ModelScope, architecture: Architecture, inputs: Inputs, options: LossOptions): Value;
}

/** A language model in two parts: rows without a label need no logits. */
export interface TokenStates {
  /** The states of all rows, in the order of the labels. */
  hidden(m: ModelScope, architecture: Architecture, inputs: Inputs): Value;
  /** The logits of some of them. */
  logits(m: ModelScope, architecture: Architecture, hidden: Value): Value;
}

/** The loss [1] of a batch. */
export function taskLoss(
  task: Task,
  m: ModelScope,
  architecture: Architecture,
  inputs: Inputs,
  options: LossOptions,
): Value {
  return task.loss?.(m, architecture, inputs, options) ??
    task.criterion(task.logits(m, architecture, inputs), inputs, options);
}
