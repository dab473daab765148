// Adagrad (JMLR 12:2121) as torch.optim computes it; c₁ = 1 + (t - 1)·lr_decay.
//
//   g += λ·x      s += g²      x -= lr / c₁ · g / (sqrt(s₀ + s) + ε)
//
// s₀ is the initial accumulator. It is added when read, so that the state starts at zero like all others.
import type { Sweep } from "./lib/sweep.ts";
import { optimizer } from "./optimizer.ts";
import { wgsl } from "./wgsl.ts";

/** Options of {@linkcode adagrad}. */
export interface AdagradShaderOptions {
  /** s₀ */
  readonly initial: number;
  readonly eps: number;
}

/** g[n], stats[4], scalars[16] u32 → x[n], sum[n] */
export function adagrad({ initial, eps }: AdagradShaderOptions, sweep: Sweep): string {
  return optimizer({
    states: ["sum"],
    constants: wgsl`
const INITIAL: f32 = ${initial};
const EPS: f32 = ${eps};`,
    rule: wgsl`
    g += weight_decay * x;
    sum += g * g;
    x -= lr / c1 * (g / (sqrt(INITIAL + sum) + EPS));`,
  }, sweep);
}
