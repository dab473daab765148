// What all optimizers share: some vectors of four parameters an invocation, updated in place.
//
//   g' = g · clip coefficient          the rule sees x (parameter), g (clipped gradient) and its states by name
//
// An update whose gradients were not finite changes nothing. Padding between tensors has x = g = state = 0 and stays 0
// under every rule, since all of them move a zero parameter with a zero gradient by zero.
import { statsWords } from "./clip.ts";
import { scalarWords } from "./lib/scalars.ts";
import { type Sweep, sweepLoop, sweepMain } from "./lib/sweep.ts";
import { wgsl } from "./wgsl.ts";

/** Options of {@linkcode optimizer}. */
export interface OptimizerRule {
  /** The states by name, each like the parameters; zero before the first update. */
  readonly states: readonly string[];
  /** WGSL constants that the rule refers to. */
  readonly constants: string;
  /**
   * WGSL statements that assign `x` and the states, all `vec4f`; they may use `g`, the f32 numbers `lr`, `weight_decay`,
   * and `c1`, `c2` (the optimizer's corrections).
   */
  readonly rule: string;
}

/** g[n], stats[4], scalars[16] u32 → x[n], states[n]…, in place; uniform p: count, weight decay, factor on the rate. */
export function optimizer({ states, constants, rule }: OptimizerRule, sweep: Sweep): string {
  const declarations = states.map((name, i) =>
    `@group(0) @binding(${4 + i}) var<storage, read_write> ${name}_io: array<vec4f>;`
  ).join("\n");
  const loads = states.map((name) => `    var ${name} = ${name}_io[i];`).join("\n");
  const stores = states.map((name) => `    ${name}_io[i] = ${name};`).join("\n");
  return wgsl`
struct P { count: u32, weight_decay: f32, lr_scale: f32 }
@group(0) @binding(0) var<storage, read> g_in: array<vec4f>;
@group(0) @binding(1) var<storage, read> stats: array<u32>;
@group(0) @binding(2) var<storage, read> scalars: array<u32>;
@group(0) @binding(3) var<storage, read_write> x_io: array<vec4f>;
${declarations}
@group(0) @binding(${4 + states.length}) var<uniform> p: P;
${scalarWords()}
${statsWords()}
${constants}
${sweepMain(sweep)}
  if (stats[STATS_NON_FINITE] != 0u) { return; }
  let lr = p.lr_scale * scalar_f32(SCALAR_LR);
  let c1 = scalar_f32(SCALAR_CORRECTION1);
  let c2 = scalar_f32(SCALAR_CORRECTION2);
  let weight_decay = p.weight_decay;
  let coefficient = bitcast<f32>(stats[STATS_COEFFICIENT]);
  for (${sweepLoop(sweep)}) {
    var g = g_in[i] * coefficient;
    var x = x_io[i];
${loads}
${rule}
    x_io[i] = x;
${stores}
  }
}`;
}
