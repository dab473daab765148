// What the kernels of a node bind, for passes over a graph.
import type { AnyNode, Kernel, Range, Value } from "./graph.ts";
import type { Target } from "./target.ts";

/** The value of a binding. */
export function valueOf(binding: Value | Range): Value {
  return "value" in binding ? binding.value : binding;
}

/** The kernels of a node; none where the target is too small for them, which is for the compiler to say. */
export function kernelsIfAny(node: AnyNode, target: Target): readonly Kernel[] {
  try {
    return node.op.kernels(node, target);
  } catch (error) {
    if (error instanceof RangeError) return [];
    throw error;
  }
}
