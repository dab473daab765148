import { assertEquals, assertThrows } from "@std/assert";
import { ShapeError } from "../../src/core/errors.ts";
import { Graph } from "../../src/graph/graph.ts";
import { backward } from "../../src/ops/backward.ts";
import { type GateActivation, gated, gatedPacked, swiglu } from "../../src/ops/gated.ts";
import { type OpCase, opTable } from "./harness.ts";

const tanhGelu = (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

/** Φ by Simpson's rule over 400 intervals from 0: 1e-9 where |x| < 6. */
function normalShare(x: number): number {
  const n = 400, h = x / n, f = (t: number) => Math.exp(-t * t / 2) / Math.sqrt(2 * Math.PI);
  let sum = f(0) + f(x);
  for (let i = 1; i < n; i++) sum += (i % 2 === 1 ? 4 : 2) * f(i * h);
  return 0.5 + sum * h / 3;
}

const activations: Readonly<Record<GateActivation, (x: number) => number>> = {
  silu: (x) => x / (1 + Math.exp(-x)),
  gelu: (x) => x * normalShare(x),
  gelu_tanh: tanhGelu,
};

const cases: OpCase[] = [];
for (const [activation, act] of Object.entries(activations) as [GateActivation, (x: number) => number][]) {
  const values = {
    op: activation,
    build: ({ gate, up }) => gated(gate!, up!, activation),
    reference: ({ gate, up }) => gate!.map((x, i) => act(x) * up![i]!),
    wrt: ["gate", "up"],
    tolerance: activation === "silu" ? 5e-7 : 1e-6, // slopes of gelu reach 1.13 of sums with cubes
  } satisfies Partial<OpCase>;
  for (const shape of [[1], [7], [130, 67]]) {
    cases.push({ ...values, name: `[${shape}]`, inputs: { gate: { shape }, up: { shape } } });
  }
  for (const [N, F] of [[1, 1], [5, 6], [67, 132]] as const) {
    cases.push({
      ...values,
      op: `${activation} packed`,
      name: `[${N}, 2·${F}]`,
      inputs: { x: { shape: [N, 2 * F] } },
      wrt: ["x"],
      build: ({ x }) => gatedPacked(x!, activation),
      reference: ({ x }) =>
        Float64Array.from({ length: N * F }, (_, i) => {
          const at = Math.floor(i / F) * 2 * F + i % F;
          return act(x![at]!) * x![at + F]!;
        }),
    });
  }
}
const logistic = (x: number) => 1 / (1 + Math.exp(-x));
const swish = {
  op: "swiglu",
  wrt: ["gate", "up"],
  build: ({ gate, up }) => swiglu(gate!, up!),
  reference: ({ gate, up }) => gate!.map((x, i) => x * logistic(x) * up![i]!),
  tolerance: 5e-7,
} satisfies Partial<OpCase>;
const shape = [37, 101], device = { maxBinding: 4096 };
cases.push(
  { ...swish, name: "of ±60", inputs: { gate: { shape: [130, 67], scale: 20 }, up: { shape: [130, 67] } } },
  { ...swish, name: "above one binding (forced to 4 KiB)", inputs: { gate: { shape }, up: { shape } }, device },
  {
    ...swish,
    name: "packed, above one binding (forced to 4 KiB)",
    inputs: { x: { shape: [150, 12] } },
    wrt: ["x"],
    build: ({ x }) => gatedPacked(x!, "silu"),
    reference: ({ x }) =>
      Float64Array.from({ length: 150 * 6 }, (_, i) => {
        const at = Math.floor(i / 6) * 12 + i % 6;
        return x![at]! * logistic(x![at]!) * x![at + 6]!;
      }),
    device,
  },
);

opTable("gated", cases);

Deno.test("swiglu: one node computes both gradients", () => {
  const graph = new Graph();
  const y = swiglu(graph.leaf("param", "gate", [3, 4]), graph.leaf("param", "up", [3, 4]));
  backward(graph, y, graph.leaf("input", "dy", [3, 4]));
  assertEquals(graph.nodes.map((node) => node.op.name), ["swiglu", "swigluGrad"]);
});

Deno.test("gated: shapes are checked", () => {
  const graph = new Graph();
  const x = graph.leaf("input", "x", [3, 5]);
  assertThrows(() => gatedPacked(x, "silu"), ShapeError, "N, 2·F");
  assertThrows(() => gated(x, graph.leaf("input", "y", [3, 4]), "gelu"), ShapeError);
});
