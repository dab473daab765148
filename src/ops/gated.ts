// Gated activations, y = act(gate) · up (arXiv:2002.05202): of two values, or of the halves of one.
import { geluErf, geluTanh, silu } from "../../shaders/activations.ts";
import { elementwise as shader, ELEMENTWISE_LANES } from "../../shaders/elementwise.ts";
import { gatedPacked as packedShader, gatedPackedGrad, gatedWorkgroups } from "../../shaders/gated.ts";
import { size } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import { defineOp, type Kernel, type Op, type V1, type V2, type V3, type Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { elementwiseKernels, sameShape } from "./elementwise.ts";
import { parts, rowRange } from "./parts.ts";

/** Activations that gate: `gelu_tanh` is the approximation by tanh. */
export type GateActivation = "silu" | "gelu" | "gelu_tanh";

interface Gate {
  /** Name of the node. */
  readonly op: string;
  /** WGSL functions `name` and `name_slope`. */
  readonly name: string;
  readonly functions: string;
}

const GATES: Readonly<Record<GateActivation, Gate>> = {
  silu: { op: "swiglu", name: "silu", functions: silu() },
  gelu: { op: "geglu", name: "gelu", functions: geluErf() },
  gelu_tanh: { op: "gegluTanh", name: "gelu", functions: geluTanh() },
};

function gatedOp({ op, name, functions }: Gate): Op<null, V2, V1> {
  const gradOp = defineOp<null, V3, V2>({
    name: `${op}Grad`,
    infer: ([gate, up]) => [gate, up],
    kernels({ inputs, outputs }, target: Target): Kernel[] {
      const count = size(outputs[0].shape);
      const wgsl = shader({
        reads: ["gate", "up", "dy"],
        expression: `dy * up * ${name}_slope(gate)`,
        second: `dy * ${name}(gate)`,
        functions,
      });
      return parts(count, 1, target).map((part) => ({
        name: `${op}Grad`,
        wgsl,
        read: inputs.map((v) => rowRange(v, count, part)),
        write: outputs.map((v) => rowRange(v, count, part)),
        uniform: [part.hi - part.lo, 0, 0, 0],
        workgroups: Math.ceil((part.hi - part.lo) / (4 * ELEMENTWISE_LANES)),
        trips: 0,
      }));
    },
  });
  return defineOp<null, V2, V1>({
    name: op,
    infer: (inputs) => sameShape(op, inputs),
    kernels: ({ inputs, outputs: [output] }, target) =>
      elementwiseKernels(
        { name: op, reads: ["gate", "up"], expression: `${name}(gate) * up`, functions, inputs, output },
        target,
      ),
    // Both rules name the same node: it computes both gradients in one pass, and is merged.
    grad: [
      ({ inputs: [gate, up] }, dy) => dy.graph.add(gradOp, [gate, up, dy], null)[0],
      ({ inputs: [gate, up] }, dy) => dy.graph.add(gradOp, [gate, up, dy], null)[1],
    ],
  });
}

const OPS: Readonly<Record<GateActivation, Op<null, V2, V1>>> = {
  silu: gatedOp(GATES.silu),
  gelu: gatedOp(GATES.gelu),
  gelu_tanh: gatedOp(GATES.gelu_tanh),
};

/**
 * y = act(gate) · up, of one shape.
 *
 * @throws {ShapeError} if the shapes differ.
 */
export function gated(gate: Value, up: Value, activation: GateActivation): Value {
  return gate.graph.add(OPS[activation], [gate, up], null)[0];
}

/**
 * y = silu(gate) · up.
 *
 * @throws {ShapeError} if the shapes differ.
 */
export function swiglu(gate: Value, up: Value): Value {
  return gated(gate, up, "silu");
}

interface PackedAttrs {
  readonly activation: GateActivation;
}

const packedGradOp = defineOp<PackedAttrs, V2, V1>({
  name: "gatedPackedGrad",
  infer: ([x]) => [x],
  kernels: ({ inputs: [x, dy], outputs: [dx], attrs }, target) =>
    packedKernels({ name: "gatedPackedGrad", reads: [x, dy], y: dx, text: gatedPackedGrad }, attrs, target),
});

const packedOp = defineOp<PackedAttrs, V1, V1>({
  name: "gatedPacked",
  infer: ([x]) => [{ shape: [x.shape[0]!, x.shape[1]! / 2], dtype: "f32" }],
  kernels: ({ inputs: [x], outputs: [y], attrs }, target) =>
    packedKernels({ name: "gatedPacked", reads: [x], y, text: packedShader }, attrs, target),
  grad: [({ inputs: [x], attrs }, dy) => dy.graph.add(packedGradOp, [x, dy], attrs)[0]],
});

interface PackedCall {
  readonly name: string;
  readonly reads: readonly [Value, ...Value[]];
  readonly y: Value;
  readonly text: typeof packedShader;
}

function packedKernels({ name, reads, y, text }: PackedCall, { activation }: PackedAttrs, target: Target): Kernel[] {
  const [N, columns] = reads[0].shape as [number, number];
  const F = columns / 2;
  const wgsl = text({ F, ...GATES[activation] });
  return parts(N, columns, target).map((part) => ({
    name,
    wgsl,
    read: reads.map((v) => rowRange(v, N, part)),
    write: [rowRange(y, N, part)],
    uniform: [part.hi - part.lo],
    workgroups: gatedWorkgroups(part.hi - part.lo, F),
    trips: 0,
  }));
}

/**
 * y[N, F] = act(x[:, : F]) · x[:, F :] of x[N, 2·F]: gate and up from one projection.
 *
 * @throws {ShapeError} if x is no matrix of an even number of columns.
 */
export function gatedPacked(x: Value, activation: GateActivation): Value {
  if (x.shape.length !== 2 || x.shape[1]! % 2 !== 0) throw new ShapeError("gatedPacked", "x", "N 2·F", x.shape);
  return x.graph.add(packedOp, [x], { activation })[0];
}
