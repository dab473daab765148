// Products as attention asks for them: heads inside rows, shared heads, triangles, sums over heads, results added.
import { assert } from "@std/assert";
import { benchMatmul } from "../../bench/matmul.ts";
import type { DeviceOptions } from "../../src/gpu/device.ts";
import { defineOp, type Kernel, type Value } from "../../src/graph/graph.ts";
import type { Target } from "../../src/graph/target.ts";
import { multiply } from "../../src/ops/elementwise.ts";
import { CAUSAL_ROWS, type MatrixRef, type ProductCall, productKernels } from "../../src/ops/product.ts";
import { gpuTest } from "../device.ts";
import { normal, type Numbers, type OpCase, opTable } from "./harness.ts";

interface Sizes {
  readonly B: number;
  readonly T: number;
  readonly H: number;
  /** Heads of keys and values. */
  readonly G: number;
  /** Width of a head. */
  readonly E: number;
}

const classes: readonly DeviceOptions[] = [{ kind: "software" }, { kind: "gpu" }, { kind: "default" }];
const sizes: readonly Sizes[] = [
  { B: 2, T: 20, H: 4, G: 2, E: 8 }, // vectors, several tiles of the software class
  { B: 1, T: 13, H: 3, G: 1, E: 5 }, // odd strides
  { B: 1, T: 70, H: 2, G: 2, E: 4 }, // several tiles of workgroups
];

/** The output of a product, as an op of its own. */
function apply(
  inputs: readonly Value[],
  shape: readonly number[],
  kernels: (c: Value, target: Target) => Kernel[],
): Value {
  const op = defineOp<null, readonly Value[], readonly [Value]>({
    name: "product",
    infer: () => [{ shape, dtype: "f32" }],
    kernels: ({ outputs: [c] }, target) => kernels(c, target),
  });
  return inputs[0]!.graph.add(op, inputs, null)[0];
}

/** Matrices of heads inside rows [B, T, heads · E]. */
function heads(
  value: Value,
  { T, E }: Sizes,
  count: number,
): Required<Pick<MatrixRef, "value" | "stride" | "outer" | "inner">> {
  return { value, stride: count * E, outer: T * count * E, inner: E };
}

/** Matrices [B, H, T, T]. */
function squares(value: Value, { T, H }: Sizes): Required<Pick<MatrixRef, "value" | "stride" | "outer" | "inner">> {
  return { value, stride: T, outer: H * T * T, inner: T * T };
}

function each({ B, H, T, E }: Sizes, visit: (b: number, h: number, t: number, other: number, e: number) => void): void {
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < H; h++) {
      for (let t = 0; t < T; t++) {
        for (let other = 0; other <= t; other++) for (let e = 0; e < E; e++) visit(b, h, t, other, e);
      }
    }
  }
}

/** Normal numbers below the diagonal, zero above. */
function triangles({ B, H, T }: Sizes): Numbers {
  return normal(B * H * T * T, 3).map((x, i) => i % T <= Math.floor(i / T) % T ? x : 0);
}

function name({ B, T, H, G, E }: Sizes, { kind, maxBinding }: DeviceOptions): string {
  return `B=${B} T=${T} H=${H}/${G} E=${E}, ${kind}${maxBinding ? `, bindings of ${maxBinding} bytes` : ""}`;
}

function scores(s: Sizes, device: DeviceOptions): OpCase {
  const { B, T, H, G, E } = s;
  const index = (b: number, h: number, t: number, other: number) => ((b * H + h) * T + t) * T + other;
  return {
    op: "product skip",
    name: name(s, device),
    inputs: {
      q: { shape: [B, T, H * E] },
      k: { shape: [B, T, G * E] },
      lower: { shape: [B, H, T, T], values: triangles(s).map((x) => x === 0 ? 0 : 1) },
    },
    wrt: [],
    build: ({ q, k, lower }) => {
      const c = apply([q!, k!], [B, H, T, T], (c, target) =>
        productKernels({
          name: "scores",
          ...{ M: T, N: T, K: E, tb: true, alpha: 0.25, causal: "skip", batch: { outer: B, inner: H } },
          a: heads(q!, s, H),
          b: { ...heads(k!, s, G), group: H / G },
          c: squares(c, s),
        }, target));
      return multiply(c, lower!);
    },
    reference: ({ q, k }) => {
      const c = new Float64Array(B * H * T * T);
      each(s, (b, h, t, other, e) => {
        c[index(b, h, t, other)]! += 0.25 * q![((b * T + t) * H + h) * E + e]! *
          k![((b * T + other) * G + Math.floor(h * G / H)) * E + e]!;
      });
      return c;
    },
    device,
  };
}

function mixed(s: Sizes, device: DeviceOptions): OpCase {
  const { B, T, H, G, E } = s;
  return {
    op: "product limit",
    name: name(s, device),
    inputs: { p: { shape: [B, H, T, T], values: triangles(s) }, v: { shape: [B, T, G * E] } },
    wrt: [],
    build: ({ p, v }) =>
      apply([p!, v!], [B, T, H * E], (c, target) =>
        productKernels({
          name: "mixed",
          ...{ M: T, N: E, K: T, causal: "limit", batch: { outer: B, inner: H } },
          a: squares(p!, s),
          b: { ...heads(v!, s, G), group: H / G },
          c: heads(c, s, H),
        }, target)),
    reference: ({ p, v }) => {
      const c = new Float64Array(B * T * H * E);
      each(s, (b, h, t, other, e) => {
        c[((b * T + t) * H + h) * E + e]! += p![((b * H + h) * T + t) * T + other]! *
          v![((b * T + other) * G + Math.floor(h * G / H)) * E + e]!;
      });
      return c;
    },
    device,
  };
}

function keyGradient(s: Sizes, device: DeviceOptions): OpCase {
  const { B, T, H, G, E } = s;
  const repeat = H / G;
  return {
    op: "product start",
    name: name(s, device),
    inputs: { p: { shape: [B, H, T, T], values: triangles(s) }, q: { shape: [B, T, H * E] } },
    wrt: [],
    build: ({ p, q }) =>
      apply([p!, q!], [B, T, G * E], (c, target) =>
        productKernels({
          name: "key gradient",
          ...{ M: T, N: E, K: T, ta: true, causal: "start", batch: { outer: B, inner: G }, repeat },
          a: { ...squares(p!, s), inner: repeat * T * T, repeat: T * T },
          b: { ...heads(q!, s, H), inner: repeat * E, repeat: E },
          c: heads(c, s, G),
        }, target)),
    reference: ({ p, q }) => {
      const c = new Float64Array(B * T * G * E);
      each(s, (b, h, t, other, e) => {
        c[((b * T + other) * G + Math.floor(h * G / H)) * E + e]! += p![((b * H + h) * T + t) * T + other]! *
          q![((b * T + t) * H + h) * E + e]!;
      });
      return c;
    },
    device,
  };
}

/** c = 2·a·b + add, then c += 2·a·b, inside wider matrices that start at an odd or even word. */
function added(N: number, offset: number, device: DeviceOptions): OpCase {
  const M = 9, K = 8, stride = N + 4;
  return {
    op: "product add",
    name: `accumulate N=${N} offset=${offset}, ${device.kind}`,
    inputs: { a: { shape: [M, K] }, b: { shape: [K * stride + offset] }, more: { shape: [M, N] } },
    wrt: [],
    build: ({ a, b, more }) =>
      apply([a!, b!, more!], [M, N], (c, target) => {
        const call: ProductCall = {
          name: "added",
          ...{ M, N, K, alpha: 2 },
          a: { value: a!, stride: K },
          b: { value: b!, stride, offset },
          c: { value: c, stride: N },
        };
        const first = productKernels({ ...call, add: { value: more!, stride: N } }, target);
        return [...first, ...productKernels({ ...call, accumulate: true }, target)];
      }),
    reference: ({ a, b, more }) => {
      const c = more!.slice();
      for (let m = 0; m < M; m++) {
        for (let n = 0; n < N; n++) {
          for (let k = 0; k < K; k++) c[m * N + n]! += 4 * a![m * K + k]! * b![offset + k * stride + n]!;
        }
      }
      return c;
    },
    device,
  };
}

/** Enough products of one size for the largest tiles. */
function many(ta: boolean, tb: boolean, N: number, device: DeviceOptions): OpCase {
  const M = 67, K = 20, count = 200;
  return {
    op: "product batch",
    name: `${ta ? "t" : "n"}${tb ? "t" : "n"} ${count} of ${M}x${K}·${K}x${N}, ${device.kind}`,
    inputs: { a: { shape: [count, M * K] }, b: { shape: [count, K * N] } },
    wrt: [],
    build: ({ a, b }) =>
      apply([a!, b!], [count, M, N], (c, target) =>
        productKernels({
          name: "many",
          ...{ M, N, K, ta, tb, batch: { outer: count, inner: 1 } },
          a: { value: a!, stride: ta ? M : K, outer: M * K },
          b: { value: b!, stride: tb ? K : N, outer: K * N },
          c: { value: c, stride: N, outer: M * N },
        }, target)),
    reference: ({ a, b }) => {
      const c = new Float64Array(count * M * N);
      for (let i = 0; i < c.length; i++) {
        const n = i % N, m = Math.floor(i / N) % M, batch = Math.floor(i / (M * N));
        for (let k = 0; k < K; k++) {
          c[i]! += a![batch * M * K + (ta ? k * M + m : m * K + k)]! *
            b![batch * K * N + (tb ? n * K + k : k * N + n)]!;
        }
      }
      return c;
    },
    device,
  };
}

const cases: OpCase[] = [];
for (const kind of ["software", "gpu"] as const) {
  cases.push(many(false, true, 72, { kind }), many(true, false, 75, { kind }));
}
for (const device of classes) {
  for (const s of sizes) cases.push(scores(s, device), mixed(s, device), keyGradient(s, device));
  cases.push(added(8, 4, device), added(7, 1, device), added(20, 3, device));
}
for (const kind of ["software", "gpu"] as const) {
  const device = { kind, maxBinding: 2048 };
  cases.push(scores(sizes[0]!, device), mixed(sizes[0]!, device), keyGradient(sizes[0]!, device));
}
// One triangle above a binding is cut through its rows or its summands: tiles keep to the diagonal of the whole.
const long = { B: 1, T: CAUSAL_ROWS + 12, H: 1, G: 1, E: 4 };
for (const kind of ["software", "default"] as const) {
  const device = { kind, maxBinding: 2 ** 16 };
  cases.push(scores(long, device), mixed(long, device), keyGradient(long, device));
}

opTable("product", cases);

// Too much work for a whole reference in f64: the benchmark compares samples.
gpuTest("product: the large tile of the software class, with ragged edges", async (device) => {
  const size = { M: 520, N: 520, K: 500 };
  const shapes = [{ name: "nt", tb: true, ...size }, { name: "tn", ta: true, ...size }];
  for (const { name, error } of await benchMatmul(device, { shapes, rounds: 1 })) {
    assert(error < 5e-6, `${name}: error ${error}`); // f32 rounding of sums of 500 terms, in units of their spread
  }
}, { kind: "software" });
