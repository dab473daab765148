// Batches of an epoch. Their order is a function of (seed, epoch) and the lengths of the rows, so a resumed run computes
// it again and goes on at its place. Rows are shuffled, sorted by length within windows of at most 50 batches, so that
// little is padded, and the full batches are shuffled again (as transformers' LengthGroupedSampler, whose window this
// is). No row is left out: what does not fill a batch is the last, smaller one.
import { permutation, randomKey } from "../core/random.ts";
import type { Batch } from "./batch.ts";
import { type Example, IGNORE } from "./labels.ts";

/** How the rows of an epoch are put into batches. */
export interface EpochOptions {
  /** Rows of a batch. */
  readonly batchSize: number;
  /** Seed of the run (42). */
  readonly seed?: number;
  /** Epoch, counted from 0 (0). */
  readonly epoch?: number;
  /** Draw a new order in every epoch (true); otherwise rows keep the order of the file. */
  readonly shuffle?: boolean;
  /** Put rows of similar length into a batch (as `shuffle`). */
  readonly groupByLength?: boolean;
  /** Rows are padded to a multiple of this many tokens (1), so that fewer lengths occur. */
  readonly lengthMultiple?: number;
  /** Rows are not padded beyond this, such as the positions of the model. */
  readonly maxLength?: number;
}

/** The batches of an epoch, as indices. */
export interface EpochPlan {
  /** Indices of the examples of each batch. */
  readonly batches: readonly (readonly number[])[];
  /** Share of the cells of all batches that are padding, in [0, 1). */
  readonly padding: number;
}

/** Options of {@linkcode batches}. */
export interface BatchesOptions extends EpochOptions {
  /** Id written where a row is padded (0); the mask hides it and no label trains it. */
  readonly padId?: number;
  /** Whether the model tells two texts of a row apart (true); others have no `token_type_ids`. */
  readonly types?: boolean;
}

/** The largest window of similar lengths, in batches. */
const WINDOW = 50;

/**
 * Which examples form which batch of an epoch. Every example occurs once.
 *
 * @throws {RangeError} where `batchSize` or `lengthMultiple` is not a positive integer.
 */
export function epochPlan(examples: readonly Example[], options: EpochOptions): EpochPlan {
  const { batchSize, seed = 42, epoch = 0, shuffle = true, groupByLength = shuffle } = options;
  requirePositive({ batchSize, lengthMultiple: options.lengthMultiple ?? 1 });
  const count = examples.length;
  const length = (i: number): number => examples[i]!.ids.length;
  const order = shuffle ? [...permutation(randomKey(seed, "rows", epoch), count)] : examples.map((_, i) => i);
  const window = batchSize * Math.max(1, Math.min(WINDOW, Math.floor(count / (4 * batchSize))));
  const sorted = groupByLength ? chunk(order, window).flatMap((w) => w.sort((i, j) => length(j) - length(i))) : order;
  const inOrder = chunk(sorted, batchSize);
  const full = Math.floor(count / batchSize);
  const shuffled = shuffle
    ? [...permutation(randomKey(seed, "batches", epoch), full)].map((b) => inOrder[b]!).concat(inOrder.slice(full))
    : inOrder;
  const cells = shuffled.reduce((sum, rows) => sum + rows.length * paddedLength(rows.map(length), options), 0);
  const tokens = examples.reduce((sum, { ids }) => sum + ids.length, 0);
  return { batches: shuffled, padding: cells === 0 ? 0 : 1 - tokens / cells };
}

/**
 * Optimizer steps of an epoch: each takes `gradientAccumulation` batches, the last one what is left.
 *
 * @throws {RangeError} where an option is not a positive integer.
 */
export function stepsPerEpoch(
  rows: number,
  { batchSize, gradientAccumulation = 1 }: { readonly batchSize: number; readonly gradientAccumulation?: number },
): number {
  requirePositive({ batchSize, gradientAccumulation });
  return Math.ceil(Math.ceil(rows / batchSize) / gradientAccumulation);
}

/** The batches of an epoch, one at a time, in the order that the seed and the epoch give. */
export function* batches(
  { examples }: { readonly examples: readonly Example[] },
  options: BatchesOptions,
): Generator<Batch, void, void> {
  for (const rows of epochPlan(examples, options).batches) yield collate(rows.map((i) => examples[i]!), options);
}

/**
 * Examples as one batch, padded on the right.
 *
 * @returns `input_ids`, `attention_mask`, `token_type_ids` where rows have two texts, all [B, T]; and `labels` of tokens
 * [B, T], of other texts, or of rows, or `start_positions` and `end_positions`.
 */
export function collate(
  examples: readonly Example[],
  options: Pick<BatchesOptions, "padId" | "types" | "lengthMultiple" | "maxLength"> = {},
): Batch {
  const { padId = 0, types = true } = options;
  const T = paddedLength(examples.map(({ ids }) => ids.length), options);
  const pad = (values: ArrayLike<number>, filler: number): number[] =>
    Array.from({ length: T }, (_, t) => values[t] ?? filler);
  return {
    input_ids: examples.map(({ ids }) => pad(ids, padId)),
    attention_mask: examples.map(({ ids }) => Array.from({ length: T }, (_, t) => t < ids.length ? 1 : 0)),
    ...(types && examples.some(({ types }) => types)
      ? { token_type_ids: examples.map(({ types }) => pad(types ?? [], 0)) }
      : {}),
    ...targets(examples, (labels) => pad(labels, IGNORE)),
  };
}

/** What is predicted: all rows of a data set have it in the same form. */
function targets(
  examples: readonly Example[],
  pad: (labels: Int32Array) => number[],
): Pick<Batch, "labels" | "start_positions" | "end_positions"> {
  const { label, span, target } = examples[0]!;
  if (span) {
    return { start_positions: examples.map((e) => e.span![0]), end_positions: examples.map((e) => e.span![1]) };
  }
  if (target) {
    const most = Math.max(...examples.map((example) => example.target!.length));
    return { labels: examples.map((e) => Array.from({ length: most }, (_, t) => e.target![t] ?? IGNORE)) };
  }
  if (label !== undefined) {
    return { labels: examples.map((example) => example.label!) as number[] | (readonly number[])[] };
  }
  return { labels: examples.map(({ labels }) => pad(labels)) };
}

/** T of a batch: the longest row, up to the next multiple, but not above the limit. */
function paddedLength(
  lengths: readonly number[],
  { lengthMultiple = 1, maxLength = Infinity }: Pick<BatchesOptions, "lengthMultiple" | "maxLength">,
): number {
  const longest = Math.max(...lengths);
  return Math.max(longest, Math.min(maxLength, lengthMultiple * Math.ceil(longest / lengthMultiple)));
}

function chunk<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));
}

function requirePositive(options: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(options)) {
    if (Number.isInteger(value) && value > 0) continue;
    throw new RangeError(`Cannot form batches as ${name} must be a positive integer: received ${value}`);
  }
}
