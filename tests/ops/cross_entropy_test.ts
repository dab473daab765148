import { assert, assertEquals } from "@std/assert";
import { crossEntropy, type CrossEntropyOptions } from "../../src/ops/cross_entropy.ts";
import { backward } from "../../src/ops/backward.ts";
import { compile, read, run, write } from "../../src/gpu/executable.ts";
import { createStore, put, release } from "../../src/gpu/store.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import type { DeviceOptions, GraftDevice } from "../../src/gpu/device.ts";
import { gpuTest } from "../device.ts";
import { normal, type OpCase, opTable, relativeError } from "./harness.ts";
import { labelsFor, type LossReference, referenceLoss } from "./loss_reference.ts";

interface Row extends Omit<LossReference, "V"> {
  readonly name: string;
  readonly N: number;
  readonly V: number;
  readonly weighted?: boolean;
  readonly scaled?: boolean;
  readonly logits?: ArrayLike<number>;
  readonly scale?: number;
  readonly labels?: readonly number[];
  readonly device?: DeviceOptions;
  readonly tolerance?: number;
}

const rows: Row[] = [
  { name: "one class", N: 3, V: 1 },
  { name: "two classes", N: 5, V: 2, reduction: "mean" },
  { name: "odd classes, mean, some ignored", N: 7, V: 13, reduction: "mean" },
  { name: "odd classes, sum", N: 7, V: 13, reduction: "sum" },
  { name: "classes of whole vectors", N: 7, V: 64 },
  { name: "smoothing", N: 7, V: 13, smoothing: 0.1 },
  { name: "smoothing on vectors, sum", N: 6, V: 36, smoothing: 0.25, reduction: "sum" },
  { name: "class weights", N: 9, V: 13, weighted: true },
  { name: "class weights, sum", N: 9, V: 16, weighted: true, reduction: "sum" },
  { name: "class weights and smoothing", N: 9, V: 14, weighted: true, smoothing: 0.2 },
  { name: "class weights and smoothing on vectors", N: 9, V: 40, weighted: true, smoothing: 0.2 },
  { name: "scaled sum", N: 9, V: 12, reduction: "sum", scaled: true },
  { name: "scaled mean", N: 9, V: 11, scaled: true, weighted: true, smoothing: 0.1 },
  { name: "every label ignored", N: 4, V: 9, labels: [-100, -100, -100, -100] },
  { name: "every label ignored, sum", N: 4, V: 8, labels: [-100, -100, -100, -100], reduction: "sum", smoothing: 0.1 },
  { name: "more rows than lanes", N: 333, V: 9 },
  {
    name: "rows above one binding (forced to 64 KiB)",
    N: 300,
    V: 101,
    smoothing: 0.1,
    device: { maxBinding: 2 ** 16 },
  },
  { name: "logits of ±10,000", N: 6, V: 33, scale: 1e4 },
  { name: "logits of ±10,000, smoothed", N: 6, V: 32, scale: 1e4, smoothing: 0.1 },
];

// The classes "gpu" and "default" get the same text.
const classes: (DeviceOptions & { readonly label: string })[] = [
  { label: "" },
  { label: ", default class", kind: "default" },
];

opTable(
  "cross entropy",
  rows.flatMap((row) =>
    classes.map(({ label, ...kind }): OpCase => {
      const { N, V, weighted = false, scaled = false, smoothing = 0, reduction = "mean" } = row;
      const weights = Float64Array.from({ length: V }, (_, c) => Math.fround(0.5 + (c * 7 % 11) / 8));
      return {
        op: "crossEntropy",
        name: `${row.name} [${N}, ${V}]${label}`,
        inputs: {
          logits: { shape: [N, V], scale: row.scale ?? 2, ...(row.logits ? { values: row.logits } : {}) },
          labels: { shape: [N], dtype: "u32", values: row.labels ?? labelsFor(N, V) },
          weights: { shape: [V], values: weights },
          scalars: { shape: [5], values: [9, 9, 9, 0.3, 9] },
        },
        wrt: ["logits"],
        build: ({ logits, labels, weights, scalars }) =>
          crossEntropy(logits!, labels!, {
            smoothing,
            reduction,
            ...(weighted ? { weights: weights! } : {}),
            ...(scaled ? { scaleBy: { value: scalars!, word: 3 } } : {}),
          }),
        reference: ({ logits, labels }) =>
          Float64Array.of(
            (scaled ? Math.fround(0.3) : 1) *
              referenceLoss(logits!, labels!, { V, smoothing, reduction, ...(weighted ? { weights } : {}) }).loss,
          ),
        device: { ...row.device, ...kind },
        // A handful of f32 roundings; the sums are short.
        tolerance: row.tolerance ?? 1e-6,
      };
    })
  ),
);

/** Loss and gradient of given numbers. */
async function evaluate(
  device: GraftDevice,
  { logits, labels, V, weights = [], build }: {
    readonly logits: Float32Array;
    readonly labels: readonly number[];
    readonly V: number;
    readonly weights?: readonly number[];
    readonly build: (logits: Value, labels: Value, weights: Value) => Value;
  },
): Promise<readonly [Float32Array, Float32Array]> {
  const N = labels.length;
  const graph = new Graph(device.target);
  const x = graph.leaf("param", "logits", [N, V]);
  const y = graph.leaf("input", "labels", [N], { dtype: "u32" });
  const w = graph.leaf("input", "weights", [V]);
  const loss = build(x, y, w);
  const dx = backward(graph, loss).get(x)!;
  const store = createStore(device);
  await put(store, "logits", logits);
  const program = await compile(graph, { store, keep: [loss, dx] });
  write(program, y, Uint32Array.from(labels, (l) => l >>> 0));
  if (weights.length > 0) write(program, w, Float32Array.from(weights));
  run(program);
  const [a, b] = await read(program, [loss, dx]);
  program.destroy();
  release(store);
  return [a!, b!];
}

interface Fixture {
  readonly N: number;
  readonly V: number;
  readonly logits: number[];
  readonly labels: number[];
  readonly weights: number[];
  readonly smoothing: number;
  readonly cases: Record<string, { readonly loss: number; readonly gradient: number[] }>;
}

for (const kind of ["software", "gpu"] as const) {
  gpuTest(`crossEntropy equals PyTorch's, ${kind} class`, async (device) => {
    const f: Fixture = JSON.parse(
      Deno.readTextFileSync(new URL("../fixtures/numerics/cross_entropy.json", import.meta.url)),
    );
    const options: Record<string, CrossEntropyOptions> = {
      plain: {},
      smooth: { smoothing: f.smoothing },
      sum: { reduction: "sum" },
      weighted: {},
    };
    for (const [name, { loss, gradient }] of Object.entries(f.cases)) {
      const [y, dx] = await evaluate(device, {
        logits: Float32Array.from(f.logits),
        labels: f.labels,
        V: f.V,
        weights: f.weights,
        build: (logits, labels, weights) =>
          crossEntropy(logits, labels, { ...options[name], ...(name === "weighted" ? { weights } : {}) }),
      });
      assert(relativeError(y, [loss]) < 1e-6, `${name}: ${y[0]} is not ${loss}`); // both sides are rounded to f32
      assert(relativeError(dx, gradient) < 1e-6, `gradient of ${name}`);
    }
  }, { kind });
}

for (const kind of ["software", "gpu"] as const) {
  gpuTest(`crossEntropy of 151,936 classes, and a label outside of them, ${kind} class`, largest, { kind });
}

async function largest(device: GraftDevice): Promise<void> {
  const V = 151_936;
  const numbers = normal(2 * V, 3).map((x) => Math.fround(3 * x));
  const labels = [V - 1, 77];
  const [loss, dx] = await evaluate(device, {
    logits: Float32Array.from(numbers),
    labels,
    V,
    build: (logits, y) => crossEntropy(logits, y),
  });
  const reference = referenceLoss(numbers, labels, { V });
  // The sum over a vocabulary is kept in 32 parts, each rounded 4,748 times: about √4748 · 6e-8 at worst.
  assert(relativeError(loss, [reference.loss]) < 1e-6, `${loss[0]} is not ${reference.loss}`);
  assert(relativeError(dx, reference.gradient) < 1e-5);
  const [bad] = await evaluate(device, {
    logits: Float32Array.from(numbers),
    labels: [V, 77],
    V,
    build: (logits, y) => crossEntropy(logits, y),
  });
  assertEquals(bad[0], NaN);
}
