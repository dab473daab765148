// The training loop: windows of micro-batches are queued without waiting, and the figures of all updates since the last
// look are read from the GPU's ring at once.
import { NumericError, printable, UsageError } from "../core/errors.ts";
import { RING_SLOTS, type Scalars } from "../core/scalars.ts";
import type { Batch } from "../data/batch.ts";
import type { Dataset } from "../data/dataset.ts";
import { adamw } from "../optim/adam.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { type ScheduleName, schedules, warmupSteps as warmupCount } from "../optim/schedule.ts";
import { evaluate } from "./evaluate.ts";
import { prepareBatch, trainedKind } from "./forward.ts";
import type { Model } from "./model.ts";
import { batchSource } from "./source.ts";
import { endTraining, microStep, readRing, type StepOptions, trainedLayout, updateStep } from "./step.ts";

/** Options of {@linkcode train}. */
export interface TrainOptions {
  /** Examples of `loadDataset`, or ready batches that are taken in order. */
  readonly data: Dataset | Iterable<Batch>;
  /** Evaluated after every epoch. */
  readonly evalData?: Dataset;
  /** AdamW without weight decay by default. */
  readonly optimizer?: Optimizer;
  /** Peak learning rate (2e-4). */
  readonly learningRate?: number;
  /** How the rate falls ("linear"). */
  readonly schedule?: ScheduleName;
  /** Updates over which the rate rises; below 1 a share of all (0). */
  readonly warmupSteps?: number;
  /** Passes over the data (1). */
  readonly epochs?: number;
  /** Stop after this many updates. */
  readonly maxSteps?: number;
  /** Rows of a micro-batch (8). */
  readonly batchSize?: number;
  /** Micro-batches of an update (1). */
  readonly accumulate?: number;
  /** Largest global norm of the gradients, 0 for none (1). */
  readonly maxGradNorm?: number;
  /** Label smoothing (0). */
  readonly labelSmoothing?: number;
  /** Apply weight decay to biases and norms too, as a plain PyTorch optimizer does (false). */
  readonly decayAll?: boolean;
  /** Order of the rows and random masks (42). */
  readonly seed?: number;
  /** Updates between two looks at the figures, at most (10). */
  readonly logEvery?: number;
  /** Where to save the adapter when the run ends. */
  readonly output?: string;
  /** Stop after the update that is running. */
  readonly signal?: AbortSignal;
}

/** The figures of one update. */
export interface StepRecord {
  /** Updates done, from 1. */
  readonly step: number;
  /** Updates of the run. */
  readonly steps: number;
  /** Passes over the data done, with fractions. */
  readonly epoch: number;
  /** Mean over the labels of the window, before the update. */
  readonly loss: number;
  readonly learningRate: number;
  /** Before clipping. */
  readonly gradNorm: number;
  /** Tokens without padding, since the start. */
  readonly tokens: number;
  readonly tokensPerSecond: number;
  readonly secondsLeft: number;
  /** On the last record of an epoch, where there is evaluation data. */
  readonly evalLoss?: number;
}

/** A run in progress: iterate to make it go on. */
export interface TrainRun extends AsyncIterable<StepRecord> {
  /** Updates of the run. */
  readonly steps: number;
  /** Dispatches and memory of the largest step so far. */
  readonly summary: string;
}

/** Rows are padded to a multiple of this many tokens, so that few program shapes serve all batches. */
const LENGTH_MULTIPLE = 32;

/** Milliseconds between two looks at the figures, about. */
const LOOK_MS = 1000;

/**
 * Train the adapter in use, or all weights after `unfreeze()`. Nothing happens until the result is iterated.
 *
 * @throws {UsageError} `train/frozen`, `train/options`, `data/empty`.
 * @throws {NumericError} `num/loss` naming the step and its rows; the parameters keep their last finite values.
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
  const settings = resolve(options);
  trainedKind(state);
  const { epochs, maxSteps = Infinity } = settings;
  const { positions } = state.architecture;
  const padId = state.tokenizerOrNone?.padId ?? 0;
  const source = batchSource(options.data, { ...settings, padId, positions, lengthMultiple: LENGTH_MULTIPLE });
  const steps = Math.max(1, Math.min(maxSteps, Math.ceil(epochs * source.stepsPerEpoch)));
  const run = { steps, summary: "", [Symbol.asyncIterator]: iterate };
  return run;

  async function* iterate(): AsyncGenerator<StepRecord, void, void> {
    const rate = schedules[settings.schedule]({ warmup: warmupCount(settings.warmupSteps, steps), total: steps });
    const step: StepOptions = { ...settings, smoothing: settings.labelSmoothing };
    const layout = trainedLayout(state, step);
    const pending: {
      readonly record: Omit<StepRecord, "loss" | "gradNorm" | "tokensPerSecond" | "secondsLeft">;
      readonly place: string;
    }[] = [];
    let tokens = 0, micro = 0, every = 1, counted = 0;
    let clock = performance.now();
    let speed = { tokens: 0, steps: 0, ms: 0 };
    try {
      for (let done = 0; done < steps; done++) {
        const window = source.window(done).map((item) => ({
          ...item,
          batch: prepareBatch(state, item.batch, LENGTH_MULTIPLE),
          real: realTokens(item.batch),
        }));
        const items = window.reduce((sum, { batch }) => sum + batch.items, 0);
        const place = window.map((item) => item.place).join("; ");
        if (items === 0) {
          throw new UsageError("data/no-labels", `Cannot train on ${place} as none of its labels is trained`);
        }
        const learningRate = settings.learningRate * rate(done);
        const scalars: Scalars = {
          seed: settings.seed,
          lr: learningRate,
          corrections: settings.optimizer.corrections(done + 1),
          lossScale: 1 / items,
          slot: done % RING_SLOTS,
          maxNorm: settings.maxGradNorm,
        };
        await model.queue(async () => {
          if (trainedLayout(state, step).name !== layout.name) throw switchedError(layout.name);
          for (const [i, { batch }] of window.entries()) {
            const made = await microStep(state, batch, { ...scalars, step: micro++, first: i === 0 }, step);
            run.summary = made.executable.summary;
          }
          await updateStep(state, scalars, step);
        });
        tokens += window.reduce((sum, { real }) => sum + real, 0);
        pending.push({
          record: { step: done + 1, steps, epoch: (done + 1) / source.stepsPerEpoch, learningRate, tokens },
          place,
        });

        const last = done + 1 === steps || settings.signal?.aborted === true;
        const epochEnds = options.evalData !== undefined && (last || (done + 1) % source.stepsPerEpoch === 0);
        if (!last && !epochEnds && pending.length < every) continue;
        const ring = await model.queue(() => readRing(state));
        const ms = performance.now() - clock;
        // The first steps compile: they say nothing about the speed of the others.
        if (done > 0) {
          speed = { tokens: speed.tokens + tokens - counted, steps: speed.steps + pending.length, ms: speed.ms + ms };
        }
        counted = tokens;
        every = Math.max(1, Math.min(settings.logEvery, RING_SLOTS / 2, Math.round(LOOK_MS * pending.length / ms)));
        const evalLoss = epochEnds ? (await evaluate(model, options.evalData!)).loss : undefined;
        const stepMs = speed.steps > 0 ? speed.ms / speed.steps : ms / pending.length;
        const tokensPerSecond = speed.ms > 0 ? 1000 * speed.tokens / speed.ms : 1000 * tokens / ms;
        for (const { record, place } of pending.splice(0)) {
          const { loss, gradNorm, nonFinite } = ring[(record.step - 1) % RING_SLOTS]!;
          if (nonFinite || !Number.isFinite(loss)) throw lossError(record.step, place, loss, gradNorm);
          const secondsLeft = (steps - record.step) * stepMs / 1000;
          const extra = record.step === done + 1 && evalLoss !== undefined ? { evalLoss } : {};
          yield { ...record, loss, gradNorm, tokensPerSecond, secondsLeft, ...extra };
        }
        clock = performance.now();
        if (last) break;
      }
      if (options.output !== undefined) {
        await (state.full ? model.saveMerged(options.output) : model.saveAdapter(options.output));
      }
    } finally {
      await model.queue(() => Promise.resolve(endTraining(state, layout)));
    }
  }
}

type Settings =
  & Required<Omit<TrainOptions, "evalData" | "maxSteps" | "output" | "signal" | "data">>
  & Pick<TrainOptions, "maxSteps" | "signal">;

function resolve({ data: _data, evalData: _evalData, output: _output, ...options }: TrainOptions): Settings {
  const settings: Settings = {
    optimizer: adamw({ weightDecay: 0 }),
    learningRate: 2e-4,
    schedule: "linear",
    warmupSteps: 0,
    epochs: 1,
    batchSize: 8,
    accumulate: 1,
    maxGradNorm: 1,
    labelSmoothing: 0,
    decayAll: false,
    seed: 42,
    logEvery: 10,
    ...options,
  };
  const wrong: string[] = [];
  const whole = (name: "batchSize" | "accumulate" | "logEvery" | "maxSteps") => {
    const value = settings[name] ?? 1;
    if (!(Number.isInteger(value) && value >= 1)) {
      wrong.push(`${name} must be a whole number above 0: received ${value}`);
    }
  };
  const atLeastZero = (name: "learningRate" | "warmupSteps" | "maxGradNorm" | "labelSmoothing" | "epochs") => {
    if (!(Number.isFinite(settings[name]) && settings[name] >= 0)) {
      wrong.push(`${name} must be a number of at least 0: received ${settings[name]}`);
    }
  };
  (["batchSize", "accumulate", "logEvery", "maxSteps"] as const).forEach(whole);
  (["learningRate", "warmupSteps", "maxGradNorm", "labelSmoothing", "epochs"] as const).forEach(atLeastZero);
  if (wrong.length > 0) throw new UsageError("train/options", `Cannot train with these options: ${wrong.join("; ")}`);
  return settings;
}

function realTokens({ input_ids, attention_mask }: Batch): number {
  if (!attention_mask) return input_ids.length * input_ids[0]!.length;
  return attention_mask.reduce((sum, row) => sum + row.reduce((a, b) => a + b, 0), 0);
}

function switchedError(name: string): UsageError {
  return new UsageError("train/switched", `Cannot go on training ${printable(name)} as it is not in use any more`, {
    hint: "Switch back to it before the loop goes on.",
  });
}

function lossError(step: number, place: string, loss: number, norm: number): NumericError {
  return new NumericError(
    "num/loss",
    `Cannot go on as step ${step} has loss ${loss} and a gradient of norm ${norm} (${place})`,
    {
      hint:
        "The trained tensors keep their values of the step before. Try a lower learning rate; FINITE=1 finds the first value that is not finite.",
    },
  );
}
