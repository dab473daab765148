import { assert, assertEquals, assertThrows } from "@std/assert";
import { ShapeError } from "../../src/core/errors.ts";
import type { DeviceOptions } from "../../src/gpu/device.ts";
import { compile, read, run, write } from "../../src/gpu/executable.ts";
import { createStore, fetch, put, release } from "../../src/gpu/store.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import { advance, attentionCached, attentionDecode, attentionDecodePacked } from "../../src/ops/decode.ts";
import { gpuTest } from "../device.ts";
import { attentionReference } from "./attention_reference.ts";
import { normal, type Numbers, relativeError } from "./harness.ts";

interface Row {
  readonly name: string;
  readonly S: number;
  readonly H: number;
  readonly K: number;
  readonly E: number;
  readonly Tmax: number;
  readonly window?: number;
  readonly softcap?: number;
  /** Scores get something by distance. */
  readonly bias?: boolean;
  /** First position of every sequence, or of all. What lies before is put in the cache. */
  readonly start: readonly number[];
  readonly packed?: boolean;
  readonly device?: DeviceOptions;
}

/** Errors of exp and of sums of up to 70 terms, each of order 2^-24. */
const TOLERANCE = 6e-7;

let worst = 0;

function decodeTest({ name, start, packed = false, bias = false, device, ...sizes }: Row): void {
  const { S, H, K, E, Tmax } = sizes;
  gpuTest(`attentionDecode: ${name}`, async (gpu) => {
    const [q, k, v] = [H, K, K].map((heads, i) => normal(S * Tmax * heads * E, i)) as [Numbers, Numbers, Numbers];
    const distances = normal((2 * Tmax - 1) * H, 3);
    const spread = Float64Array.from({ length: H * Tmax * Tmax }, (_, i) => {
      const s = i % Tmax, t = Math.floor(i / Tmax) % Tmax, h = Math.floor(i / Tmax / Tmax);
      return distances[(Tmax - 1 + s - t) * H + h]!;
    });
    const shape = { ...sizes, B: S, T: Tmax, S: Tmax, causal: true };
    const expected = attentionReference({ q, k, v, ...bias ? { bias: spread } : {} }, shape);
    const startOf = (s: number) => start[s % start.length]!;
    const before = (x: Numbers) =>
      x.map((e, i) => Math.floor(i / (K * E)) % Tmax < startOf(Math.floor(i / (Tmax * K * E))) ? e : 99);

    const graph = new Graph(gpu.target);
    const state = {
      cacheK: graph.leaf("state", "cacheK", [S, Tmax, K * E]),
      cacheV: graph.leaf("state", "cacheV", [S, Tmax, K * E]),
      position: graph.leaf("state", "position", [start.length], { dtype: "u32" }),
      ...bias ? { bias: graph.leaf("weight", "bias", [2 * Tmax - 1, H]) } : {},
    };
    const leaf = (name: string, columns: number) => graph.leaf("input", name, [S, columns]);
    const feeds: (readonly [Value, readonly (readonly [Numbers, number])[]])[] = packed
      ? [[leaf("qkv", (H + 2 * K) * E), [[q, H], [k, K], [v, K]]]]
      : [[leaf("q", H * E), [[q, H]]], [leaf("k", K * E), [[k, K]]], [leaf("v", K * E), [[v, K]]]];
    const [first, second, third] = feeds.map(([value]) => value);
    const o = packed
      ? attentionDecodePacked({ qkv: first!, ...state }, sizes)
      : attentionDecode({ q: first!, k: second!, v: third!, ...state }, sizes);
    advance(state.position);
    const store = createStore(gpu);
    await put(store, "cacheK", Float32Array.from(before(k)));
    await put(store, "cacheV", Float32Array.from(before(v)));
    await put(store, "position", Uint32Array.from(start));
    if (bias) await put(store, "bias", Float32Array.from(distances));
    const program = await compile(graph, { store, keep: [o], name });

    for (let step = 0; step + Math.max(...start) < Tmax; step++) {
      const row = (x: Numbers, heads: number, s: number) => {
        const at = (s * Tmax + startOf(s) + step) * heads * E;
        return [...x.subarray(at, at + heads * E)];
      };
      for (const [leaf, parts] of feeds) {
        const rows = Array.from({ length: S }, (_, s) => parts.flatMap(([x, heads]) => row(x, heads, s)));
        write(program, leaf, Float32Array.from(rows.flat()));
      }
      write(program, o, new Float32Array(S * H * E).fill(NaN));
      run(program);
      if (step % 8 !== 0 && step + Math.max(...start) < Tmax - 1) continue; // a readback takes 10 ms
      const [actual] = await read(program, [o]);
      const error = relativeError(actual!, Array.from({ length: S }, (_, s) => row(expected, H, s)).flat());
      worst = Math.max(worst, error);
      assert(error <= TOLERANCE, `step ${step}: error ${error.toExponential(2)} exceeds ${TOLERANCE}`);
    }
    if (start.every((t) => t === start[0])) {
      assertEquals(await fetch(store, "cacheK", { length: k.length }), Float32Array.from(k));
      assertEquals(await fetch(store, "cacheV", { length: v.length }), Float32Array.from(v));
    }
    program.destroy();
    release(store);
  }, device ?? {});
}

decodeTest({ name: "from the first position", S: 2, H: 2, K: 2, E: 8, Tmax: 19, start: [0] });
decodeTest({ name: "grouped heads, a position each", S: 3, H: 4, K: 2, E: 8, Tmax: 21, start: [0, 5, 17] });
decodeTest({ name: "many positions a lane", S: 1, H: 2, K: 1, E: 64, Tmax: 70, start: [40] });
decodeTest({ name: "window", S: 1, H: 2, K: 1, E: 4, Tmax: 33, start: [0], window: 9 });
decodeTest({ name: "softcap", S: 2, H: 4, K: 2, E: 8, Tmax: 19, start: [3], softcap: 0.7 });
decodeTest({
  name: "softcap and window, packed, gpu class",
  ...{ S: 2, H: 2, K: 1, E: 8, Tmax: 40, start: [0], window: 7, softcap: 1.5, packed: true, device: { kind: "gpu" } },
});
decodeTest({ name: "bias by distance", S: 3, H: 4, K: 2, E: 8, Tmax: 23, start: [0, 5, 20], bias: true });
decodeTest({
  name: "bias by distance, packed, gpu class",
  ...{ S: 2, H: 2, K: 2, E: 5, Tmax: 40, start: [0], bias: true, packed: true, device: { kind: "gpu" } },
});
decodeTest({ name: "heads of six columns", S: 2, H: 2, K: 1, E: 6, Tmax: 11, start: [0] });
decodeTest({ name: "heads of five columns", S: 2, H: 3, K: 1, E: 5, Tmax: 11, start: [0] });
decodeTest({ name: "packed", S: 2, H: 2, K: 2, E: 8, Tmax: 12, start: [0], packed: true });
decodeTest({ name: "packed, grouped", S: 2, H: 4, K: 2, E: 4, Tmax: 12, start: [3], packed: true });
decodeTest({ name: "gpu class", S: 2, H: 2, K: 1, E: 8, Tmax: 70, start: [60, 2], device: { kind: "gpu" } });
decodeTest({
  name: "heads of 64, several tiles, gpu class",
  ...{ S: 2, H: 2, K: 1, E: 64, Tmax: 600, start: [597, 250], device: { kind: "gpu" } },
});
decodeTest({
  name: "window and bias across tiles, gpu class",
  ...{ S: 1, H: 2, K: 2, E: 8, Tmax: 560, start: [550], window: 300, bias: true, device: { kind: "gpu" } },
});
decodeTest({ name: "heads of 80, gpu class", S: 1, H: 2, K: 1, E: 80, Tmax: 70, start: [66], device: { kind: "gpu" } });
decodeTest({
  name: "heads with more vectors than lanes, gpu class",
  ...{ S: 2, H: 2, K: 1, E: 67, Tmax: 21, start: [17], device: { kind: "gpu" } },
});
decodeTest({
  name: "caches above one binding (forced to 4 KiB), gpu class",
  ...{ S: 8, H: 2, K: 2, E: 6, Tmax: 23, start: [20], device: { kind: "gpu", maxBinding: 4096 } },
});
// A sequence takes 23 · 2 · 6 words, 1,104 bytes, so that parts of three do not start aligned.
decodeTest({
  name: "caches above one binding (forced to 4 KiB)",
  ...{ S: 8, H: 2, K: 2, E: 6, Tmax: 23, start: [20], device: { maxBinding: 4096 } },
});

Deno.test("attentionDecode: worst error", () => {
  console.log(`error attention decode             forward ${worst.toExponential(1)}`);
});

gpuTest("attentionDecode: behind its end, only the last entry of a cache changes", async (device) => {
  const graph = new Graph(device.target);
  const sizes = { S: 2, H: 1, K: 1, E: 4, Tmax: 3 };
  const cache = (name: string) => graph.leaf("state", name, [2, 3, 4]);
  const x = graph.leaf("input", "x", [2, 4]);
  const position = graph.leaf("state", "position", [1], { dtype: "u32" });
  const o = attentionDecode({ q: x, k: x, v: x, cacheK: cache("cacheK"), cacheV: cache("cacheV"), position }, sizes);
  const store = createStore(device);
  await put(store, "position", Uint32Array.of(1000));
  const program = await compile(graph, { store, keep: [o] });
  write(program, x, new Float32Array(8).fill(1));
  run(program);
  const entries = (bits: number[]) => Float32Array.from(bits.flatMap((bit) => [bit, bit, bit, bit]));
  assertEquals(await fetch(store, "cacheK", { length: 24 }), entries([0, 0, 1, 0, 0, 1]));
  assertEquals(await fetch(store, "cacheV", { length: 24 }), entries([0, 0, 1, 0, 0, 1]));
  program.destroy();
  release(store);
});

Deno.test("attentionDecode: shapes and roles are checked", () => {
  const graph = new Graph();
  const sizes = { S: 2, H: 2, K: 1, E: 4, Tmax: 3 };
  const q = graph.leaf("input", "q", [2, 8]), k = graph.leaf("input", "k", [2, 4]);
  const cacheK = graph.leaf("state", "cacheK", [2, 3, 4]), position = graph.leaf("state", "p", [2], { dtype: "u32" });
  const all = { q, k, v: k, cacheK, cacheV: cacheK, position };
  assertEquals(attentionDecode(all, sizes).shape, [2, 8]);
  assertThrows(() => attentionDecode({ ...all, v: q }, sizes), ShapeError, "v must be [S=2, columns=4]");
  assertThrows(() => attentionDecode(all, { ...sizes, Tmax: 4 }), ShapeError, "Tmax=4");
  assertThrows(() => attentionDecode({ ...all, cacheV: k }, sizes), TypeError, "must be a state");
  assertThrows(() => attentionDecode({ ...all, position: k }, sizes), ShapeError, "position");
  assertThrows(() => attentionDecode(all, { ...sizes, H: 3, K: 2 }), RangeError, "K must divide H");
  assertThrows(() => attentionDecode(all, { ...sizes, window: 0 }), RangeError, "0 as window");
  assertThrows(() => attentionDecode(all, { ...sizes, softcap: 0 }), RangeError, "0 as softcap");
  assertThrows(() => advance(q), TypeError, "not state u32");
});

interface CachedRow {
  readonly name: string;
  readonly sizes: {
    readonly S: number;
    readonly readers: number;
    readonly H: number;
    readonly K: number;
    readonly E: number;
  };
  readonly Tmax: number;
  readonly lengths: readonly number[];
  readonly device?: DeviceOptions;
}

function cachedTest({ name, sizes, Tmax, lengths, device }: CachedRow): void {
  const { S, readers, H, K, E } = sizes;
  gpuTest(`attentionCached: ${name}`, async (gpu) => {
    const q = normal(S * readers * H * E, 1);
    const [k, v] = [2, 3].map((seed) => normal(S * Tmax * K * E, seed)) as [Numbers, Numbers];
    const mask = Array.from({ length: S * Tmax }, (_, i) => i % Tmax < lengths[Math.floor(i / Tmax)]! ? 1 : 0);
    const expected = attentionReference({ q, k, v, mask }, { B: S, T: readers, S: Tmax, H, K, E, causal: false });

    const graph = new Graph(gpu.target);
    const inputs = {
      q: graph.leaf("input", "q", [S * readers, H * E]),
      cacheK: graph.leaf("state", "cacheK", [S, Tmax, K * E]),
      cacheV: graph.leaf("state", "cacheV", [S, Tmax, K * E]),
      lengths: graph.leaf("state", "lengths", [S], { dtype: "u32" }),
    };
    const o = attentionCached(inputs, { ...sizes, Tmax });
    const store = createStore(gpu);
    await put(store, "cacheK", Float32Array.from(k));
    await put(store, "cacheV", Float32Array.from(v));
    await put(store, "lengths", Uint32Array.from(lengths));
    const program = await compile(graph, { store, keep: [o], name });
    write(program, inputs.q, Float32Array.from(q));
    run(program);
    const [actual] = await read(program, [o]);
    const error = relativeError(actual!, expected);
    console.log(`error ${error.toExponential(1)}`);
    assert(error <= TOLERANCE);
    program.destroy();
    release(store);
  }, device ?? {});
}

cachedTest({ name: "one row each", sizes: { S: 3, readers: 1, H: 2, K: 2, E: 8 }, Tmax: 19, lengths: [19, 1, 7] });
cachedTest({
  name: "several rows, grouped heads",
  sizes: { S: 2, readers: 3, H: 4, K: 2, E: 8 },
  Tmax: 40,
  lengths: [33, 40],
});
cachedTest({
  name: "gpu class, odd width",
  ...{ sizes: { S: 2, readers: 2, H: 2, K: 1, E: 5 }, Tmax: 70, lengths: [70, 3], device: { kind: "gpu" } },
});
// A sequence takes 23 · 2 · 6 words, 1,104 bytes, so that parts of three do not start aligned.
cachedTest({
  name: "caches above one binding (forced to 4 KiB)",
  ...{ sizes: { S: 8, readers: 2, H: 2, K: 2, E: 6 }, Tmax: 23, lengths: [23, 5, 9, 1, 22, 8, 2, 17] },
  device: { maxBinding: 4096 },
});

Deno.test("attentionCached: shapes are checked", () => {
  const graph = new Graph();
  const leaf = (name: string, shape: readonly number[]) => graph.leaf("input", name, shape);
  const inputs = {
    q: leaf("q", [4, 8]),
    cacheK: leaf("k", [2, 5, 8]),
    cacheV: leaf("v", [2, 5, 8]),
    lengths: leaf("n", [2]),
  };
  const sizes = { S: 2, readers: 2, H: 2, K: 2, E: 4, Tmax: 5 };
  assertEquals(attentionCached(inputs, sizes).shape, [4, 8]);
  assertThrows(() => attentionCached(inputs, { ...sizes, readers: 3 }), ShapeError, "q");
  assertThrows(() => attentionCached(inputs, { ...sizes, Tmax: 6 }), ShapeError, "cacheK");
});
