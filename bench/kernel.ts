// One op measured: its forward or its backward kernels alone, on random operands, with samples of the result compared.
import { type Shape, size } from "../src/core/dims.ts";
import type { GraftDevice } from "../src/gpu/device.ts";
import { compile, createStore, Graph, put, read, release, run, type Value, write } from "../src/ops/mod.ts";
import { backward } from "../src/ops/mod.ts";
import { ids, normals } from "./random.ts";
import { type Check, type Peaks, type Row, shareOf } from "./row.ts";
import { time } from "../src/gpu/time.ts";

/** What every family gets. */
export interface Context {
  readonly device: GraftDevice;
  readonly peaks: Peaks;
  /** Small sizes and few rounds. */
  readonly quick: boolean;
  /** Called with every row as it is measured. */
  readonly report: (row: Row) => void;
  /** Called with every ratio that has a limit. */
  readonly check: (check: Check) => void;
  /** Only what has one of these in its name: models of "step", frameworks of "peers". */
  readonly only?: readonly string[];
  /** A line for people. */
  readonly say: (text: string) => void;
}

/** An operand. */
export interface Operand {
  readonly shape: Shape;
  /** Ids, each below this number, instead of normal numbers. */
  readonly below?: number;
  /** Factor on the normal numbers. */
  readonly scale?: number;
}

/** Operands, the result or gradients, and the gradient of the result, as arrays. */
export interface Arrays {
  readonly [name: string]: Float32Array | Uint32Array;
}

/** Positions of one result and what they should hold. */
export interface Expected {
  /** `"y"`, or the operand whose gradient is meant. */
  readonly of: string;
  readonly at: readonly number[];
  readonly values: readonly number[];
}

/** An op to measure. */
export interface KernelCase {
  readonly name: string;
  readonly shape: string;
  readonly operands: Readonly<Record<string, Operand>>;
  /** Operands with a gradient: with any, the backward pass is measured, otherwise the forward one. */
  readonly wrt?: readonly string[];
  /** Measure forward and backward together. */
  readonly both?: boolean;
  readonly build: (values: Readonly<Record<string, Value>>) => Value;
  /** Samples in f64; `dy` is the gradient of the result. */
  readonly expected: (arrays: Arrays) => readonly Expected[];
  /** Floating-point operations, or bytes read and written. */
  readonly work: { readonly flops: number } | { readonly bytes: number };
}

/** Measure one case. */
export async function measureKernel({ device, peaks, quick }: Context, family: string, c: KernelCase): Promise<Row> {
  const wrt = c.wrt ?? [];
  const graph = new Graph(device.target);
  const values: Record<string, Value> = {};
  const arrays: Record<string, Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>> = {};
  for (const [i, [name, { shape, below, scale = 1 }]] of Object.entries(c.operands).entries()) {
    const count = size(shape);
    arrays[name] = below === undefined ? normals(count, i + 1, scale) : ids(count, below, i + 1);
    const role = below !== undefined ? "input" : wrt.includes(name) ? "param" : "weight";
    values[name] = graph.leaf(role, name, shape, { dtype: below === undefined ? "f32" : "u32" });
  }
  const y = c.build(values);
  const forward = new Set(graph.nodes);
  const dy = graph.leaf("input", "dy", y.shape);
  arrays.dy = normals(size(y.shape), 99, 1);
  const gradients = wrt.length > 0 ? backward(graph, y, dy) : new Map<Value, Value>();
  const kept = wrt.length > 0 ? wrt.map((name) => [name, gradients.get(values[name]!)!] as const) : [["y", y] as const];
  const store = createStore(device);
  try {
    for (const [name, v] of Object.entries(values)) if (v.role !== "input") await put(store, name, arrays[name]!);
    const program = await compile(graph, { store, keep: kept.map(([, v]) => v), name: `bench ${c.name}` });
    for (const [name, v] of Object.entries(values)) if (v.role === "input") write(program, v, arrays[name]!);
    if (wrt.length > 0) write(program, dy, arrays.dy);
    run(program);
    const results = await read(program, kept.map(([, v]) => v));
    const found = Object.fromEntries(kept.map(([name], i) => [name, results[i]!]));
    const error = worst(c.expected(arrays), found);
    const dispatches = wrt.length > 0 && !c.both
      ? program.dispatches.filter(({ node }) => !forward.has(node))
      : program.dispatches;
    const times = await time(program, { dispatches, rounds: quick ? 3 : 7 });
    program.destroy();
    const [done, unit] = "flops" in c.work ? [c.work.flops, "GFLOP/s"] as const : [c.work.bytes, "GB/s"] as const;
    const rate = done / times.best / 1e6;
    return {
      family,
      name: c.name,
      shape: c.shape,
      error,
      ...times,
      rate,
      unit,
      share_of_peak: shareOf(peaks, rate, unit),
    };
  } finally {
    release(store);
  }
}

/** Measure all cases of a family and report each. */
export async function measureAll(context: Context, family: string, cases: readonly KernelCase[]): Promise<Row[]> {
  const rows: Row[] = [];
  for (const c of cases) {
    const row = await measureKernel(context, family, c);
    rows.push(row);
    context.report(row);
  }
  return rows;
}

function worst(expected: readonly Expected[], found: Readonly<Record<string, Float32Array>>): number {
  let error = 0;
  for (const { of, at, values } of expected) {
    const largest = Math.max(...values.map(Math.abs)) || 1;
    at.forEach((i, j) => {
      const e = Math.abs(found[of]![i]! - values[j]!) / largest;
      error = Number.isNaN(e) ? Infinity : Math.max(error, e);
    });
  }
  return error;
}
