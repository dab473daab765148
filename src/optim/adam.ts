// Adam and AdamW, with the defaults of Hugging Face's Trainer (weight decay 0; torch.optim.AdamW has 0.01).
import { adam as shader } from "../../shaders/adam.ts";
import { checkSettings, type Optimizer } from "./optimizer.ts";

/** Options of {@linkcode adam} and {@linkcode adamw}. */
export interface AdamOptions {
  /** Decay of the mean of gradients, 0.9 by default. */
  readonly beta1?: number;
  /** Decay of the mean of squared gradients, 0.999 by default. */
  readonly beta2?: number;
  /** Added to the root, 1e-8 by default. */
  readonly eps?: number;
  /** λ, 0 by default. */
  readonly weightDecay?: number;
}

/**
 * AdamW: weight decay shrinks the parameters by lr·λ, apart from the gradient (arXiv:1711.05101).
 *
 * @throws {ConfigError} `config/optimizer` for settings outside of their range.
 *
 * @example Usage
 * ```ts
 * import { adamw } from "@graft/graft/optim";
 *
 * const optimizer = adamw({ weightDecay: 0.01 });
 * console.log(optimizer.stateNames, optimizer.corrections(1));
 * ```
 */
export function adamw(options: AdamOptions = {}): Optimizer {
  return make("adamw", options);
}

/**
 * Adam: weight decay is an L2 penalty, which joins the gradient (arXiv:1412.6980).
 *
 * @throws {ConfigError} `config/optimizer` for settings outside of their range.
 */
export function adam(options: AdamOptions = {}): Optimizer {
  return make("adam", options);
}

function make(
  name: "adam" | "adamw",
  { beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0 }: AdamOptions,
): Optimizer {
  checkSettings(name, {
    beta1: [beta1, "[0, 1)"],
    beta2: [beta2, "[0, 1)"],
    eps: [eps, "(0, inf)"],
    weightDecay: [weightDecay, "[0, inf)"],
  });
  return {
    name,
    stateNames: ["exp_avg", "exp_avg_sq"],
    weightDecay,
    shader: (sweep) => shader({ beta1, beta2, eps, decoupled: name === "adamw" }, sweep),
    corrections: (t) => ({ c1: 1 - beta1 ** t, c2: 1 - beta2 ** t }),
  };
}
