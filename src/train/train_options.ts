// What a run can be told, and the defaults.
import { UsageError } from "../core/errors.ts";
import type { Examples, TrainData } from "./source.ts";
import { adamw } from "../optim/adam.ts";
import type { LoraPlus } from "../optim/lora_plus.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import type { ScheduleName } from "../optim/schedule.ts";

/** Options of `train`. */
export interface TrainOptions {
  /** Examples of `loadDataset`, or ready batches that are taken in order. */
  readonly data: TrainData;
  /** Evaluated after every epoch. */
  readonly evalData?: Examples;
  /** AdamW without weight decay by default. */
  readonly optimizer?: Optimizer;
  /** Peak learning rate; by default that of the method, larger on narrow models. */
  readonly learningRate?: number;
  /** How the rate falls ("linear"). */
  readonly schedule?: ScheduleName;
  /** Updates over which the rate rises; below 1 a share of all (0). */
  readonly warmupSteps?: number;
  /** Passes over the data (1). */
  readonly epochs?: number;
  /** Stop after this many updates. */
  readonly maxSteps?: number;
  /** Rows that are looked at at once (8). */
  readonly batchSize?: number;
  /** Batches of an update, whose gradients are added (1). */
  readonly gradientAccumulation?: number;
  /** Largest global norm of the gradients, 0 for none (1). */
  readonly maxGradNorm?: number;
  /** Label smoothing (0). */
  readonly labelSmoothing?: number;
  /** Rates of LoRA+: those of B and of embeddings. */
  readonly loraPlus?: LoraPlus;
  /** Apply weight decay to biases and norms too, as a plain PyTorch optimizer does (false). */
  readonly decayAll?: boolean;
  /** Compute again in the backward pass what layers have computed: less memory, more time, the same bits (false). */
  readonly recompute?: boolean;
  /** Order of the rows and random masks (42). */
  readonly seed?: number;
  /** Updates between two looks at the figures, at most (10). */
  readonly logEvery?: number;
  /** Where to save the adapter when the run ends. */
  readonly output?: string;
  /** Stop after the update that is running. */
  readonly signal?: AbortSignal;
}

/** Options with their defaults. */
export type Settings =
  & Required<Omit<TrainOptions, "evalData" | "maxSteps" | "output" | "signal" | "data" | "loraPlus">>
  & Pick<TrainOptions, "maxSteps" | "signal" | "loraPlus">;

/**
 * The options with their defaults.
 *
 * @throws {UsageError} `train/options` listing all that are wrong.
 */
export function resolveOptions(
  { data: _data, evalData: _evalData, output: _output, ...options }: TrainOptions & { readonly learningRate: number },
): Settings {
  const settings: Settings = {
    optimizer: adamw({ weightDecay: 0 }),
    schedule: "linear",
    warmupSteps: 0,
    epochs: 1,
    batchSize: 8,
    gradientAccumulation: 1,
    maxGradNorm: 1,
    labelSmoothing: 0,
    decayAll: false,
    recompute: false,
    seed: 42,
    logEvery: 10,
    ...options,
  };
  const wrong: string[] = [];
  const whole = (name: "batchSize" | "gradientAccumulation" | "logEvery" | "maxSteps") => {
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
  (["batchSize", "gradientAccumulation", "logEvery", "maxSteps"] as const).forEach(whole);
  (["learningRate", "warmupSteps", "maxGradNorm", "labelSmoothing", "epochs"] as const).forEach(atLeastZero);
  const { ratio, embeddingRate = 0 } = settings.loraPlus ?? { ratio: 1 };
  if (!(Number.isFinite(ratio) && ratio > 0)) wrong.push(`loraPlus.ratio must be above 0: received ${ratio}`);
  if (!(Number.isFinite(embeddingRate) && embeddingRate >= 0)) {
    wrong.push(`loraPlus.embeddingRate must be a number of at least 0: received ${embeddingRate}`);
  }
  if (wrong.length > 0) throw new UsageError("train/options", `Cannot train with these options: ${wrong.join("; ")}`);
  return settings;
}
