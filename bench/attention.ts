// Causal attention. The rate counts the products below the diagonal only: 2·T²·E a head forward, 5·T²·E backward. T5's
// bias by distance beside it is bounded by memory.
import { attention, relativeBias } from "../src/ops/mod.ts";
import { type Arrays, type Context, type Expected, type KernelCase, measureAll } from "./kernel.ts";
import { softmax64 } from "./norm.ts";
import { spread } from "./random.ts";
import type { Row } from "./row.ts";

interface Sizes {
  readonly B: number;
  readonly T: number;
  readonly H: number;
  readonly K: number;
  readonly E: number;
}

const SOFTWARE: readonly Sizes[] = [
  { B: 1, T: 128, H: 12, K: 12, E: 64 },
  { B: 1, T: 512, H: 4, K: 4, E: 64 },
  { B: 1, T: 1024, H: 2, K: 2, E: 64 },
  { B: 8, T: 128, H: 4, K: 4, E: 32 },
  { B: 8, T: 128, H: 8, K: 4, E: 8 },
];

const GPU: readonly Sizes[] = [
  ...SOFTWARE,
  { B: 8, T: 512, H: 12, K: 12, E: 64 },
  { B: 4, T: 512, H: 16, K: 8, E: 128 },
  { B: 4, T: 1024, H: 12, K: 12, E: 64 },
];

/** Measure attention forward and backward. */
export function benchAttention(context: Context): Promise<Row[]> {
  const sizes = context.quick ? [{ B: 1, T: 64, H: 4, K: 2, E: 32 }] : context.device.software ? SOFTWARE : GPU;
  const bias = context.quick ? { T: 64, H: 4 } : { T: 512, H: 8 };
  return measureAll(context, "attention", [...sizes.flatMap(cases), ...biasCases(bias)]);
}

/** The list over distances spread over rows and keys, and its gradient. */
function biasCases({ T, H }: Pick<Sizes, "T" | "H">): KernelCase[] {
  const L = 2 * T - 1, cells = H * T * T;
  const common = {
    shape: `${H} heads, ${T}x${T}`,
    operands: { x: { shape: [L, H] } },
    build: ({ x }) => relativeBias(x!, { T, S: T }),
    work: { bytes: 4 * cells },
  } satisfies Partial<KernelCase>;
  const head = (i: number) => Math.floor(i / T / T);
  const distance = (i: number) => i % T - Math.floor(i / T) % T + T - 1;
  const at = spread(cells), entries = spread(L * H);
  const along = (dy: Arrays[string], d: number, h: number) => {
    let sum = 0;
    for (let t = Math.max(0, T - 1 - d); t < Math.min(T, L - d); t++) sum += dy[(h * T + t) * T + t + d - T + 1]!;
    return sum;
  };
  return [
    {
      ...common,
      name: "bias by distance",
      expected: ({ x }) => [{ of: "y", at, values: at.map((i) => x![distance(i) * H + head(i)]!) }],
    },
    {
      ...common,
      name: "bias by distance dx",
      wrt: ["x"],
      expected: ({ dy }) => [{
        of: "x",
        at: entries,
        values: entries.map((i) => along(dy!, Math.floor(i / H), i % H)),
      }],
    },
  ];
}

function cases(sizes: Sizes): KernelCase[] {
  const { B, T, H, K, E } = sizes;
  const flops = T * T * E * B * H;
  const common: Pick<KernelCase, "shape" | "operands" | "build"> = {
    shape: `${B}x${T} ${H}/${K} heads of ${E}`,
    operands: { q: { shape: [B * T, H * E] }, k: { shape: [B * T, K * E] }, v: { shape: [B * T, K * E] } },
    build: ({ q, k, v }) => attention({ q: q!, k: k!, v: v! }, { ...sizes, causal: true }),
  };
  return [
    { ...common, name: "forward", expected: (arrays) => [firstGroup(arrays, sizes).y], work: { flops: 2 * flops } },
    {
      ...common,
      name: "backward",
      wrt: ["q", "k", "v"],
      expected: (arrays) => firstGroup(arrays, sizes).gradients,
      work: { flops: 5 * flops },
    },
  ];
}

/** The last sequence's query heads that share its first key head, in f64. */
function firstGroup({ q, k, v, dy }: Arrays, { B, T, H, K, E }: Sizes): {
  readonly y: Expected;
  readonly gradients: Expected[];
} {
  const scale = 1 / Math.sqrt(E), row = (B - 1) * T;
  const at = (heads: number, h: number, t: number, e: number) => (row + t) * heads * E + h * E + e;
  const zeros = () => Array.from({ length: T * E }, () => 0);
  const places = (heads: number, h: number) =>
    Array.from({ length: T * E }, (_, i) => at(heads, h, Math.floor(i / E), i % E));
  const dk = zeros(), dv = zeros();
  let y: Expected | undefined;
  const gradients: Expected[] = [];
  for (let h = 0; h < H / K; h++) {
    const o = zeros(), dq = zeros();
    for (let t = 0; t < T; t++) {
      const dot = (a: ArrayLike<number>, ah: number, b: ArrayLike<number>, s: number) => {
        let sum = 0;
        for (let e = 0; e < E; e++) sum += a[at(H, ah, t, e)]! * b[at(K, 0, s, e)]!;
        return sum;
      };
      const p = softmax64(Float64Array.from({ length: t + 1 }, (_, s) => scale * dot(q!, h, k!, s)));
      const dp = p.map((_, s) => dot(dy!, h, v!, s));
      const along = p.reduce((sum, x, s) => sum + x * dp[s]!, 0);
      for (let s = 0; s <= t; s++) {
        const ds = scale * p[s]! * (dp[s]! - along);
        for (let e = 0; e < E; e++) {
          o[t * E + e]! += p[s]! * v![at(K, 0, s, e)]!;
          dq[t * E + e]! += ds * k![at(K, 0, s, e)]!;
          dk[s * E + e]! += ds * q![at(H, h, t, e)]!;
          dv[s * E + e]! += p[s]! * dy![at(H, h, t, e)]!;
        }
      }
    }
    y ??= { of: "y", at: places(H, h), values: o };
    gradients.push({ of: "q", at: places(H, h), values: dq });
  }
  gradients.push({ of: "k", at: places(K, 0), values: dk }, { of: "v", at: places(K, 0), values: dv });
  return { y: y!, gradients };
}
