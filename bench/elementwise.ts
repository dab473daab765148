// Ops that treat every element alike: bounded by memory.
import { add, copy, gelu, multiply, swiglu } from "../src/ops/mod.ts";
import { type Arrays, type Context, type KernelCase, measureAll } from "./kernel.ts";
import { spread } from "./random.ts";
import type { Row } from "./row.ts";

/** Measure copies, sums, products and activations. */
export function benchElementwise(context: Context): Promise<Row[]> {
  const n = context.quick ? 2 ** 16 : context.device.software ? 2 ** 20 : 2 ** 25;
  return measureAll(context, "elementwise", cases(n));
}

type Numbers = Readonly<Record<string, number>>;

function cases(n: number): KernelCase[] {
  const a = { shape: [n] }, b = { shape: [n] };
  const shape = `${n}`;
  const at = spread(n);
  const each = (of: string, f: (numbers: Numbers) => number) => (arrays: Arrays) => [{
    of,
    at,
    values: at.map((i) => f(Object.fromEntries(Object.entries(arrays).map(([name, x]) => [name, x[i]!])))),
  }];
  const move = (arrays: number) => ({ bytes: 4 * n * arrays });
  const geluCase = { shape, operands: { a }, build: (v) => gelu(v.a!, { approximate: "tanh" }) } satisfies Partial<
    KernelCase
  >;
  const gate = { shape, operands: { a, b }, build: (v) => swiglu(v.a!, v.b!) } satisfies Partial<KernelCase>;
  return [
    {
      name: "copy",
      shape,
      operands: { a },
      build: (v) => copy(v.a!),
      expected: each("y", ({ a }) => a!),
      work: move(2),
    },
    {
      name: "add",
      shape,
      operands: { a, b },
      build: (v) => add(v.a!, v.b!),
      expected: each("y", ({ a, b }) => a! + b!),
      work: move(3),
    },
    {
      name: "multiply",
      shape,
      operands: { a, b },
      build: (v) => multiply(v.a!, v.b!),
      expected: each("y", ({ a, b }) => a! * b!),
      work: move(3),
    },
    { ...geluCase, name: "gelu (tanh)", expected: each("y", ({ a }) => gelu64(a!)), work: move(2) },
    {
      ...geluCase,
      name: "gelu (tanh) dx",
      wrt: ["a"],
      expected: each("a", ({ a, dy }) => dy! * slope(gelu64, a!)),
      work: move(3),
    },
    { ...gate, name: "swiglu", expected: each("y", ({ a, b }) => silu64(a!) * b!), work: move(3) },
    {
      ...gate,
      name: "swiglu dgate, dup",
      wrt: ["a", "b"],
      expected: (arrays) => [
        ...each("a", ({ a, b, dy }) => dy! * b! * slope(silu64, a!))(arrays),
        ...each("b", ({ a, dy }) => dy! * silu64(a!))(arrays),
      ],
      work: move(5),
    },
  ];
}

const silu64 = (x: number) => x / (1 + Math.exp(-x));
const gelu64 = (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
const slope = (f: (x: number) => number, x: number) => (f(x + 1e-5) - f(x - 1e-5)) / 2e-5;
