// Stochastic gradient descent, with the defaults of torch.optim.SGD.
import { sgd as shader } from "../../shaders/sgd.ts";
import { checkSettings, type Optimizer } from "./optimizer.ts";

/** Options of {@linkcode sgd}. */
export interface SgdOptions {
  /** μ, 0 by default: no state. */
  readonly momentum?: number;
  /** Look ahead by one step of momentum; false by default. */
  readonly nesterov?: boolean;
  /** λ of the L2 penalty, 0 by default. */
  readonly weightDecay?: number;
}

/**
 * SGD: m = μ·m + (g + λ·x), x -= lr·m.
 *
 * @throws {ConfigError} `config/optimizer` for settings outside of their range, or Nesterov without momentum.
 */
export function sgd({ momentum = 0, nesterov = false, weightDecay = 0 }: SgdOptions = {}): Optimizer {
  checkSettings(
    "sgd",
    { momentum: [momentum, "[0, inf)"], weightDecay: [weightDecay, "[0, inf)"] },
    nesterov && momentum === 0 ? ["nesterov needs a momentum above 0"] : [],
  );
  return {
    name: "sgd",
    stateNames: momentum > 0 ? ["momentum_buffer"] : [],
    weightDecay,
    shader: (sweep) => shader({ momentum, nesterov }, sweep),
    corrections: () => ({ c1: 1, c2: 1 }),
  };
}
