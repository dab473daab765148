// Stochastic gradient descent with momentum (torch.optim.SGD, dampening 0).
//
//   g += λ·x      m = μ·m + g      d = g + μ·m with Nesterov, else m      x -= lr·d
//
// m starts at zero, which makes the first m = g, as in PyTorch.
import type { Sweep } from "./lib/sweep.ts";
import { optimizer } from "./optimizer.ts";
import { wgsl } from "./wgsl.ts";

/** Options of {@linkcode sgd}. */
export interface SgdShaderOptions {
  /** μ; without it there is no state. */
  readonly momentum: number;
  readonly nesterov: boolean;
}

/** g[n], stats[4], scalars[16] u32 → x[n], momentum_buffer[n] if there is momentum. */
export function sgd({ momentum, nesterov }: SgdShaderOptions, sweep: Sweep): string {
  const states = momentum > 0 ? ["momentum_buffer"] : [];
  return optimizer({
    states,
    constants: wgsl`const MOMENTUM: f32 = ${momentum};`,
    rule: wgsl`
    g += weight_decay * x;
#if ${momentum > 0}
    momentum_buffer = MOMENTUM * momentum_buffer + g;
#endif
#if ${momentum > 0 && nesterov}
    g += MOMENTUM * momentum_buffer;
#elif ${momentum > 0}
    g = momentum_buffer;
#endif
    x -= lr * g;`,
  }, sweep);
}
