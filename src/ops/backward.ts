// Reverse-mode differentiation: more nodes on the same list.
//
// Only values with a parameter upstream get a gradient, so the frozen part of a model costs nothing. Gradients of
// temporaries are assigned, never accumulated in place; a value used twice gets the sum of its shares.
import { GradError } from "../core/errors.ts";
import type { Graph, Value, Values } from "../graph/graph.ts";
import { add, fill } from "./elementwise.ts";

/**
 * Append the backward pass of `loss` and return d(loss)/d(param) for every parameter that it depends on.
 *
 * @param seed The gradient of `loss` itself, of its shape: one by default.

 * @throws {GradError} naming the op, the input and the place, if an op on the way has no rule.
 */
export function backward(graph: Graph, loss: Value, seed: Value = fill(graph, loss.shape, 1)): Map<Value, Value> {
  const gradients = new Map<Value, Value>([[loss, seed]]);
  for (const node of graph.nodes.toReversed()) {
    const { op, inputs, outputs, scope } = node;
    const dy = gradients.get(outputs[0]);
    if (dy === undefined || op.stops) continue;
    for (const [i, x] of (inputs as Values).entries()) {
      if (!x.trained) continue;
      const rule = op.grad?.[i];
      if (!rule) {
        throw new GradError(
          `Cannot differentiate ${op.name} with respect to input ${i} "${x.name}" in ${
            scope || "the graph"
          }: it has no gradient rule`,
        );
      }
      const share = graph.scope(scope, () => rule(node, dy));
      if (share === undefined) continue;
      const sum = gradients.get(x);
      gradients.set(x, sum ? graph.scope(scope, () => add(sum, share)) : share);
    }
  }
  return new Map([...gradients].filter(([v]) => v.role === "param"));
}
