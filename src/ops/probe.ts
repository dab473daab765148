// Ops of the self-test: what the driver counts, covers, sees and reaches.
import { FMA_LANES, FMA_OPERATIONS, fmaPeak, loopCount, nonFinite, workgroupIds } from "../../shaders/probe.ts";
import { type Shape, size } from "../core/dims.ts";
import { defineOp, type Graph, type V0, type V1, type Value } from "../graph/graph.ts";

interface Turns {
  readonly turns: number;
}

const loopOp = defineOp<Turns, V0, V1>({
  name: "loop_probe",
  infer: () => [{ shape: [1], dtype: "f32" }],
  kernels: ({ outputs: [count], attrs: { turns } }) => [{
    name: "loop probe",
    wgsl: loopCount(),
    read: [],
    write: [count],
    uniform: [turns],
    workgroups: 1,
    trips: 0, // not declared: being stopped is what is measured
  }],
});

/** count[1]: how many of `turns` turns of a loop the driver makes. */
export function loopProbe(graph: Graph, turns: number): Value {
  return graph.add(loopOp, [], { turns })[0];
}

const foldOp = defineOp<{ readonly shape: Shape }, V0, V1>({
  name: "fold_probe",
  infer: (_, { shape }) => [{ shape, dtype: "f32" }],
  kernels: ({ outputs: [ids], attrs: { shape } }) => [{
    name: "fold probe",
    wgsl: workgroupIds(),
    read: [],
    write: [ids],
    uniform: [size(shape)],
    workgroups: size(shape),
    trips: 0,
  }],
});

/** ids[n] = 0, 1, 2, …, each written by a workgroup of its own. */
export function foldProbe(graph: Graph, count: number): Value {
  return graph.add(foldOp, [], { shape: [count] })[0];
}

const nonFiniteOp = defineOp<null, V1, V1>({
  name: "non_finite",
  infer: ([x]) => [{ shape: x.shape, dtype: "f32" }],
  kernels: ({ inputs: [x], outputs: [flags] }) => [{
    name: "non-finite probe",
    wgsl: nonFinite(),
    read: [x],
    write: [flags],
    uniform: [size(x.shape)],
    workgroups: Math.ceil(size(x.shape) / 64),
    trips: 0,
  }],
  stops: true,
});

/** flags like x: 1 where x is NaN or infinite, otherwise 0. For up to four million elements. */
export function nonFiniteProbe(x: Value): Value {
  return x.graph.add(nonFiniteOp, [x], null)[0];
}

const fmaOp = defineOp<Turns & { readonly groups: number }, V0, V1>({
  name: "fma_probe",
  infer: (_, { groups }) => [{ shape: [groups * FMA_LANES], dtype: "f32" }],
  kernels: ({ outputs: [y], attrs: { turns, groups } }) => [{
    name: "fma probe",
    wgsl: fmaPeak(),
    read: [],
    write: [y],
    uniform: [turns],
    workgroups: [groups],
    trips: turns,
  }],
});

/** Multiply-adds in registers, to measure the peak; {@linkcode fmaOperations} says how many. */
export function fmaProbe(graph: Graph, turns: number, groups: number): Value {
  return graph.add(fmaOp, [], { turns, groups })[0];
}

/** Floating-point operations of {@linkcode fmaProbe}: a multiply-add counts as two. */
export function fmaOperations(turns: number, groups: number): number {
  return FMA_OPERATIONS * turns * groups * FMA_LANES;
}
