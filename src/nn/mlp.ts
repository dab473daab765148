// Feed-forward layers.
import type { Value } from "../graph/graph.ts";
import { activation, type ActivationName, gate, type GateName } from "./activation.ts";
import { linear } from "./linear.ts";
import { type ModelScope, within } from "./scope.ts";
import { stackedLinears } from "./stacked_linears.ts";

/** Sizes and form of a gated feed-forward. */
export interface GatedMlpOptions {
  readonly D: number;
  readonly F: number;
  readonly bias: boolean;
  readonly activation: GateName;
  /** Whether gate and up are one map, gate_up_proj[2·F, D]. */
  readonly packed: boolean;
}

/** Gated feed-forward of Llama-like models: down( act(gate(x)) · up(x) ),  x[N, D] → [N, D]. */
export function gatedMlp(m: ModelScope, x: Value, { D, F, bias, activation, packed }: GatedMlpOptions): Value {
  const halves = () => {
    if (packed) return linear(m, "gate_up_proj", x, { In: D, Out: 2 * F, bias }); // [N, 2·F]
    const both = stackedLinears(m, x, ["gate_proj", "up_proj"].map((name) => ({ name, In: D, Out: F, bias })));
    if (both) return both;
    const gate = linear(m, "gate_proj", x, { In: D, Out: F, bias }); // [N, F]
    return { gate, up: linear(m, "up_proj", x, { In: D, Out: F, bias }) };
  };
  return within(m, "mlp", () => linear(m, "down_proj", gate(activation, halves()), { In: F, Out: D, bias }));
}

/** GPT-2's feed-forward: c_proj( activation(c_fc(x)) ), weights stored [In, Out],  x[N, D] → [N, D]. */
export function conv1dMlp(
  m: ModelScope,
  x: Value,
  { D, F, act, std }: { readonly D: number; readonly F: number; readonly act: ActivationName; readonly std: number },
): Value {
  return within(m, "mlp", () => {
    const h = linear(m, "c_fc", x, { In: D, Out: F, bias: true, transposed: true });
    const init = { kind: "normal", std } as const;
    return linear(m, "c_proj", activation(act, h), { In: F, Out: D, bias: true, transposed: true, init });
  });
}
