// Activation functions; equations in shaders/activations.ts.
import { boundedTanh, geluErf, geluTanh, silu as siluFunctions } from "../../shaders/activations.ts";
import type { Op, V1, V2, Value } from "../graph/graph.ts";
import { pointwiseOp } from "./elementwise.ts";

/** y = f(x) as WGSL over `x`, and dx as WGSL over `dy` and whatever `saved` calls x or y. */
export interface Curve {
  readonly name: string;
  readonly functions?: string;
  readonly forward: string;
  readonly gradient: string;
  /** Which value the gradient reads. */
  readonly saved: "x" | "y";
}

/** An op of one operand with the gradient that its curve says. */
export function curve({ name, functions = "", forward, gradient, saved }: Curve): Op<null, V1, V1> {
  const gradOp = pointwiseOp<V2>({
    name: `${name}Grad`,
    infer: ([x]) => [x],
    pointwise: { reads: [saved, "dy"], expression: gradient, functions },
  });
  return pointwiseOp<V1>({
    name,
    infer: ([x]) => [x],
    pointwise: { reads: ["x"], expression: forward, functions },
    grad: [({ inputs: [x], outputs: [y] }, dy) => dy.graph.add(gradOp, [saved === "x" ? x : y, dy], null)[0]],
  });
}

const geluCurve = { forward: "gelu(x)", gradient: "dy * gelu_slope(x)", saved: "x" } as const;
const geluTanhOp = curve({ name: "geluTanh", functions: geluTanh(), ...geluCurve });
const geluErfOp = curve({ name: "gelu", functions: geluErf(), ...geluCurve });
const siluOp = curve({
  name: "silu",
  functions: siluFunctions(),
  forward: "silu(x)",
  gradient: "dy * silu_slope(x)",
  saved: "x",
});
// A comparison instead of max, so that NaN stays NaN.
const reluOp = curve({
  name: "relu",
  forward: "select(x, vec4f(), x < vec4f())",
  gradient: "select(vec4f(), dy, y > vec4f())",
  saved: "y",
});
const tanhOp = curve({
  name: "tanh",
  functions: boundedTanh(),
  forward: "bounded_tanh(x)",
  gradient: "dy * (1.0 - y * y)",
  saved: "y",
});

const squareRootOp = curve({
  name: "squareRoot",
  forward: "sqrt(x)",
  gradient: "select(vec4f(), 0.5 * dy / y, y > vec4f())",
  saved: "y",
});

/** y = √x of x ≥ 0; its slope at 0 is 0, as that of a norm in PyTorch. */
export function squareRoot(x: Value): Value {
  return x.graph.add(squareRootOp, [x], null)[0];
}

/** Options of {@linkcode gelu}. */
export interface GeluOptions {
  /** `"tanh"`: the approximation that GPT-2 was trained with. */
  readonly approximate?: "tanh" | "none";
}

/** y = x · Φ(x), Φ the normal distribution (arXiv:1606.08415). */
export function gelu(x: Value, { approximate = "none" }: GeluOptions = {}): Value {
  return x.graph.add(approximate === "tanh" ? geluTanhOp : geluErfOp, [x], null)[0];
}

/** y = x / (1 + exp(-x)). */
export function silu(x: Value): Value {
  return x.graph.add(siluOp, [x], null)[0];
}

/** y = max(x, 0). */
export function relu(x: Value): Value {
  return x.graph.add(reluOp, [x], null)[0];
}

/** y = tanh(x). */
export function tanh(x: Value): Value {
  return x.graph.add(tanhOp, [x], null)[0];
}
