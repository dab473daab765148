// Runs an op table. The f64 reference is compared with the forward pass, and its central differences with the
// gradients, so that no derivative is written twice.
import { assert } from "@std/assert";
import { type DType, isPacked, type Shape, size } from "../../src/core/dims.ts";
import type { DeviceOptions, GraftDevice } from "../../src/gpu/device.ts";
import { compile, type Executable, read, run, write } from "../../src/gpu/executable.ts";
import { createStore, put, release } from "../../src/gpu/store.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import type { Target } from "../../src/graph/target.ts";
import { backward } from "../../src/ops/backward.ts";
import { pack, unpack } from "../../src/io/packing.ts";
import { gpuTest } from "../device.ts";

/** Values of one operand in f64; whole numbers for u32. */
export type Numbers = Float64Array;

/** An operand: a shape filled with standard normal numbers, or given values. */
export interface Operand {
  readonly shape: Shape;
  /** Whole numbers (ids, labels, masks), or a packed weight, instead of f32; the reference gets what was packed. */
  readonly dtype?: DType;
  /** Values; standard normal numbers without. */
  readonly values?: ArrayLike<number>;
  /** Factor on the normal numbers. */
  readonly scale?: number;
}

/** One row of an op table. */
export interface OpCase {
  /** Which op the figures count for. */
  readonly op: string;
  /** What is special about this row. */
  readonly name: string;
  readonly inputs: Readonly<Record<string, Operand>>;
  /** Operands whose gradient is checked. */
  readonly wrt: readonly string[];
  readonly build: (values: Readonly<Record<string, Value>>, graph: Graph) => Value;
  readonly reference: (inputs: Readonly<Record<string, Numbers>>) => Numbers;
  /** Largest error relative to the largest reference value; 1e-5 by default: f32 rounding of sums of ~100 terms. */
  readonly tolerance?: number;
  /** Device to run on: forced limits or kernel class. */
  readonly device?: DeviceOptions;
  /** Limits that kernels are chosen for, where they are not the device's. */
  readonly target?: Partial<Target>;
}

const worst = new Map<string, { forward: number; gradient: number; cases: number }>();

/** Declare one test per row and one that prints the worst errors. */
export function opTable(title: string, cases: readonly OpCase[]): void {
  for (const c of cases) gpuTest(`${c.op}: ${c.name}`, (device) => check(device, c), c.device ?? {});
  Deno.test(`${title}: worst errors`, () => {
    for (const op of new Set(cases.map((c) => c.op))) {
      const { forward, gradient, cases: count } = worst.get(op)!;
      console.log(
        `error ${op.padEnd(28)} forward ${forward.toExponential(1)}  gradient ${
          gradient.toExponential(1)
        }  (${count} cases)`,
      );
    }
  });
}

/** Standard normal numbers, the same for one seed. */
export function normal(count: number, seed: number): Numbers {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x9e3779b9) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return ((z ^ (z >>> 16)) >>> 0) / 2 ** 32;
  };
  return Float64Array.from(
    { length: count },
    () => Math.fround(Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform())),
  );
}

/** Largest difference, relative to the largest reference value; 1 stands in for references that are all zero. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let difference = 0, largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const d = Math.abs(actual[i]! - expected[i]!);
    if (!(d <= difference)) difference = Number.isNaN(d) ? Infinity : d;
    largest = Math.max(largest, Math.abs(expected[i]!));
  }
  return difference / (largest || 1);
}

async function check(device: GraftDevice, c: OpCase): Promise<void> {
  const tolerance = c.tolerance ?? 1e-5;
  const graph = new Graph({ ...device.target, ...c.target });
  const numbers: Record<string, Numbers> = {};
  const values: Record<string, Value> = {};
  const packed = new Map<string, Uint32Array<ArrayBuffer>>();
  for (const [i, [name, { shape, dtype = "f32", values: given, scale = 1 }]] of Object.entries(c.inputs).entries()) {
    numbers[name] = given
      ? Float64Array.from(given, dtype === "u32" ? Number : Math.fround)
      : normal(size(shape), 7 + i).map((x) => Math.fround(scale * x));
    if (isPacked(dtype)) {
      packed.set(name, pack(dtype, Float32Array.from(numbers[name])));
      numbers[name] = Float64Array.from(unpack(dtype, packed.get(name)!, size(shape)));
    }
    const role = packed.has(name) ? "weight" : c.wrt.includes(name) ? "param" : "input";
    values[name] = graph.leaf(role, name, shape, { dtype });
  }
  const y = c.build(values, graph);
  const dyNumbers = normal(size(y.shape), 99);
  const seed = graph.leaf("input", "dy", y.shape);
  const gradients = c.wrt.length > 0 ? backward(graph, y, seed) : new Map<Value, Value>();
  const kept = [y, ...gradients.values()];

  const store = createStore(device);
  for (const name of c.wrt) await put(store, name, Float32Array.from(numbers[name]!));
  for (const [name, words] of packed) await put(store, name, words);
  const program = await compile(graph, { store, keep: kept, name: c.name });
  for (const [name, v] of Object.entries(values)) {
    if (v.role !== "input") continue;
    write(
      program,
      v,
      v.dtype === "f32" ? Float32Array.from(numbers[name]!) : Uint32Array.from(numbers[name]!, (x) => x >>> 0),
    );
  }
  write(program, seed, Float32Array.from(dyNumbers));
  poison(program, kept);
  run(program);
  const results = await read(program, kept);
  program.destroy();
  release(store);

  const record = worst.get(c.op) ?? { forward: 0, gradient: 0, cases: 0 };
  worst.set(c.op, record);
  record.cases++;
  const forward = relativeError(results[0]!, c.reference(numbers));
  record.forward = Math.max(record.forward, forward);
  assert(forward <= tolerance, `forward error ${forward.toExponential(2)} exceeds ${tolerance}`);
  for (const name of c.wrt) {
    const gradient = gradients.get(values[name]!);
    if (!gradient) throw new Error(`"${name}" has no gradient`);
    const actual = results[kept.indexOf(gradient)]!;
    const picks = sample(numbers[name]!.length);
    const expected = picks.map((i) => centralDifference(c, numbers, name, i, dyNumbers));
    const error = relativeError(picks.map((i) => actual[i]!), expected);
    record.gradient = Math.max(record.gradient, error);
    assert(error <= tolerance, `gradient of "${name}": error ${error.toExponential(2)} exceeds ${tolerance}`);
  }
}

/** Fill the outputs with junk before the run: a kernel that leaves an element unwritten is found. */
function poison(program: Executable, values: readonly Value[]): void {
  for (const v of values) if (v.role === "temp") write(program, v, new Float32Array(size(v.shape)).fill(12345));
}

/** All elements of a small tensor, 60 spread ones of a large one. */
function sample(count: number): number[] {
  if (count <= 60) return Array.from({ length: count }, (_, i) => i);
  return Array.from({ length: 60 }, (_, i) => Math.floor(i * (count - 1) / 59));
}

function centralDifference(c: OpCase, numbers: Record<string, Numbers>, name: string, i: number, dy: Numbers): number {
  const x = numbers[name]!;
  const h = 1e-5 * Math.max(1, Math.abs(x[i]!));
  const at = (value: number) => {
    const moved = x.slice();
    moved[i] = value;
    return c.reference({ ...numbers, [name]: moved });
  };
  const up = at(x[i]! + h), down = at(x[i]! - h);
  return dy.reduce((sum, d, j) => sum + d * (up[j]! - down[j]!), 0) / (2 * h);
}
