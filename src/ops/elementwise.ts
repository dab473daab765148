// Ops that treat every element alike: add, multiply, scale, copy, fill.
import { elementwise as shader, ELEMENTWISE_LANES, type ElementwiseOptions } from "../../shaders/elementwise.ts";
import { type Shape, size } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import type { Pointwise } from "../graph/fuse.ts";
import {
  type AnyNode,
  defineOp,
  floatBits,
  type Graph,
  type Kernel,
  type Op,
  type V0,
  type V1,
  type V2,
  type Value,
} from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { parts, rowRange } from "./parts.ts";

/** What {@linkcode elementwiseKernels} needs beside the shader's options. */
export interface ElementwiseCall extends ElementwiseOptions {
  readonly name: string;
  readonly inputs: readonly Value[];
  readonly output: Value;
  /** Up to three scalars: p.x, p.y, p.z. */
  readonly scalars?: readonly number[];
}

/** The dispatches of an elementwise shader, cut where an operand exceeds one binding. */
export function elementwiseKernels(call: ElementwiseCall, target: Target): Kernel[] {
  const { name, inputs, output, scalars = [], ...options } = call;
  const count = size(output.shape);
  const wgsl = shader(options);
  const [x = 0, y = 0, z = 0] = scalars;
  return parts(count, 1, target).map((part) => ({
    name,
    wgsl,
    read: inputs.map((v) => rowRange(v, count, part)),
    write: [rowRange(output, count, part)],
    uniform: [part.hi - part.lo, floatBits(x), floatBits(y), floatBits(z)],
    workgroups: Math.ceil((part.hi - part.lo) / (4 * ELEMENTWISE_LANES)),
    trips: 0,
  }));
}

/**
 * The type of an output like `a`.
 *
 * @throws {ShapeError} if `b` has another shape.
 */
export function sameShape(op: string, [a, b]: V2): readonly [Value] {
  if (String(a.shape) !== String(b.shape)) throw new ShapeError(op, "b", a.shape.join(" "), b.shape);
  return [a];
}

/** An op over inputs of one shape that needs no scalars: whoever makes an input may do its work. */
export function pointwiseOp<In extends V1 | V2>(
  op: Omit<Op<null, In, V1>, "kernels" | "pointwise"> & { readonly pointwise: Pointwise },
): Op<null, In, V1> {
  const { name, pointwise } = op;
  return defineOp<null, In, V1>({
    ...op,
    kernels: ({ inputs, outputs: [output] }, target) =>
      elementwiseKernels({ name, ...pointwise, inputs, output }, target),
  });
}

/** The op of {@linkcode add}. */
export const addOp: Op<null, V2, V1> = pointwiseOp<V2>({
  name: "add",
  infer: (inputs) => sameShape("add", inputs),
  pointwise: { reads: ["a", "b"], expression: "a + b" },
  grad: [(_, dy) => dy, (_, dy) => dy],
});

/** y = a + b, of one shape. */
export function add(a: Value, b: Value): Value {
  return a.graph.add(addOp, [a, b], null)[0];
}

/** `node` with what `user` adds to its first output as one more input, for ops that can add it themselves. */
export function withAddend(node: AnyNode, user: AnyNode): AnyNode | undefined {
  if (user.op !== addOp) return undefined;
  const other = user.inputs[user.inputs[0] === node.outputs[0] ? 1 : 0];
  return { ...node, inputs: [...node.inputs, other], outputs: [...user.outputs, ...node.outputs.slice(1)] };
}

const multiplyOp = pointwiseOp<V2>({
  name: "multiply",
  infer: (inputs) => sameShape("multiply", inputs),
  pointwise: { reads: ["a", "b"], expression: "a * b" },
  grad: [({ inputs: [, b] }, dy) => multiply(dy, b), ({ inputs: [a] }, dy) => multiply(dy, a)],
});

/** y = a · b elementwise, of one shape. */
export function multiply(a: Value, b: Value): Value {
  return a.graph.add(multiplyOp, [a, b], null)[0];
}

const scaleOp = defineOp<{ readonly by: number }, V1, V1>({
  name: "scale",
  infer: ([x]) => [x],
  kernels: ({ inputs, outputs: [output], attrs: { by } }, target) =>
    elementwiseKernels({ name: "scale", reads: ["a"], expression: "a * p.x", inputs, output, scalars: [by] }, target),
  grad: [({ attrs: { by } }, dy) => scale(dy, by)],
});

/** y = x · by, for a number known when the graph is made. */
export function scale(x: Value, by: number): Value {
  return x.graph.add(scaleOp, [x], { by })[0];
}

const copyOp = defineOp<null, V1, V1>({
  name: "copy",
  infer: ([x]) => [x],
  kernels: ({ inputs, outputs: [output] }, target) =>
    elementwiseKernels({ name: "copy", reads: ["a"], expression: "a", inputs, output }, target),
  grad: [(_, dy) => dy],
});

/** y = x, in storage of its own. */
export function copy(x: Value): Value {
  return x.graph.add(copyOp, [x], null)[0];
}

const fillOp = defineOp<{ readonly shape: Shape; readonly value: number }, V0, V1>({
  name: "fill",
  infer: (_, { shape }) => [{ shape, dtype: "f32" }],
  kernels: ({ outputs: [output], attrs: { value } }, target) =>
    elementwiseKernels(
      { name: "fill", reads: [], expression: "vec4f(p.x)", inputs: [], output, scalars: [value] },
      target,
    ),
});

/** A tensor of one number. */
export function fill(graph: Graph, shape: Shape, value: number): Value {
  return graph.add(fillOp, [], { shape, value })[0];
}

/** Whether `v` is {@linkcode fill} of `value`: rules may skip multiplying by one. */
export function isFilledWith(v: Value, value: number): boolean {
  return v.graph.nodes.some(({ op, outputs, attrs }) => op === fillOp && outputs[0] === v && attrs.value === value);
}
