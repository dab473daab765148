// Adam (arXiv:1412.6980) and AdamW (arXiv:1711.05101), as torch.optim computes them.
//
//   AdamW: x -= lr·λ·x       Adam: g += λ·x
//   m += (1 - β₁)·(g - m)    v = β₂·v + (1 - β₂)·g²    x -= lr / c₁ · m / (sqrt(v) / sqrt(c₂) + ε),  cᵢ = 1 - βᵢᵗ
//
// x·(1 - lr·λ) would round 1 - lr·λ first and so err by up to 6 % of the decay at lr·λ = 5e-7.
import type { Sweep } from "./lib/sweep.ts";
import { optimizer } from "./optimizer.ts";
import { wgsl } from "./wgsl.ts";

/** Options of {@linkcode adam}. */
export interface AdamShaderOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  /** AdamW: the decay shrinks the parameter instead of joining the gradient. */
  readonly decoupled: boolean;
}

/** g[n], stats[4], scalars[16] u32 → x[n], exp_avg[n], exp_avg_sq[n] */
export function adam({ beta1, beta2, eps, decoupled }: AdamShaderOptions, sweep: Sweep): string {
  return optimizer({
    states: ["exp_avg", "exp_avg_sq"],
    constants: wgsl`
const REST1: f32 = ${1 - beta1};
const BETA2: f32 = ${beta2};
const REST2: f32 = ${1 - beta2};
const EPS: f32 = ${eps};`,
    rule: wgsl`
#if ${decoupled}
    x -= lr * weight_decay * x;
#else
    g += weight_decay * x;
#endif
    exp_avg += REST1 * (g - exp_avg);
    exp_avg_sq = BETA2 * exp_avg_sq + REST2 * g * g;
    x -= lr / c1 * (exp_avg / (sqrt(exp_avg_sq) / sqrt(c2) + EPS));`,
  }, sweep);
}
