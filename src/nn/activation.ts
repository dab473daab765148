// Activation functions by the names of Hugging Face configurations.
import { ModelError } from "../core/errors.ts";
import type { Value } from "../graph/graph.ts";
import { gelu, relu, silu } from "../ops/activations.ts";

const ACTIVATIONS = {
  gelu: (x: Value) => gelu(x, { approximate: "none" }),
  gelu_new: (x: Value) => gelu(x, { approximate: "tanh" }),
  gelu_fast: (x: Value) => gelu(x, { approximate: "tanh" }),
  gelu_pytorch_tanh: (x: Value) => gelu(x, { approximate: "tanh" }),
  relu: (x: Value) => relu(x),
  silu: (x: Value) => silu(x),
  swish: (x: Value) => silu(x),
} as const satisfies Record<string, (x: Value) => Value>;

/** Names that {@linkcode activation} knows. */
export type ActivationName = keyof typeof ACTIVATIONS;

/**
 * Check the name of an activation.
 *
 * @throws {ModelError} `config/<field>` listing the known ones.
 */
export function activationName(name: string, field: string): ActivationName {
  const known = Object.keys(ACTIVATIONS) as ActivationName[];
  const found = known.find((k) => k === name);
  if (found) return found;
  throw new ModelError(`config/${field}`, `Cannot use "${name}" as ${field}: it must be one of ${known.join(", ")}`);
}

/** Apply the activation called `name`. */
export function activation(name: ActivationName, x: Value): Value {
  return ACTIVATIONS[name](x);
}
