import { assertThrows } from "@std/assert";
import type { Value } from "../../src/graph/graph.ts";
import { Graph } from "../../src/graph/graph.ts";
import { gelu, relu, silu, tanh } from "../../src/ops/activations.ts";
import { softcap } from "../../src/ops/softcap.ts";
import { normal, type OpCase, opTable } from "./harness.ts";

/** erf in f64: its Maclaurin series near zero, its continued fraction beyond. */
function erf(x: number): number {
  const z = Math.abs(x);
  if (z > 6) return Math.sign(x);
  if (z < 3) {
    let term = x, sum = x;
    for (let n = 1; n < 200; n++) {
      term *= -x * x / n;
      sum += term / (2 * n + 1);
    }
    return sum * 2 / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let k = 60; k > 0; k--) fraction = (k / 2) / (z + fraction);
  return Math.sign(x) * (1 - Math.exp(-x * x) / Math.sqrt(Math.PI) / (z + fraction));
}

const logistic = (x: number) => 1 / (1 + Math.exp(-x));

interface Curve {
  readonly op: string;
  readonly build: (x: Value) => Value;
  readonly f: (x: number) => number;
}

const curves: readonly Curve[] = [
  { op: "gelu", build: (x) => gelu(x), f: (x) => x * (1 + erf(x / Math.SQRT2)) / 2 },
  {
    op: "gelu tanh",
    build: (x) => gelu(x, { approximate: "tanh" }),
    f: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  },
  { op: "silu", build: silu, f: (x) => x * logistic(x) },
  { op: "relu", build: relu, f: (x) => Math.max(x, 0) },
  { op: "tanh", build: tanh, f: Math.tanh },
];

const shapes = [[1], [7], [130, 67]] as const;
const steps = Float64Array.from({ length: 1201 }, (_, i) => (i - 600) / 100);
const extremes = [-1e18, -1e4, -88.8, -20, -5.6, 0, 0.5, 5.6, 20, 88.8, 1e4, 1e18];

const cases: OpCase[] = curves.flatMap(({ op, build, f }): OpCase[] => {
  const one = (name: string, shape: readonly number[], values: ArrayLike<number>): OpCase => ({
    op,
    name,
    inputs: { x: { shape, values } },
    wrt: ["x"],
    build: ({ x }) => build(x!),
    reference: ({ x }) => x!.map(f),
    tolerance: 1e-6, // the driver's exp is 1e-7 off, erf 6.5e-8 before rounding; slopes multiply it by up to 4
  });
  return [
    ...shapes.map((shape) => one(`[${shape}]`, shape, normal(shape.reduce((a: number, b) => a * b, 1), 7))),
    one("-6, -5.99, … 6", [1201], steps.map((x) => x || 1e-9)), // relu has no derivative at 0
    { ...one("±20, ±88.8, ±1e4, ±1e18", [12], extremes), wrt: [] },
    // Differences of 1e-5 are too fine beside 1e18, and relu has a corner at 0.
    one("slopes at ±5.6, ±20, ±88.8, ±1e4", [9], extremes.filter((x) => x !== 0 && Math.abs(x) < 1e5)),
  ];
});

for (const cap of [0.5, 30]) {
  const steps = Array.from({ length: 601 }, (_, i) => cap * (i - 300) / 25);
  cases.push({
    op: "softcap",
    name: `${cap}, -12 … 12 caps`,
    inputs: { x: { shape: [601], values: steps.map(Math.fround) } },
    wrt: ["x"],
    build: ({ x }) => softcap(x!, cap),
    reference: ({ x }) => x!.map((v) => cap * Math.tanh(v / cap)),
    tolerance: 5e-7,
  });
}

opTable("activations", cases);

Deno.test("softcap: bounds that are none are refused", () => {
  const x = new Graph().leaf("input", "x", [4]);
  for (const cap of [0, -1, NaN, Infinity]) assertThrows(() => softcap(x, cap), RangeError, "positive");
});
