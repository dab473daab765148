// The training loop: windows of micro-batches are queued without waiting, and the figures of all updates since the last
// look are read from the GPU's ring at once.
import { defaultRate } from "../adapters/rates.ts";
import { ConfigError, DeviceError, OutOfMemoryError, printable, UsageError } from "../core/errors.ts";
import { RING_SLOTS, type Scalars } from "../core/scalars.ts";
import type { Batch } from "../data/batch.ts";
import type { Arranged } from "../objectives/task.ts";
import { schedules, warmupSteps as warmupCount } from "../optim/schedule.ts";
import { LENGTH_MULTIPLE } from "../objectives/arrange.ts";
import { allocationOf, allocationScalars, endAllocation } from "./allocation.ts";
import { evaluate } from "./evaluate.ts";
import { createFigures, type StepRecord } from "./figures.ts";
import { prepareBatch, trainedKind } from "./forward.ts";
import type { Model } from "./model.ts";
import { batchSource } from "./source.ts";
import { activeAdapter, rowOptions } from "./state.ts";
import { endTraining, microProgram, microStep, readRing, trainedLayout, updateStep } from "./step.ts";
import { resolveOptions, type TrainOptions } from "./train_options.ts";

/** A run in progress: iterate to make it go on. */
export interface TrainRun extends AsyncIterable<StepRecord> {
  /** Updates of the run. */
  readonly steps: number;
  /** Dispatches and memory of the largest step so far. */
  readonly summary: string;
}

/**
 * Train the adapter in use, or all weights after `unfreeze()`. Nothing happens until the result is iterated.
 *
 * @throws {UsageError} `train/frozen`, `train/options`, `train/running`, `data/empty`.
 * @throws {NumericError} `num/loss` naming the step and its rows; no update is made with it.
 *
 * @example Usage
 * ```ts no-eval
 * import { loadDataset, loadModel, lora, openDevice, train } from "@graft/graft";
 *
 * const model = await loadModel(await openDevice(), "models/smollm2");
 * await model.addAdapter(lora({ rank: 8, alpha: 16 }));
 * const data = await loadDataset("train.jsonl", { tokenizer: model.tokenizer, maxLength: 512 });
 * for await (const { step, loss } of train(model, { data, learningRate: 2e-4 })) console.log(step, loss);
 * await model.saveAdapter("out");
 * ```
 */
export function train(model: Model, options: TrainOptions): TrainRun {
  const { state } = model;
  const learningRate = defaultRate(activeAdapter(state)?.config, state.architecture.D);
  const settings = { ...resolveOptions({ learningRate, ...options }), smoothing: options.labelSmoothing ?? 0 };
  trainedKind(state);
  const { epochs, maxSteps = Infinity, learningRate: peak, schedule, warmupSteps, optimizer, seed } = settings;
  const source = batchSource(options.data, { ...settings, ...rowOptions(state) });
  const steps = Math.max(1, Math.min(maxSteps, Math.ceil(epochs * source.stepsPerEpoch)));
  const allocation = allocationOf(state, steps);
  const running = { ...settings, allocation };
  const rate = schedules[schedule]({ warmup: warmupCount(warmupSteps, steps), total: steps });
  const run = { steps, summary: "", [Symbol.asyncIterator]: iterate };
  return run;

  async function* iterate(): AsyncGenerator<StepRecord, void, void> {
    const layout = trainedLayout(state, settings);
    if (state.training) throw runningError();
    state.training = true;
    const figures = createFigures(settings);
    let tokens = 0, micro = 0;

    /** Queue update `done + 1` with its micro-batches. */
    const queueUpdate = async (done: number): Promise<void> => {
      const window = source.window(done).map(({ batch, place }) => {
        const arranged = prepareBatch(state, batch, { multiple: LENGTH_MULTIPLE });
        return { arranged, real: realTokens(batch, arranged), place };
      });
      const items = window.reduce((sum, { arranged }) => sum + arranged.items, 0);
      const place = window.map((item) => item.place).join("; ");
      if (items === 0) {
        throw new UsageError("data/no-labels", `Cannot train on ${place} as none of its labels is trained`);
      }
      const learningRate = peak * rate(done);
      const scalars: Scalars = {
        seed,
        lr: learningRate,
        corrections: optimizer.corrections(done + 1),
        lossScale: 1 / items,
        slot: done % RING_SLOTS,
        maxNorm: settings.maxGradNorm,
        ...allocationScalars(allocation, done, window.length),
      };
      await model.queue(async () => {
        if (trainedLayout(state, settings).name !== layout.name) throw switchedError(layout.name);
        for (const [i, { arranged }] of window.entries()) {
          await microStep(state, arranged, { ...scalars, step: micro++, first: i === 0 }, running);
        }
        await updateStep(state, scalars, running);
      });
      tokens += window.reduce((sum, { real }) => sum + real, 0);
      figures.add({
        record: { step: done + 1, steps, epoch: (done + 1) / source.stepsPerEpoch, learningRate, tokens },
        place,
      });
    };

    let done = 0;
    try {
      // The longest program first: it sizes the scratch memory that all of them share. (A batch that cannot be is
      // refused when its turn comes.)
      const largest = arrangedOrNone(state, source.largest);
      if (largest) {
        const { executable } = await model.queue(() => microProgram(state, largest, running));
        run.summary = executable.summary;
      }
      for (let last = false; !last; done++) {
        await queueUpdate(done);
        last = done + 1 === steps || settings.signal?.aborted === true;
        const evaluates = options.evalData !== undefined && (last || (done + 1) % source.stepsPerEpoch === 0);
        if (!last && !evaluates && !figures.due()) continue;
        const records = figures.collect(await model.queue(() => readRing(state)));
        if (evaluates) {
          const { loss: evalLoss } = await evaluate(model, options.evalData!);
          records.push({ ...records.pop()!, evalLoss });
        }
        yield* records;
        figures.resume();
      }
      if (allocation) await model.queue(() => endAllocation(state, allocation));
      if (options.output !== undefined) {
        await (state.full ? model.saveMerged(options.output) : model.saveAdapter(options.output));
      }
    } catch (error) {
      throw atStep(error, done + 1, settings);
    } finally {
      await model.queue(() => Promise.resolve(endTraining(state, layout)));
      state.training = false;
    }
  }
}

function arrangedOrNone(state: Model["state"], batch: Batch): Arranged | undefined {
  try {
    return prepareBatch(state, batch, { multiple: LENGTH_MULTIPLE });
  } catch (error) {
    if (error instanceof ConfigError) return undefined;
    throw error;
  }
}

/** Tokens that are read, and those that an encoder-decoder writes. */
function realTokens({ input_ids, attention_mask }: Batch, { inputs, items }: Arranged): number {
  const written = inputs.decoder_input_ids ? items : 0;
  if (!attention_mask) return input_ids.length * input_ids[0]!.length + written;
  return attention_mask.reduce((sum, row) => sum + row.reduce((a, b) => a + b, 0), written);
}

function switchedError(name: string): UsageError {
  return new UsageError("train/switched", `Cannot go on training ${printable(name)} as it is not in use any more`, {
    hint: "Switch back to it before the loop goes on.",
  });
}

function runningError(): UsageError {
  return new UsageError("train/running", "Cannot start a run as another run of this model has not ended", {
    hint: "Iterate the other run to its end, or leave its loop.",
  });
}

/** What the device throws says what failed; the run says when, and what would need less memory. */
function atStep(error: unknown, step: number, { recompute }: Pick<TrainOptions, "recompute">): unknown {
  for (const Kind of [DeviceError, OutOfMemoryError]) {
    if (error instanceof Kind) {
      const hint = "Or compute layers again in the backward pass: train(…, { recompute: true }), finetune --recompute.";
      const message = `Cannot go on at step ${step}: ${error.message}`;
      const saves = Kind === OutOfMemoryError && recompute !== true;
      return new Kind(error.code, message, { cause: error, ...saves ? { hint } : {} });
    }
  }
  return error;
}
