// Learning-rate schedules: the factor on the base rate, from the number of updates done (0 for the first).
//
// The arithmetic is that of Hugging Face's lambdas (transformers/optimization.py) in the same order, so that the rates
// agree to the last bit. With warm-up the first update has rate 0, as there.
import { ConfigError } from "../core/errors.ts";

/** Factor on the base learning rate for the update after `done` others. */
export type Schedule = (done: number) => number;

/** Options of every schedule. */
export interface ScheduleOptions {
  /** Updates over which the rate rises from 0; 0 by default. See {@linkcode warmupSteps} for ratios. */
  readonly warmup?: number;
  /** Updates of the whole run. */
  readonly total: number;
}

/** Options of {@linkcode cosine}. */
export interface CosineOptions extends ScheduleOptions {
  /** Waves after the warm-up; half a wave, down to 0, by default. */
  readonly cycles?: number;
}

/** Up to 1 in the warm-up, then down to 0 in a straight line. */
export function linear(options: ScheduleOptions): Schedule {
  const { warmup, total } = usable(options);
  return (done) =>
    done < warmup ? done / Math.max(1, warmup) : Math.max(0, (total - done) / Math.max(1, total - warmup));
}

/** Up to 1 in the warm-up, then down to 0 along half a cosine. */
export function cosine(options: CosineOptions): Schedule {
  const { warmup, total } = usable(options);
  const { cycles = 0.5 } = options;
  return (done) => {
    if (done < warmup) return done / Math.max(1, warmup);
    const progress = (done - warmup) / Math.max(1, total - warmup);
    return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * cycles * 2 * progress)));
  };
}

/** Always 1; warm-up is not for this one, see {@linkcode constantWithWarmup}. */
export function constant(options: ScheduleOptions): Schedule {
  usable(options);
  return () => 1;
}

/** Up to 1 in the warm-up, then 1. */
export function constantWithWarmup(options: ScheduleOptions): Schedule {
  const { warmup } = usable(options);
  return (done) => done < warmup ? done / Math.max(1, warmup) : 1;
}

/** Schedules by the names that Hugging Face gives them (`lr_scheduler_type`). */
export const schedules = {
  linear,
  cosine,
  constant,
  constant_with_warmup: constantWithWarmup,
} as const satisfies Record<string, (options: ScheduleOptions) => Schedule>;

/** Name of a schedule. */
export type ScheduleName = keyof typeof schedules;

/** `warmup` in updates: below 1 it is a share of `total`, rounded up as Hugging Face does. */
export function warmupSteps(warmup: number, total: number): number {
  return warmup >= 1 ? warmup : Math.ceil(total * warmup);
}

function usable({ warmup = 0, total }: ScheduleOptions): { readonly warmup: number; readonly total: number } {
  const problems = Object.entries({ warmup, total }).filter(([, n]) => !Number.isSafeInteger(n) || n < 0)
    .map(([name, n]) => `${name} must be a whole number of updates: received ${n}`);
  if (problems.length > 0) {
    throw new ConfigError("config/schedule", "this learning-rate schedule", problems, {
      hint: "Give a warm-up below 1 as a share through warmupSteps().",
    });
  }
  return { warmup, total };
}
