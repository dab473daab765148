import { assert, assertEquals, assertThrows } from "@std/assert";
import { size } from "../../src/core/dims.ts";
import { ShapeError } from "../../src/core/errors.ts";
import { checkKernel } from "../../src/gpu/check.ts";
import type { DeviceOptions } from "../../src/gpu/device.ts";
import { compile, read, run, write } from "../../src/gpu/executable.ts";
import { createStore, put, release } from "../../src/gpu/store.ts";
import { Graph } from "../../src/graph/graph.ts";
import { plan } from "../../src/graph/plan.ts";
import { guaranteed, type Target } from "../../src/graph/target.ts";
import { attention, type AttentionOptions, attentionPacked } from "../../src/ops/attention.ts";
import { backward } from "../../src/ops/backward.ts";
import { gpuTest } from "../device.ts";
import { attentionReference } from "./attention_reference.ts";
import { normal, type Numbers, type OpCase, type Operand, opTable } from "./harness.ts";

interface Row extends AttentionOptions {
  /** What is special. */
  readonly name: string;
  /** Real tokens, [B, T] row by row. */
  readonly mask?: readonly number[];
  /** With a bias, whose gradient is checked too. */
  readonly biased?: boolean;
  readonly device?: DeviceOptions;
  readonly target?: Partial<Target>;
}

/** Errors of exp and of sums of T products, each of order 2^-24, and in gradients of a difference of two such sums. */
const tolerance = 8e-7;

function title({ name, B, T, S, H, K, E, causal, window }: Row): string {
  const keys = S === undefined ? "" : ` on ${S}`;
  return `${name}: [${B}x${T}]${keys} ${H}/${K} heads of ${E}${causal ? ", causal" : ""}${
    window ? `, window ${window}` : ""
  }`;
}

function extraInputs({ mask, biased, B, T, S = T, H }: Row): Readonly<Record<string, Operand>> {
  return {
    ...mask ? { mask: { shape: [B, S], dtype: "u32", values: mask } } : {},
    ...biased ? { bias: { shape: [H, T, S] } } : {},
  };
}

function apart({ mask, biased, device, target, ...row }: Row): OpCase {
  const { name: _, ...options } = row;
  const { B, T, S = T, H, K, E } = row;
  return {
    op: "attention",
    name: title(row),
    inputs: {
      q: { shape: [B * T, H * E] },
      k: { shape: [B * S, K * E] },
      v: { shape: [B * S, K * E] },
      ...extraInputs({ ...row, ...mask ? { mask } : {}, ...biased ? { biased } : {} }),
    },
    wrt: ["q", "k", "v", ...biased ? ["bias"] : []],
    build: ({ q, k, v, mask, bias }) => attention({ q: q!, k: k!, v: v!, mask, bias }, options),
    reference: ({ q, k, v, bias }) =>
      attentionReference({ q: q!, k: k!, v: v!, bias, ...mask ? { mask } : {} }, options),
    tolerance,
    ...device ? { device } : {},
    ...target ? { target } : {},
  };
}

function packed({ mask, biased, device, target, ...row }: Row): OpCase {
  const { name: _, ...options } = row;
  const { B, T, H, K, E } = row;
  const width = (H + 2 * K) * E;
  const columns = (qkv: Numbers, from: number, count: number) =>
    Float64Array.from({ length: B * T * count }, (_, i) => qkv[Math.floor(i / count) * width + from + i % count]!);
  return {
    op: "attention packed",
    name: title(row),
    inputs: {
      qkv: { shape: [B * T, width] },
      ...extraInputs({ ...row, ...mask ? { mask } : {}, ...biased ? { biased } : {} }),
    },
    wrt: ["qkv", ...biased ? ["bias"] : []],
    build: ({ qkv, mask, bias }) => attentionPacked({ qkv: qkv!, mask, bias }, options),
    reference: ({ qkv, bias }) =>
      attentionReference({
        q: columns(qkv!, 0, H * E),
        k: columns(qkv!, H * E, K * E),
        v: columns(qkv!, (H + K) * E, K * E),
        bias,
        ...mask ? { mask } : {},
      }, options),
    tolerance,
    ...device ? { device } : {},
    ...target ? { target } : {},
  };
}

const causal = true, gpu = { kind: "gpu" } as const;
// Left padding of 2, no padding, and a sequence of padding only.
const left = [0, 0, 1, 1, 1, 1, 1, ...[1, 1, 1, 1, 1, 1, 1], ...[0, 0, 0, 0, 0, 0, 0]];
// A sequence of 67 with left padding beyond the first tile of keys, and one without its last 40.
const late = Array.from({ length: 134 }, (_, i) => i >= 34 && i < 94 ? 1 : 0);
const right = [1, 1, 1, 1, 1, 0, 0, 0, ...[1, 1, 1, 1, 1, 1, 1, 1]];

// Central differences of so long a reference would take a minute.
const longest = { ...apart({ name: "longest", B: 1, T: 2048, H: 1, K: 1, E: 4, causal }), wrt: [] };

opTable("attention", [
  apart({ name: "one row", B: 1, T: 1, H: 1, K: 1, E: 4, causal }),
  apart({ name: "odd length", B: 2, T: 7, H: 2, K: 2, E: 4, causal }),
  apart({ name: "prime length, odd head", B: 1, T: 13, H: 2, K: 1, E: 5, causal: false }),
  apart({ name: "grouped", B: 2, T: 12, H: 4, K: 2, E: 8, causal }),
  apart({ name: "grouped, all to one", B: 1, T: 9, H: 4, K: 1, E: 8, causal, scale: 0.2 }),
  apart({ name: "bidirectional", B: 2, T: 8, H: 2, K: 2, E: 8, causal: false }),
  apart({ name: "left padding", B: 3, T: 7, H: 2, K: 1, E: 4, causal, mask: left }),
  apart({ name: "right padding", B: 2, T: 8, H: 2, K: 2, E: 4, causal: false, mask: right }),
  apart({ name: "window", B: 1, T: 23, H: 2, K: 1, E: 4, causal, window: 6 }),
  apart({ name: "window and padding", B: 3, T: 7, H: 1, K: 1, E: 4, causal, window: 3, mask: left }),
  apart({ name: "more than one tile", B: 1, T: 139, H: 1, K: 1, E: 8, causal }),
  longest,
  apart({ name: "two parts of columns, window", B: 1, T: 70, H: 2, K: 1, E: 40, causal, window: 19 }),
  apart({ name: "two parts of columns, bidirectional", B: 1, T: 35, H: 2, K: 1, E: 64, causal: false }),
  apart({
    name: "softcap, window, padding",
    B: 2,
    T: 67,
    H: 2,
    K: 2,
    E: 20,
    causal,
    softcap: 2,
    window: 40,
    mask: late,
  }),
  apart({ name: "cross, more than one tile", B: 2, T: 37, S: 67, H: 2, K: 1, E: 16, causal: false, mask: late }),
  apart({ name: "bias", B: 2, T: 12, H: 4, K: 2, E: 4, causal: false, biased: true }),
  apart({ name: "bias of odd rows, padded", B: 3, T: 7, H: 2, K: 1, E: 4, causal, mask: left, biased: true }),
  apart({ name: "softcap", B: 1, T: 11, H: 2, K: 1, E: 4, causal, softcap: 0.7 }),
  apart({ name: "cross", B: 2, T: 5, S: 8, H: 2, K: 1, E: 4, causal: false, mask: right, biased: true }),
  apart({ name: "cross, odd", B: 2, T: 9, S: 3, H: 2, K: 2, E: 4, causal: false }),
  apart({ name: "memory kernels", B: 1, T: 131, H: 2, K: 1, E: 6, causal, softcap: 2, device: gpu }),
  apart({ name: "gpu, two tiles", B: 1, T: 131, H: 2, K: 1, E: 8, causal, device: gpu }),
  apart({ name: "gpu, grouped, bidirectional", B: 2, T: 37, H: 4, K: 2, E: 40, causal: false, device: gpu }),
  apart({ name: "gpu, one panel", B: 1, T: 70, H: 1, K: 1, E: 64, causal, device: gpu }),
  apart({ name: "gpu, two panels", B: 1, T: 35, H: 2, K: 1, E: 128, causal, device: gpu }),
  apart({ name: "gpu, window", B: 1, T: 139, H: 2, K: 1, E: 4, causal, window: 19, device: gpu }),
  apart({ name: "gpu, left padding", B: 3, T: 7, H: 2, K: 1, E: 4, causal, mask: left, device: gpu }),
  // Nine buffers for the gradients of k and v: two dispatches where eight are allowed.
  apart({
    ...{ name: "gpu, bias", B: 3, T: 7, H: 2, K: 1, E: 4, causal, mask: left, biased: true, device: gpu },
    target: { storageBuffers: 8 },
  }),
  apart({ name: "gpu, softcap", B: 1, T: 37, H: 2, K: 1, E: 4, causal, softcap: 0.7, device: gpu }),
  apart({
    name: "gpu, cross",
    B: 2,
    T: 70,
    S: 8,
    H: 2,
    K: 1,
    E: 4,
    causal: false,
    mask: right,
    biased: true,
    device: gpu,
  }),
  // q of one sequence takes 1 KiB, bias of one key head 1.2 KiB, of all 4.7 KiB.
  apart({
    ...{ name: "gpu, cut by sequences and heads", B: 5, T: 16, H: 4, K: 4, E: 4, causal, biased: true },
    device: { kind: "gpu", maxBinding: 2048 },
  }),
  apart({
    ...{ name: "default, odd panels", B: 3, T: 7, H: 2, K: 1, E: 20, causal, mask: left },
    device: { kind: "default" },
    target: { workgroupBytes: 16384 },
  }),
  // 4 matrices of 40 x 40 words: 25 KiB; a part has 64 rows, 10 KiB.
  apart({ name: "scores above one binding", B: 2, T: 40, H: 2, K: 1, E: 4, causal, device: { maxBinding: 12288 } }),
  packed({ name: "packed", B: 2, T: 10, H: 2, K: 2, E: 8, causal }),
  packed({ name: "packed, grouped, masked", B: 2, T: 8, H: 4, K: 2, E: 4, causal: false, mask: right }),
  packed({ name: "packed, bias", B: 2, T: 8, H: 2, K: 2, E: 4, causal, biased: true }),
  packed({ name: "packed, gpu", B: 2, T: 37, H: 4, K: 2, E: 8, causal, device: gpu }),
  packed({ name: "packed, gpu, bias", B: 2, T: 8, H: 2, K: 2, E: 4, causal, mask: right, biased: true, device: gpu }),
]);

gpuTest("attention: what slots held before does not matter, not even NaN", async (device) => {
  const graph = new Graph(device.target);
  const sizes = { B: 1, T: 135, H: 2, K: 1, E: 4, causal };
  const leaf = (name: string, columns: number) => graph.leaf("param", name, [sizes.T, columns]);
  const o = attention({ q: leaf("q", 8), k: leaf("k", 4), v: leaf("v", 4) }, sizes);
  const results = [o, ...backward(graph, o).values()];
  const scratch = graph.values.filter(({ role, shape }) => role === "temp" && shape[2] === 136);
  assertEquals(scratch.length, 2, "P and dS");
  const store = createStore(device);
  for (const { name, shape } of graph.leaves.values()) {
    await put(store, name, Float32Array.from(normal(size(shape), 5)));
  }
  const program = await compile(graph, { store, keep: [...results, ...scratch] });
  const runWith = async (junk: number) => {
    for (const v of [...results, ...scratch]) write(program, v, new Float32Array(size(v.shape)).fill(junk));
    run(program);
    return await read(program, results);
  };
  assertEquals(await runWith(NaN), await runWith(0));
  program.destroy();
  release(store);
});

for (const kind of ["software", "gpu"] as const) {
  gpuTest(`attention: a NaN in a query reaches its rows and no others (${kind})`, async (device) => {
    const graph = new Graph(device.target);
    const sizes = { B: 1, T: 6, H: 2, K: 1, E: 4, causal };
    const [q, k] = [graph.leaf("input", "q", [6, 8]), graph.leaf("input", "k", [6, 4])];
    const o = attention({ q, k, v: k }, sizes);
    const store = createStore(device);
    const program = await compile(graph, { store, keep: [o] });
    write(program, q, Float32Array.from(normal(48, 1), (x, i) => i === 3 * 8 + 5 ? NaN : x)); // row 3, head 1
    write(program, k, Float32Array.from(normal(24, 2)));
    run(program);
    const [y] = await read(program, [o]);
    assertEquals([...y!.keys()].filter((i) => Number.isNaN(y![i])), [28, 29, 30, 31]);
    program.destroy();
    release(store);
  }, { kind });
}

Deno.test("attention: shapes and options are checked", () => {
  const graph = new Graph();
  const q = graph.leaf("input", "q", [6, 8]), k = graph.leaf("input", "k", [6, 4]);
  const sizes = { B: 2, T: 3, H: 2, K: 1, E: 4, causal };
  assertThrows(() => attention({ q, k, v: q }, sizes), ShapeError, "v must be [B·S=6, columns=4]");
  assertThrows(() => attention({ q, k, v: k }, { ...sizes, H: 3, K: 2 }), RangeError, "K must divide H");
  assertThrows(() => attention({ q, k, v: k }, { ...sizes, causal: false, window: 2 }), RangeError, "as window");
  assertThrows(() => attention({ q, k, v: k }, { ...sizes, S: 5 }), RangeError, "needs as many keys as rows");
  assertThrows(() => attention({ q, k, v: k }, { ...sizes, softcap: 0 }), RangeError, "as softcap");
  const bias = graph.leaf("input", "bias", [2, 3, 4]);
  assertThrows(() => attention({ q, k, v: k, bias }, sizes), ShapeError, "bias must be [H=2, T=3, S=3]");
  const cross = { ...sizes, causal: false, T: 3, S: 4 };
  assertThrows(() => attention({ q, k, v: k }, cross), ShapeError, "k must be [B·S=8, columns=4]");
  assertThrows(() => attention({ q, k, v: k, mask: q }, sizes), TypeError, "mask must be u32");
  const mask = graph.leaf("input", "mask", [6, 1], { dtype: "u32" });
  assertThrows(() => attention({ q, k, v: k, mask }, sizes), ShapeError, "mask must be [B=2, S=3]");
});

const gpuTargets: readonly Target[] = [
  guaranteed,
  { ...guaranteed, kind: "gpu", workgroupBytes: 32768 },
  { ...guaranteed, kind: "gpu", workgroupBytes: 49152 },
];

Deno.test("attention: GPUs hold nothing of the size of the scores", () => {
  const sizes = { B: 2, T: 1024, H: 4, K: 2, E: 16, causal };
  const { B, T, H, K, E } = sizes;
  for (const target of gpuTargets) {
    for (const build of [attention, attentionPacked] as const) {
      const graph = new Graph(target);
      const leaf = (name: string, heads: number) => graph.leaf("param", name, [B * T, heads * E]);
      const o = build === attention
        ? attention({ q: leaf("q", H), k: leaf("k", K), v: leaf("v", K) }, sizes)
        : attentionPacked({ qkv: leaf("qkv", H + 2 * K) }, sizes);
      backward(graph, o);
      const largest = Math.max(...graph.values.filter(({ role }) => role === "temp").map(({ shape }) => size(shape)));
      assertEquals(largest, B * T * (build === attention ? H : H + 2 * K) * E);
      // o and its gradient, those of q, k and v, and three numbers a row.
      const words = B * T * (2 * H * E + (H + 2 * K) * E + 3 * H);
      assert(plan(graph, { keep: [o] }).lowerBytes <= 4 * words);
    }
  }
});

Deno.test("attention: long sequences and wide heads stay in the budgets", () => {
  for (const target of gpuTargets) {
    for (const E of [4, 8, 40, 64, 72, 128, 252, 256]) {
      const graph = new Graph(target);
      const leaf = (name: string, heads: number) => graph.leaf("param", name, [4096, heads * E]);
      const q = leaf("q", 8), k = leaf("k", 2), v = leaf("v", 2);
      backward(graph, attention({ q, k, v }, { B: 1, T: 4096, H: 8, K: 2, E, causal }));
      for (const node of graph.nodes) {
        for (const kernel of node.op.kernels(node, target)) checkKernel(kernel, target);
      }
    }
  }
});
