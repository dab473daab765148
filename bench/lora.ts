// A linear map with LoRA of rank 8 beside the same map without: what the adapter adds to the frozen product.
import { linear, loraLinear } from "../src/ops/mod.ts";
import { type Arrays, type Context, type Expected, type KernelCase, measureAll } from "./kernel.ts";
import { spread } from "./random.ts";
import type { Row } from "./row.ts";

const R = 8, SCALE = 2;

interface Sizes {
  readonly N: number;
  readonly In: number;
  readonly Out: number;
}

/** Measure linear maps with and without an adapter. */
export function benchLora(context: Context): Promise<Row[]> {
  const { quick, device: { software } } = context;
  const sizes: Sizes[] = quick
    ? [{ N: 64, In: 64, Out: 96 }]
    : software
    ? [{ N: 1024, In: 128, Out: 384 }, { N: 128, In: 768, Out: 2304 }]
    : [{ N: 1024, In: 768, Out: 2304 }, { N: 4096, In: 768, Out: 2304 }];
  return measureAll(context, "lora", sizes.flatMap(cases));
}

// Products: base y (2·N·In·Out), adapter 2·N·R·(In + Out); backward the same for dx, and as much again for dA and dB.
function cases(sizes: Sizes): KernelCase[] {
  const { N, In, Out } = sizes;
  const base = 2 * N * In * Out, factors = 2 * N * R * (In + Out);
  const shape = `${N}x${In}·${Out}`;
  const x = { shape: [N, In] }, w = { shape: [Out, In], scale: 1 / Math.sqrt(In) };
  const adapted: Pick<KernelCase, "shape" | "operands" | "build"> = {
    shape: `${shape} r ${R}`,
    operands: {
      x,
      w,
      a: { shape: [R, In], scale: 1 / Math.sqrt(In) },
      b: { shape: [Out, R], scale: 1 / Math.sqrt(R) },
    },
    build: (v) => loraLinear(v.x!, v.x!, v.w!, v.a!, v.b!, { scale: SCALE }),
  };
  const plain: typeof adapted = { shape, operands: { x, w }, build: (v) => linear(v.x!, v.w!) };
  return [
    { ...plain, name: "linear", expected: (arrays) => [outputs(arrays, sizes)], work: { flops: base } },
    {
      ...adapted,
      name: "lora linear",
      expected: (arrays) => [outputs(arrays, sizes)],
      work: { flops: base + factors },
    },
    {
      ...plain,
      name: "linear dx",
      wrt: ["x"],
      expected: (arrays) => gradients(arrays, sizes).slice(0, 1),
      work: { flops: base },
    },
    {
      ...adapted,
      name: "lora linear dx, dA, dB",
      wrt: ["x", "a", "b"],
      expected: (arrays) => gradients(arrays, sizes),
      work: { flops: base + 2 * factors },
    },
  ];
}

const NONE = new Float32Array();

/** Row n of h = x·Aᵀ in f64. */
function bottleneck(x: ArrayLike<number>, a: ArrayLike<number>, { In }: Sizes, n: number): number[] {
  if (a.length === 0) return [];
  return Array.from({ length: R }, (_, r) => total(In, (i) => x[n * In + i]! * a[r * In + i]!));
}

function total(count: number, term: (i: number) => number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += term(i);
  return sum;
}

function outputs({ x, w, a = NONE, b = NONE }: Arrays, sizes: Sizes): Expected {
  const { N, In, Out } = sizes;
  const at = spread(N * Out);
  const values = at.map((i) => {
    const n = Math.floor(i / Out), o = i % Out;
    const h = bottleneck(x!, a, sizes, n);
    return total(In, (k) => x![n * In + k]! * w![o * In + k]!) + SCALE * total(h.length, (r) => h[r]! * b[o * R + r]!);
  });
  return { of: "y", at, values };
}

// dh = s·dy·B,  dx = dy·W + dh·A,  dA = dhᵀ·x,  dB = s·dyᵀ·h
function gradients({ x, w, a = NONE, b = NONE, dy }: Arrays, sizes: Sizes): Expected[] {
  const { N, In, Out } = sizes;
  const dh = (n: number, r: number) => SCALE * total(Out, (o) => dy![n * Out + o]! * b[o * R + r]!);
  const dx = spread(N * In, 40);
  const found: Expected[] = [{
    of: "x",
    at: dx,
    values: dx.map((at) => {
      const n = Math.floor(at / In), i = at % In;
      const low = a.length === 0 ? 0 : total(R, (r) => dh(n, r) * a[r * In + i]!);
      return total(Out, (o) => dy![n * Out + o]! * w![o * In + i]!) + low;
    }),
  }];
  if (a.length === 0) return found;
  const da = spread(In, 10), db = spread(Out * R, 10);
  const column = Array.from({ length: N }, (_, n) => dh(n, 0)); // dA's first row
  found.push({ of: "a", at: da, values: da.map((i) => total(N, (n) => column[n]! * x![n * In + i]!)) });
  found.push({
    of: "b",
    at: db,
    values: db.map((at) => {
      const o = Math.floor(at / R), r = at % R;
      return SCALE *
        total(N, (n) => dy![n * Out + o]! * total(In, (i) => x![n * In + i]! * a[r * In + i]!));
    }),
  });
  return found;
}
