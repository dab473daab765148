import { assert, assertEquals, assertThrows } from "@std/assert";
import type { DeviceOptions } from "../../src/gpu/device.ts";
import { Graph } from "../../src/graph/graph.ts";
import { guaranteed } from "../../src/graph/target.ts";
import { backward } from "../../src/ops/backward.ts";
import { linearCrossEntropy, linearCrossEntropyRows } from "../../src/ops/linear_cross_entropy.ts";
import { type Numbers, type OpCase, opTable } from "./harness.ts";
import { labelsFor, type LossReference, referenceLoss } from "./loss_reference.ts";

interface Row extends Omit<LossReference, "V"> {
  readonly name: string;
  readonly N: number;
  readonly D: number;
  readonly V: number;
  readonly weighted?: boolean;
  readonly scaled?: boolean;
  readonly labels?: readonly number[];
  readonly wrt?: readonly string[];
  readonly softcap?: number;
  readonly device?: DeviceOptions;
}

const rows: Row[] = [
  { name: "one chunk", N: 5, D: 4, V: 7 },
  { name: "one class", N: 3, D: 4, V: 1 },
  { name: "one row", N: 1, D: 6, V: 12 },
  { name: "evaluation", N: 6, D: 5, V: 9, wrt: [] },
  { name: "frozen weight", N: 6, D: 5, V: 9, wrt: ["hidden"] },
  { name: "frozen hidden", N: 6, D: 5, V: 9, wrt: ["weight"] },
  { name: "sum", N: 6, D: 8, V: 10, reduction: "sum" },
  { name: "smoothing and class weights", N: 9, D: 4, V: 11, smoothing: 0.1, weighted: true },
  { name: "scaled sum", N: 9, D: 8, V: 11, reduction: "sum", scaled: true },
  { name: "every label ignored", N: 4, D: 4, V: 9, labels: [-100, -100, -100, -100] },
  { name: "several tiles", N: 70, D: 24, V: 401, smoothing: 0.05 },
  { name: "softcap", N: 9, D: 8, V: 12, softcap: 2 },
  { name: "softcap, odd classes, smoothing, weights", N: 9, D: 4, V: 11, softcap: 3, smoothing: 0.1, weighted: true },
  { name: "chunks of 64 rows and a rest", N: 150, D: 8, V: 60, device: { maxBinding: 64 * 60 * 4 + 512 } },
  { name: "chunks of few rows, weight above one binding", N: 13, D: 8, V: 257, device: { maxBinding: 4096 } },
];

const classes: (DeviceOptions & { readonly label: string })[] = [{ label: "" }, {
  label: ", default class",
  kind: "default",
}];

/** hidden[N, D] · weight[V, D]ᵀ in f64, bent where the row says so. */
function logitsOf(hidden: Numbers, weight: Numbers, { N, D, V, softcap }: Row): Numbers {
  const y = new Float64Array(N * V);
  for (let n = 0; n < N; n++) {
    for (let v = 0; v < V; v++) {
      for (let d = 0; d < D; d++) y[n * V + v]! += hidden[n * D + d]! * weight[v * D + d]!;
    }
  }
  return softcap === undefined ? y : y.map((x) => softcap * Math.tanh(x / softcap));
}

function caseOf(row: Row, { label, ...kind }: typeof classes[number], perRow: boolean): OpCase {
  const { N, D, V, weighted = false, scaled = false, smoothing = 0, reduction = "mean" } = row;
  const weights = Float64Array.from({ length: V }, (_, c) => Math.fround(0.5 + (c * 7 % 11) / 8));
  const reference = { V, smoothing, reduction, ...(weighted ? { weights } : {}) };
  return {
    op: perRow ? "linearCrossEntropyRows" : "linearCrossEntropy",
    name: `${row.name} [${N}, ${D}, ${V}]${label}`,
    inputs: {
      hidden: { shape: [N, D] },
      weight: { shape: [V, D] },
      labels: { shape: [N], dtype: "u32", values: row.labels ?? labelsFor(N, V) },
      weights: { shape: [V], values: weights },
      scalars: { shape: [5], values: [9, 9, 9, 0.3, 9] },
    },
    wrt: row.wrt ?? ["hidden", "weight"],
    build({ hidden, weight, labels, weights, scalars }) {
      const inputs = { hidden: hidden!, weight: weight!, labels: labels! };
      const options = { smoothing, softcap: row.softcap, ...(weighted ? { weights: weights! } : {}) };
      if (perRow) return linearCrossEntropyRows(inputs, options);
      return linearCrossEntropy({ ...inputs, ...(scaled ? { scale: { value: scalars!, word: 3 } } : {}) }, {
        ...options,
        reduction,
      });
    },
    reference({ hidden, weight, labels }) {
      const { loss, rows } = referenceLoss(logitsOf(hidden!, weight!, row), labels!, reference);
      return perRow ? Float64Array.from(rows) : Float64Array.of((scaled ? Math.fround(0.3) : 1) * loss);
    },
    device: { ...row.device, ...kind },
    // Logits are sums of up to 24 products, gradients of up to 401: a few f32 roundings.
    tolerance: 1e-6,
  };
}

opTable(
  "linear cross entropy",
  classes.flatMap((kind) => [
    ...rows.map((row) => caseOf(row, kind, false)),
    ...rows.filter(({ scaled, reduction }) => !scaled && !reduction).map((row) => caseOf(row, kind, true)),
  ]),
);

Deno.test("a loss whose gradient is one uses the gradients of the forward node themselves", () => {
  const graph = new Graph();
  const hidden = graph.leaf("param", "h", [8, 4]);
  const weight = graph.leaf("param", "w", [12, 4]);
  const labels = graph.leaf("input", "y", [8], { dtype: "u32" });
  const loss = linearCrossEntropy({ hidden, weight, labels });
  const gradients = backward(graph, loss);
  const [node] = graph.nodes;
  assertEquals(gradients.get(hidden), node!.outputs[4]);
  assertEquals(gradients.get(weight), node!.outputs[5]);
  assertEquals(graph.nodes.map(({ op }) => op.name), ["linear_cross_entropy", "fill"]);
});

Deno.test("nothing is computed for gradients that nobody asks for, and the logits of a chunk are bounded", () => {
  const [N, D, V] = [4096, 768, 50257] as const;
  const graph = new Graph({ ...guaranteed, kind: "software", subgroup: 8 });
  const labels = graph.leaf("input", "y", [N], { dtype: "u32" });
  const hidden = graph.leaf("input", "h", [N, D]);
  const weight = graph.leaf("weight", "w", [V, D]);
  linearCrossEntropy({ hidden, weight, labels });
  const [node] = graph.nodes;
  assertEquals(node!.outputs.length, 4);
  const [C, stride] = node!.outputs[3].shape;
  assertEquals(stride, 50260);
  assertEquals(C, 128);
  const names: string[] = node!.op.kernels(node!, graph.target).map(({ name }: { name: string }) => name);
  assert(!names.some((name) => name.includes("'")), String(names));
});

Deno.test("a row of logits above one binding, smoothing of one, and labels of f32 are errors that say so", () => {
  const graph = new Graph({ ...guaranteed, maxBinding: 4096 });
  const inputs = {
    hidden: graph.leaf("input", "h", [2, 4]),
    weight: graph.leaf("weight", "w", [1025, 4]),
    labels: graph.leaf("input", "y", [2], { dtype: "u32" }),
  };
  assertThrows(() => linearCrossEntropy(inputs), RangeError, "Cannot hold a row of 1025 logits");
  assertThrows(() => linearCrossEntropyRows(inputs, { smoothing: 1 }), RangeError, "smoothing");
  const labels = graph.leaf("input", "f", [2]);
  assertThrows(() => linearCrossEntropy({ ...inputs, labels }), TypeError, "labels must be u32: received f32 [2]");
});
