// Many positions at once against the f64 attention, in chunks that continue each other's caches.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { ShapeError } from "../../src/core/errors.ts";
import type { DeviceOptions } from "../../src/gpu/device.ts";
import { compile, read, run, write } from "../../src/gpu/executable.ts";
import { createStore, fetch, release } from "../../src/gpu/store.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import { attentionPrefill, attentionPrefillPacked } from "../../src/ops/prefill.ts";
import { gpuTest } from "../device.ts";
import { attentionReference } from "./attention_reference.ts";
import { normal, type Numbers, relativeError } from "./harness.ts";

interface Row {
  readonly name: string;
  readonly S: number;
  readonly H: number;
  readonly K: number;
  readonly E: number;
  readonly C: number;
  readonly Tmax: number;
  readonly window?: number;
  readonly softcap?: number;
  readonly packed?: boolean;
  readonly device?: DeviceOptions;
}

/** Errors of exp and of sums of up to 40 terms, each of order 2^-24. */
const TOLERANCE = 6e-7;

let worst = 0;

function prefillTest({ name, C, packed = false, device, ...sizes }: Row): void {
  const { S, H, K, E, Tmax } = sizes;
  gpuTest(`attentionPrefill: ${name}`, async (gpu) => {
    const scale = 1 / Math.sqrt(E);
    const [q, k, v] = [H, K, K].map((heads, i) => normal(S * Tmax * heads * E, i)) as [Numbers, Numbers, Numbers];
    const expected = attentionReference({ q, k, v }, { ...sizes, B: S, T: Tmax, S: Tmax, causal: true });
    const store = createStore(gpu);
    for (let first = 0; first < Tmax; first += C) {
      const graph = new Graph(gpu.target);
      const state = {
        cacheK: graph.leaf("state", "cacheK", [S, Tmax, K * E]),
        cacheV: graph.leaf("state", "cacheV", [S, Tmax, K * E]),
        positions: graph.leaf("input", "positions", [S * C], { dtype: "u32" }),
      };
      const leaf = (name: string, heads: number) => graph.leaf("input", name, [S * C, heads * E]);
      const feeds: (readonly [Value, readonly (readonly [Numbers, number])[]])[] = packed
        ? [[leaf("qkv", H + 2 * K), [[q, H], [k, K], [v, K]]]]
        : [[leaf("q", H), [[q, H]]], [leaf("k", K), [[k, K]]], [leaf("v", K), [[v, K]]]];
      const [one, two, three] = feeds.map(([value]) => value);
      const options = { ...sizes, C, scale, seen: Math.min(Tmax, first + C) };
      const o = packed
        ? attentionPrefillPacked({ qkv: one!, ...state }, options)
        : attentionPrefill({ q: one!, k: two!, v: three!, ...state }, options);
      const program = await compile(graph, { store, keep: [o], name });
      const place = (n: number) => first + n % C;
      const row = (x: Numbers, heads: number, n: number) => {
        const at = (Math.floor(n / C) * Tmax + place(n)) * heads * E;
        return place(n) < Tmax ? [...x.subarray(at, at + heads * E)] : new Array<number>(heads * E).fill(7);
      };
      const rows = Array.from({ length: S * C }, (_, n) => n);
      for (const [value, parts] of feeds) {
        write(program, value, Float32Array.from(rows.flatMap((n) => parts.flatMap(([x, heads]) => row(x, heads, n)))));
      }
      write(program, state.positions, Uint32Array.from(rows, (n) => Math.min(place(n), Tmax)));
      write(program, o, new Float32Array(S * C * H * E).fill(NaN));
      run(program);
      const [actual] = await read(program, [o]);
      const real = rows.filter((n) => place(n) < Tmax);
      const found = real.flatMap((n) => [...actual!.subarray(n * H * E, (n + 1) * H * E)]);
      const error = relativeError(Float32Array.from(found), real.flatMap((n) => row(expected, H, n)));
      worst = Math.max(worst, error);
      assert(error <= TOLERANCE, `from ${first}: error ${error.toExponential(2)} exceeds ${TOLERANCE}`);
      program.destroy();
    }
    assertEquals(await fetch(store, "cacheK", { length: k.length }), Float32Array.from(k));
    assertEquals(await fetch(store, "cacheV", { length: v.length }), Float32Array.from(v));
    release(store);
  }, device ?? {});
}

prefillTest({ name: "one chunk", S: 2, H: 2, K: 2, E: 8, C: 16, Tmax: 16 });
prefillTest({ name: "grouped heads, the last chunk is behind the end", S: 3, H: 4, K: 2, E: 8, C: 8, Tmax: 21 });
prefillTest({ name: "window", S: 1, H: 2, K: 1, E: 4, C: 16, Tmax: 33, window: 9 });
prefillTest({ name: "softcap", S: 2, H: 4, K: 2, E: 8, C: 8, Tmax: 20, softcap: 0.7 });
prefillTest({
  name: "softcap and window, packed, gpu class",
  ...{ S: 1, H: 2, K: 1, E: 8, C: 16, Tmax: 40, window: 7, softcap: 1.5, packed: true, device: { kind: "gpu" } },
});
prefillTest({ name: "heads of six columns", S: 2, H: 2, K: 1, E: 6, C: 4, Tmax: 11 });
prefillTest({ name: "heads of five columns", S: 2, H: 3, K: 1, E: 5, C: 4, Tmax: 11 });
prefillTest({ name: "packed", S: 2, H: 2, K: 2, E: 8, C: 8, Tmax: 20, packed: true });
prefillTest({ name: "packed, grouped", S: 2, H: 4, K: 2, E: 4, C: 4, Tmax: 12, packed: true });
prefillTest({ name: "gpu class", S: 2, H: 2, K: 1, E: 8, C: 16, Tmax: 40, device: { kind: "gpu" } });
prefillTest({ name: "default class", S: 2, H: 2, K: 1, E: 8, C: 16, Tmax: 40, device: { kind: "default" } });
// A sequence takes 23 · 2 · 6 words, 1,104 bytes, so that parts of three do not start aligned.
prefillTest({
  name: "caches above one binding (forced to 8 KiB)",
  ...{ S: 8, H: 2, K: 2, E: 6, C: 4, Tmax: 23, device: { maxBinding: 8192 } },
});

Deno.test("attentionPrefill: worst error", () => {
  console.log(`error attention prefill            forward ${worst.toExponential(1)}`);
});

Deno.test("attentionPrefill: shapes and roles are checked", () => {
  const graph = new Graph();
  const sizes = { S: 2, C: 2, H: 2, K: 1, E: 4, Tmax: 3, seen: 2, scale: 1 };
  const q = graph.leaf("input", "q", [4, 8]), k = graph.leaf("input", "k", [4, 4]);
  const cacheK = graph.leaf("state", "cacheK", [2, 3, 4]);
  const positions = graph.leaf("input", "p", [4], { dtype: "u32" });
  const all = { q, k, v: k, cacheK, cacheV: cacheK, positions };
  assertEquals(attentionPrefill(all, sizes).shape, [4, 8]);
  assertThrows(() => attentionPrefill({ ...all, v: q }, sizes), ShapeError, "v must be [S·C=4, columns=4]");
  assertThrows(() => attentionPrefill(all, { ...sizes, Tmax: 4 }), ShapeError, "Tmax=4");
  assertThrows(() => attentionPrefill(all, { ...sizes, seen: 4 }), RangeError, "the caches have 3");
  assertThrows(() => attentionPrefill({ ...all, cacheV: k }, sizes), TypeError, "must be a state");
  assertThrows(() => attentionPrefill({ ...all, positions: k }, sizes), ShapeError, "positions");
  assertThrows(() => attentionPrefill(all, { ...sizes, H: 3, K: 2 }), RangeError, "K must divide H");
  assertThrows(() => attentionPrefill(all, { ...sizes, window: 1.5 }), RangeError, "1.5 as window");
  assertThrows(() => attentionPrefill(all, { ...sizes, softcap: NaN }), RangeError, "NaN as softcap");
});
