// Activation functions by the names of Hugging Face configurations.
import type { Value } from "../graph/graph.ts";
import { gelu, relu, silu } from "../ops/activations.ts";
import { type GateActivation, gated, gatedPacked } from "../ops/gated.ts";

/** Names that {@linkcode activation} knows. */
export type ActivationName = "gelu" | "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" | "relu" | "silu" | "swish";

const ACTIVATIONS: Readonly<Record<ActivationName, (x: Value) => Value>> = {
  gelu: (x: Value) => gelu(x, { approximate: "none" }),
  gelu_new: (x: Value) => gelu(x, { approximate: "tanh" }),
  gelu_fast: (x: Value) => gelu(x, { approximate: "tanh" }),
  gelu_pytorch_tanh: (x: Value) => gelu(x, { approximate: "tanh" }),
  relu: (x: Value) => relu(x),
  silu: (x: Value) => silu(x),
  swish: (x: Value) => silu(x),
};

/** The names themselves, for configurations. */
export const ACTIVATION_NAMES: readonly ActivationName[] = Object.keys(ACTIVATIONS) as ActivationName[];

/** Apply the activation called `name`. */
export function activation(name: ActivationName, x: Value): Value {
  return ACTIVATIONS[name](x);
}

const GATES: Readonly<Record<Exclude<ActivationName, "relu">, GateActivation>> = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_new: "gelu_tanh",
  gelu_fast: "gelu_tanh",
  gelu_pytorch_tanh: "gelu_tanh",
};

/** Names of activations that gate. */
export type GateName = keyof typeof GATES;

/** The names themselves, for configurations. */
export const GATE_NAMES: readonly GateName[] = Object.keys(GATES) as GateName[];

/** act(gate) · up of two values, or of the halves of one. */
export function gate(name: GateName, halves: { readonly gate: Value; readonly up: Value } | Value): Value {
  const activation = GATES[name];
  return "up" in halves ? gated(halves.gate, halves.up, activation) : gatedPacked(halves, activation);
}
