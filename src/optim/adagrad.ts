// Adagrad, with the defaults of torch.optim.Adagrad.
import { adagrad as shader } from "../../shaders/adagrad.ts";
import { checkSettings, type Optimizer } from "./optimizer.ts";

/** Options of {@linkcode adagrad}. */
export interface AdagradOptions {
  /** The rate of update t is lr / (1 + (t - 1)·lrDecay); 0 by default. */
  readonly lrDecay?: number;
  /** What the sum of squares starts at, 0 by default; the state "sum" holds what comes on top. */
  readonly initialAccumulator?: number;
  /** Added to the root, 1e-10 by default. */
  readonly eps?: number;
  /** λ of the L2 penalty, 0 by default. */
  readonly weightDecay?: number;
}

/**
 * Adagrad: s += g², x -= lr·g / (√s + ε).
 *
 * @throws {ConfigError} `config/optimizer` for settings outside of their range.
 */
export function adagrad(
  { lrDecay = 0, initialAccumulator = 0, eps = 1e-10, weightDecay = 0 }: AdagradOptions = {},
): Optimizer {
  checkSettings("adagrad", {
    lrDecay: [lrDecay, "[0, inf)"],
    initialAccumulator: [initialAccumulator, "[0, inf)"],
    eps: [eps, "(0, inf)"],
    weightDecay: [weightDecay, "[0, inf)"],
  });
  return {
    name: "adagrad",
    stateNames: ["sum"],
    weightDecay,
    shader: (sweep) => shader({ initial: initialAccumulator, eps }, sweep),
    corrections: (t) => ({ c1: 1 + (t - 1) * lrDecay, c2: 1 }),
  };
}
