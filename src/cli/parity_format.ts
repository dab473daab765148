// case.json: checked, so that a file that was cut or made by another version is refused with a list of what is wrong.
import { ConfigError } from "../core/errors.ts";
import type { Batch } from "../data/batch.ts";
import { adagrad } from "../optim/adagrad.ts";
import { adam, adamw } from "../optim/adam.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { type ScheduleName, schedules } from "../optim/schedule.ts";
import { sgd } from "../optim/sgd.ts";

/** A reference case. */
export interface Case {
  /** The task, such as `"causal"`. */
  readonly kind: string;
  readonly batches: readonly Batch[];
  readonly loss: number;
  readonly losses: readonly number[];
  readonly lrs: readonly number[];
  readonly final_loss: number;
  readonly disabled_loss?: number;
  readonly merged_loss?: number;
  readonly training: Training;
  readonly generate?: {
    readonly prompt: readonly number[];
    readonly base?: readonly number[];
    readonly adapted?: readonly number[];
  };
}

/** How a case was trained. */
export interface Training {
  readonly optimizer: { readonly name: string; readonly lr: number } & Readonly<Record<string, unknown>>;
  readonly schedule: string;
  readonly warmup_steps: number;
  readonly steps: number;
  /** Largest norm of the gradients. */
  readonly clip: number | null;
  /** Batches of a step. */
  readonly accumulation: number;
}

/**
 * Check the content of a case.json.
 *
 * @throws {ConfigError} `parity/case` with everything that is wrong.
 */
export function parseCase(json: unknown, path: string): Case {
  const problems: string[] = [];
  const root = isObject(json) ? json : {};
  const training = isObject(root.training) ? root.training : {};
  const optimizer = isObject(training.optimizer) ? training.optimizer : {};
  const need = (ok: boolean, what: string) => ok ? undefined : problems.push(what);
  const numbers = (value: unknown) => Array.isArray(value) && value.every((x) => typeof x === "number");
  need(typeof root.kind === "string", '"kind" must be a string');
  need(Array.isArray(root.batches) && root.batches.length > 0, '"batches" must be a list');
  for (const key of ["loss", "final_loss"]) need(typeof root[key] === "number", `"${key}" must be a number`);
  for (const key of ["losses", "lrs"]) need(numbers(root[key]), `"${key}" must be a list of numbers`);
  need(typeof optimizer.name === "string", '"training.optimizer.name" must be a string');
  need(typeof optimizer.lr === "number", '"training.optimizer.lr" must be a number');
  need(typeof training.schedule === "string", '"training.schedule" must be a string');
  for (const key of ["warmup_steps", "steps", "accumulation"]) {
    need(Number.isInteger(training[key]), `"training.${key}" must be a whole number`);
  }
  need(training.clip === null || typeof training.clip === "number", '"training.clip" must be a number or null');
  if (problems.length > 0) throw new ConfigError("parity/case", "this case", problems, { path });
  return root as unknown as Case;
}

/** Optimizers by PyTorch's arguments. */
const OPTIMIZERS: Readonly<Record<string, (o: Readonly<Record<string, unknown>>) => Optimizer>> = {
  adamw: (o) => adamw(adamOptions(o)),
  adam: (o) => adam(adamOptions(o)),
  sgd: (o) => sgd({ ...pick(o, "momentum"), ...pick(o, "weight_decay", "weightDecay"), nesterov: o.nesterov === true }),
  adagrad: (o) =>
    adagrad({ ...pick(o, "eps"), ...pick(o, "weight_decay", "weightDecay"), ...pick(o, "lr_decay", "lrDecay") }),
};

/**
 * The optimizer of a case.
 *
 * @throws {ConfigError} `parity/optimizer` if there is no such optimizer yet.
 */
export function trainingOptimizer({ training: { optimizer } }: Case): Optimizer {
  const make = Object.hasOwn(OPTIMIZERS, optimizer.name) ? OPTIMIZERS[optimizer.name] : undefined;
  if (make) return make(optimizer);
  const known = Object.keys(OPTIMIZERS).join(", ");
  throw new ConfigError("parity/optimizer", "this case", [`optimizer "${optimizer.name}" is none of ${known}`]);
}

/**
 * The learning-rate schedule of a case.
 *
 * @throws {ConfigError} `parity/schedule` if there is no such schedule yet.
 */
export function scheduleOf({ training: { schedule } }: Case): ScheduleName {
  if (Object.hasOwn(schedules, schedule)) return schedule as ScheduleName;
  throw new ConfigError("parity/schedule", "this case", [
    `schedule "${schedule}" is none of ${Object.keys(schedules).join(", ")}`,
  ]);
}

function adamOptions(o: Readonly<Record<string, unknown>>): Parameters<typeof adamw>[0] {
  const [beta1, beta2] = Array.isArray(o.betas) ? o.betas : [];
  return {
    ...pick({ beta1 }, "beta1"),
    ...pick({ beta2 }, "beta2"),
    ...pick(o, "eps"),
    ...pick(o, "weight_decay", "weightDecay"),
  };
}

function pick(from: Readonly<Record<string, unknown>>, key: string, as = key): Record<string, number> {
  const value = from[key];
  return typeof value === "number" ? { [as]: value } : {};
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
