// Feed-forward layers.
import type { Value } from "../graph/graph.ts";
import { swiglu } from "../ops/gated.ts";
import { activation, type ActivationName } from "./activation.ts";
import { linear } from "./linear.ts";
import { type ModelScope, within } from "./scope.ts";

/** Gated feed-forward of Llama-like models: down( silu(gate(x)) · up(x) ),  x[N, D] → [N, D]. */
export function gatedMlp(
  m: ModelScope,
  x: Value,
  { D, F, bias }: { readonly D: number; readonly F: number; readonly bias: boolean },
): Value {
  return within(m, "mlp", () => {
    const gate = linear(m, "gate_proj", x, { In: D, Out: F, bias }); // [N, F]
    const up = linear(m, "up_proj", x, { In: D, Out: F, bias }); //     [N, F]
    return linear(m, "down_proj", swiglu(gate, up), { In: F, Out: D, bias });
  });
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
