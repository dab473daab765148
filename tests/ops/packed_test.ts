// Products and tables over packed weights: every format, class and layout, odd sizes, small bindings. The reference
// gets the unpacked values; tests/io/packing_test.ts compares those with an independent one.
import { assertThrows } from "@std/assert";
import type { PackedDType } from "../../src/core/dims.ts";
import type { DeviceOptions } from "../../src/gpu/device.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import { embedding } from "../../src/ops/embedding.ts";
import { add } from "../../src/ops/elementwise.ts";
import { linearCrossEntropy } from "../../src/ops/linear_cross_entropy.ts";
import { loraLinear } from "../../src/ops/lora_linear.ts";
import { linear, matmul } from "../../src/ops/matmul.ts";
import { type OpCase, opTable } from "./harness.ts";
import { referenceLoss } from "./loss_reference.ts";

const FORMATS: readonly PackedDType[] = ["f16", "bf16", "int8", "nf4"];
const CLASSES: readonly DeviceOptions[] = [{ kind: "software" }, { kind: "gpu" }, { kind: "default" }];

interface Sizes {
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

const SIZES: readonly Sizes[] = [
  { M: 20, N: 72, K: 64 }, //  blocks along the rows
  { M: 9, N: 40, K: 20 }, //   blocks that run over rows
  { M: 70, N: 130, K: 72 }, // several tiles, ragged; segments of nf4 within a row
  { M: 6, N: 7, K: 13 }, //    nothing even
  { M: 1, N: 96, K: 128 }, //  one row: decoding
];

function product({ M, N, K }: Sizes, ta: boolean, tb: boolean, dtype: PackedDType, device: DeviceOptions): OpCase {
  return {
    op: `${dtype} ${ta ? "t" : "n"}${tb ? "t" : "n"}`,
    name: `${M}x${K}·${K}x${N}, ${device.kind}${device.maxBinding ? `, bindings of ${device.maxBinding} bytes` : ""}`,
    inputs: { a: { shape: ta ? [K, M] : [M, K] }, b: { shape: tb ? [N, K] : [K, N], dtype } },
    wrt: ta ? [] : ["a"], // a weight is the second factor of its map and of the map's gradient
    build: ({ a, b }) => matmul(a!, b!, { ta, tb }),
    reference: ({ a, b }) => {
      const c = new Float64Array(M * N);
      for (let m = 0; m < M; m++) {
        for (let n = 0; n < N; n++) {
          for (let k = 0; k < K; k++) {
            c[m * N + n]! += a![ta ? k * M + m : m * K + k]! * b![tb ? n * K + k : k * N + n]!;
          }
        }
      }
      return c;
    },
    device,
  };
}

/** x·Wᵀ + bias + 2·(x·Aᵀ)·Bᵀ and its gradients. */
function adapted(transposed: boolean, dtype: PackedDType, device: DeviceOptions): OpCase {
  const N = 11, In = 64, Out = 24, R = 4;
  return {
    op: `${dtype} lora`,
    name: `${transposed ? "transposed" : "plain"}, ${device.kind}`,
    inputs: {
      x: { shape: [N, In] },
      w: { shape: transposed ? [In, Out] : [Out, In], dtype },
      bias: { shape: [Out] },
      a: { shape: [R, In] },
      b: { shape: [Out, R] },
    },
    wrt: ["x", "a", "b"],
    build: ({ x, w, a, b, bias }) => loraLinear(x!, x!, w!, a!, b!, { transposed, bias: bias!, scale: 2 }),
    reference: ({ x, w, a, b, bias }) => {
      const y = new Float64Array(N * Out);
      for (let n = 0; n < N; n++) {
        for (let o = 0; o < Out; o++) {
          let sum = bias![o]!;
          for (let i = 0; i < In; i++) sum += x![n * In + i]! * w![transposed ? i * Out + o : o * In + i]!;
          for (let r = 0; r < R; r++) {
            for (let i = 0; i < In; i++) sum += 2 * x![n * In + i]! * a![r * In + i]! * b![o * R + r]!;
          }
          y[n * Out + o] = sum;
        }
      }
      return y;
    },
    device,
  };
}

function table(D: number, dtype: "f16" | "bf16", device: DeviceOptions): OpCase {
  const V = 140, ids = [3, 139, 0, 3, 64, 140];
  return {
    op: `${dtype} embedding`,
    name: `D=${D}${device.maxBinding ? `, bindings of ${device.maxBinding} bytes` : ""}`,
    inputs: {
      table: { shape: [V, D], dtype },
      ids: { shape: [ids.length], dtype: "u32", values: ids },
      more: { shape: [ids.length, D] },
    },
    wrt: ["more"],
    build: ({ table, ids, more }) => add(embedding(table!, ids!), more!),
    reference: ({ table, more }) => more!.map((x, i) => x + (table![ids[Math.floor(i / D)]! * D + i % D] ?? 0)),
    device,
  };
}

function loss(dtype: PackedDType, device: DeviceOptions): OpCase {
  const N = 9, D = 16, V = 37, labels = [3, 36, 0, 5, 11, 20, 21, 8, 30];
  return {
    op: `${dtype} linear_cross_entropy`,
    name: `${device.kind}`,
    inputs: {
      hidden: { shape: [N, D] },
      weight: { shape: [V, D], dtype, scale: 0.3 },
      labels: { shape: [N], dtype: "u32", values: labels },
    },
    wrt: ["hidden"],
    build: ({ hidden, weight, labels }) => linearCrossEntropy({ hidden: hidden!, weight: weight!, labels: labels! }),
    reference: ({ hidden, weight }) => {
      const logits = Float64Array.from({ length: N * V }, (_, i) => {
        const n = Math.floor(i / V), v = i % V;
        let sum = 0;
        for (let d = 0; d < D; d++) sum += hidden![n * D + d]! * weight![v * D + d]!;
        return sum;
      });
      return Float64Array.of(referenceLoss(logits, labels, { V }).loss);
    },
    device,
  };
}

const cases: OpCase[] = [];
for (const device of CLASSES) {
  for (const dtype of FORMATS) {
    for (const tb of [false, true]) {
      // The classes gpu and default share their loaders, and compile slowly here.
      for (const sizes of device.kind === "software" ? SIZES : SIZES.slice(2, device.kind === "gpu" ? 5 : 4)) {
        cases.push(product(sizes, false, tb, dtype, device));
      }
    }
    if (device.kind === "default") continue;
    cases.push(product(SIZES[0]!, true, false, dtype, device), product(SIZES[1]!, true, true, dtype, device));
    cases.push(adapted(device.kind === "gpu", dtype, device), loss(dtype, device));
  }
}
// Cuts fall anywhere in a segment, and bindings start at multiples of 256 bytes, which segments do not.
for (const kind of ["software", "gpu"] as const) {
  const device = { kind, maxBinding: 4096 };
  for (const dtype of FORMATS) {
    for (const tb of [false, true]) cases.push(product({ M: 7, N: 140, K: 100 }, false, tb, dtype, device));
  }
}
for (const dtype of ["f16", "bf16"] as const) {
  for (const D of [8, 6]) cases.push(table(D, dtype, {}));
  cases.push(table(16, dtype, { maxBinding: 4096 }), table(14, dtype, { maxBinding: 4096 }));
}

opTable("packed", cases);

Deno.test("packed weights are refused where plain words are read, or something is trained", () => {
  const graph = new Graph();
  const w: Value = graph.leaf("weight", "w", [64, 64], { dtype: "nf4" });
  const x = graph.leaf("input", "x", [2, 64]);
  assertThrows(() => add(w, w), TypeError, 'Cannot apply add to "w" as it is packed as nf4');
  assertThrows(() => matmul(w, x), TypeError, "packed");
  assertThrows(() => linear(x, x, { bias: w }), TypeError, "packed");
  assertThrows(() => embedding(w, graph.leaf("input", "ids", [2], { dtype: "u32" })), TypeError, "nf4");
  assertThrows(() => graph.leaf("param", "p", [64], { dtype: "int8" }), TypeError, "only frozen weights");
  const flat = graph.leaf("weight", "flat", [4096], { dtype: "nf4" });
  assertThrows(
    () => graph.leaf("weight", "part", [64], { dtype: "nf4", within: { parent: flat, offset: 64 } }),
    TypeError,
    "multiples of 1024",
  );
});
