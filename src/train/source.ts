// Where a run's batches come from: a data set, in an order that is a function of (seed, epoch), or ready batches.
import { UsageError } from "../core/errors.ts";
import type { Batch } from "../data/batch.ts";
import { collate, epochPlan, stepsPerEpoch } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Example } from "../data/labels.ts";
import type { TaskDataset } from "../data/task_dataset.ts";

/** A micro-batch and where it came from. */
export interface SourcedBatch {
  readonly batch: Batch;
  /** Such as `"rows 12, 40 of epoch 1"`. */
  readonly place: string;
}

/** All micro-batches of a run, window by window. */
export interface BatchSource {
  /** A micro-batch as large as the largest. */
  readonly largest: Batch;
  /** Updates of one epoch. */
  readonly stepsPerEpoch: number;
  /** The micro-batches of update `step`, counted from 0. */
  window(step: number): SourcedBatch[];
}

/** Examples, and what of them changes from epoch to epoch. */
export type Examples = Pick<Dataset, "examples"> & Pick<TaskDataset, "prepare">;

/** What a run is fed. */
export type TrainData = Examples | Iterable<Batch>;

/** Options of {@linkcode batchSource}. */
export interface SourceOptions {
  readonly batchSize: number;
  readonly gradientAccumulation: number;
  readonly seed: number;
  readonly padId: number;
  /** Whether the model tells two texts of a row apart. */
  readonly types: boolean;
}

/**
 * The batches of `data`.
 *
 * @throws {UsageError} `data/empty` if there are none.
 */
export function batchSource(data: TrainData, options: SourceOptions): BatchSource {
  return "examples" in data ? datasetSource(data, options) : listSource([...data], options);
}

function datasetSource({ examples, prepare }: Examples, options: SourceOptions): BatchSource {
  const { batchSize, gradientAccumulation, seed, padId, types } = options;
  if (examples.length === 0) throw new UsageError("data/empty", "Cannot train on a data set without examples");
  const steps = stepsPerEpoch(examples.length, { batchSize, gradientAccumulation });
  const longest = longestOf(examples);
  let planned = -1;
  let plan: readonly (readonly number[])[] = [];
  return {
    largest: collate(
      examples.slice(0, batchSize).map((_, row) => prepare?.(longest, { seed, epoch: 0, row }) ?? longest),
      { padId, types },
    ),
    stepsPerEpoch: steps,
    window(step) {
      const epoch = Math.floor(step / steps);
      if (epoch !== planned) plan = epochPlan(examples, { batchSize, seed, epoch }).batches;
      planned = epoch;
      const first = (step % steps) * gradientAccumulation;
      return plan.slice(first, first + gradientAccumulation).map((rows) => ({
        batch: collate(rows.map((row) => prepare?.(examples[row]!, { seed, epoch, row }) ?? examples[row]!), {
          padId,
          types,
        }),
        place: `rows ${rows.join(", ")} of epoch ${epoch + 1}`,
      }));
    },
  };
}

/** An example as long as the longest, in both of its texts where it has two. */
function longestOf(examples: readonly Example[]): Example {
  const longest = examples.reduce((a, b) => b.ids.length > a.ids.length ? b : a);
  if (!longest.target) return longest;
  const { target } = examples.reduce((a, b) => b.target!.length > a.target!.length ? b : a);
  return { ...longest, target: target! };
}

function listSource(list: readonly Batch[], { gradientAccumulation }: SourceOptions): BatchSource {
  if (list.length === 0) throw new UsageError("data/empty", "Cannot train without batches");
  const steps = Math.ceil(list.length / gradientAccumulation);
  const cells = ({ input_ids: rows }: Batch) => rows.length * (rows[0]?.length ?? 0);
  return {
    largest: list.reduce((a, b) => cells(b) > cells(a) ? b : a),
    stepsPerEpoch: steps,
    window(step) {
      const first = (step % steps) * gradientAccumulation;
      return list.slice(first, first + gradientAccumulation).map((batch, i) => ({
        batch,
        place: `batch ${first + i + 1}`,
      }));
    },
  };
}
