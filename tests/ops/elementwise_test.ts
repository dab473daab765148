import { add, copy, fill, multiply, scale } from "../../src/ops/elementwise.ts";
import { type OpCase, opTable } from "./harness.ts";

const shapes = [[1], [7], [3, 5], [130, 67]] as const; // one, prime, odd, more than one workgroup with a tail

const cases: OpCase[] = shapes.flatMap((shape): OpCase[] => [
  {
    op: "add",
    name: `[${shape}]`,
    inputs: { a: { shape }, b: { shape } },
    wrt: ["a", "b"],
    build: ({ a, b }) => add(a!, b!),
    reference: ({ a, b }) => a!.map((x, i) => x + b![i]!),
  },
  {
    op: "multiply",
    name: `[${shape}]`,
    inputs: { a: { shape }, b: { shape } },
    wrt: ["a", "b"],
    build: ({ a, b }) => multiply(a!, b!),
    reference: ({ a, b }) => a!.map((x, i) => x * b![i]!),
  },
  {
    op: "scale",
    name: `[${shape}] by 0.3`,
    inputs: { x: { shape } },
    wrt: ["x"],
    build: ({ x }) => scale(x!, 0.3),
    reference: ({ x }) => x!.map((v) => 0.3 * v),
  },
  {
    op: "copy",
    name: `[${shape}]`,
    inputs: { x: { shape } },
    wrt: ["x"],
    build: ({ x }) => copy(x!),
    reference: ({ x }) => x!,
  },
  {
    op: "fill",
    name: `[${shape}] with -2.5`,
    inputs: {},
    wrt: [],
    build: (_, graph) => fill(graph, shape, -2.5),
    reference: () => new Float64Array(shape.reduce((a: number, b) => a * b, 1)).fill(-2.5),
  },
]);

cases.push({
  op: "add",
  name: "an operand used twice, and a result used twice",
  inputs: { a: { shape: [3, 5] } },
  wrt: ["a"],
  build: ({ a }) => multiply(add(a!, a!), add(a!, a!)),
  reference: ({ a }) => a!.map((x) => 4 * x * x),
});
cases.push({
  op: "add",
  name: "operands above one binding (forced to 4 KiB)",
  inputs: { a: { shape: [37, 101] }, b: { shape: [37, 101] } },
  wrt: ["a", "b"],
  build: ({ a, b }) => add(a!, b!),
  reference: ({ a, b }) => a!.map((x, i) => x + b![i]!),
  device: { maxBinding: 4096 },
});

opTable("elementwise", cases);
