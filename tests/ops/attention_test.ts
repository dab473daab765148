import { assertEquals, assertThrows } from "@std/assert";
import { size } from "../../src/core/dims.ts";
import { ShapeError } from "../../src/core/errors.ts";
import type { DeviceOptions } from "../../src/gpu/device.ts";
import { compile, read, run, write } from "../../src/gpu/executable.ts";
import { createStore, put, release } from "../../src/gpu/store.ts";
import { Graph } from "../../src/graph/graph.ts";
import { attention, type AttentionOptions, attentionPacked } from "../../src/ops/attention.ts";
import { backward } from "../../src/ops/backward.ts";
import { gpuTest } from "../device.ts";
import { attentionReference } from "./attention_reference.ts";
import { normal, type Numbers, type OpCase, opTable } from "./harness.ts";

interface Row extends AttentionOptions {
  /** What is special. */
  readonly name: string;
  /** Real tokens, [B, T] row by row. */
  readonly mask?: readonly number[];
  readonly device?: DeviceOptions;
}

/** Errors of exp and of sums of T products, each of order 2^-24. */
const tolerance = 6e-7;

function title({ name, B, T, H, K, E, causal, window }: Row): string {
  return `${name}: [${B}x${T}] ${H}/${K} heads of ${E}${causal ? ", causal" : ""}${window ? `, window ${window}` : ""}`;
}

function maskInput({ mask, B, T }: Row) {
  return mask ? { mask: { shape: [B, T], dtype: "u32", values: mask } } as const : {};
}

function apart({ mask, device, ...row }: Row): OpCase {
  const { name: _, ...options } = row;
  const { B, T, H, K, E } = row;
  return {
    op: "attention",
    name: title(row),
    inputs: {
      q: { shape: [B * T, H * E] },
      k: { shape: [B * T, K * E] },
      v: { shape: [B * T, K * E] },
      ...maskInput({ ...row, ...mask ? { mask } : {} }),
    },
    wrt: ["q", "k", "v"],
    build: ({ q, k, v, mask }) => attention({ q: q!, k: k!, v: v!, mask }, options),
    reference: ({ q, k, v }) => attentionReference({ q: q!, k: k!, v: v!, ...mask ? { mask } : {} }, options),
    tolerance,
    ...(device ? { device } : {}),
  };
}

function packed({ mask, device, ...row }: Row): OpCase {
  const { name: _, ...options } = row;
  const { B, T, H, K, E } = row;
  const width = (H + 2 * K) * E;
  const columns = (qkv: Numbers, from: number, count: number) =>
    Float64Array.from({ length: B * T * count }, (_, i) => qkv[Math.floor(i / count) * width + from + i % count]!);
  return {
    op: "attention packed",
    name: title(row),
    inputs: { qkv: { shape: [B * T, width] }, ...maskInput({ ...row, ...mask ? { mask } : {} }) },
    wrt: ["qkv"],
    build: ({ qkv, mask }) => attentionPacked({ qkv: qkv!, mask }, options),
    reference: ({ qkv }) =>
      attentionReference({
        q: columns(qkv!, 0, H * E),
        k: columns(qkv!, H * E, K * E),
        v: columns(qkv!, (H + K) * E, K * E),
        ...mask ? { mask } : {},
      }, options),
    tolerance,
    ...(device ? { device } : {}),
  };
}

const causal = true;
// Left padding of 2, no padding, and a sequence of padding only.
const left = [0, 0, 1, 1, 1, 1, 1, ...[1, 1, 1, 1, 1, 1, 1], ...[0, 0, 0, 0, 0, 0, 0]];
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
  apart({ name: "gpu class", B: 1, T: 131, H: 2, K: 1, E: 8, causal, device: { kind: "gpu" } }),
  apart({ name: "default class", B: 3, T: 7, H: 2, K: 1, E: 4, causal, mask: left, device: { kind: "default" } }),
  // 4 matrices of 40 x 40 words: 25 KiB; a part has 64 rows, 10 KiB.
  apart({ name: "scores above one binding", B: 2, T: 40, H: 2, K: 1, E: 4, causal, device: { maxBinding: 12288 } }),
  packed({ name: "packed", B: 2, T: 10, H: 2, K: 2, E: 8, causal }),
  packed({ name: "packed, grouped, masked", B: 2, T: 8, H: 4, K: 2, E: 4, causal: false, mask: right }),
  packed({ name: "packed, gpu class", B: 1, T: 17, H: 2, K: 2, E: 8, causal, device: { kind: "gpu" } }),
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
  assertThrows(() => attention({ q, k, v: q }, sizes), ShapeError, "v must be [B·T=6, columns=4]");
  assertThrows(() => attention({ q, k, v: k }, { ...sizes, H: 3, K: 2 }), RangeError, "K must divide H");
  assertThrows(() => attention({ q, k, v: k }, { ...sizes, causal: false, window: 2 }), RangeError, "as window");
  assertThrows(() => attention({ q, k, v: k, mask: q }, sizes), TypeError, "mask must be u32");
  const mask = graph.leaf("input", "mask", [6, 1], { dtype: "u32" });
  assertThrows(() => attention({ q, k, v: k, mask }, sizes), ShapeError, "mask must be [B=2, T=3]");
});
