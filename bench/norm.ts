// Norms and softmax of rows: bounded by memory, so the rate counts the bytes that must move.
import { layerNorm, rmsNorm, softmax } from "../src/ops/mod.ts";
import type { Arrays, Context, Expected, KernelCase } from "./kernel.ts";
import { measureAll } from "./kernel.ts";
import { spread } from "./random.ts";
import type { Row } from "./row.ts";

const EPS = 1e-5;

/** Measure layer norm, RMS norm and softmax, forward and dx. */
export function benchNorm(context: Context): Promise<Row[]> {
  const shapes = context.quick ? [[64, 768]] : context.device.software ? [[512, 768], [1024, 128]] : [[8192, 768]];
  return measureAll(context, "norm", shapes.flatMap(([N, D]) => cases(N!, D!)));
}

function cases(N: number, D: number): KernelCase[] {
  const shape = `${N}x${D}`;
  const x = { shape: [N, D] }, w = { shape: [D] }, b = { shape: [D] };
  const forward = { bytes: 8 * N * D }, gradient = { bytes: 12 * N * D };
  const layer: Pick<KernelCase, "shape" | "operands" | "build"> = {
    shape,
    operands: { x, w, b },
    build: (v) => layerNorm(v.x!, v.w!, v.b!, { eps: EPS }),
  };
  const rms: typeof layer = { shape, operands: { x, w }, build: (v) => rmsNorm(v.x!, v.w!, { eps: EPS }) };
  const soft: typeof layer = { shape, operands: { x }, build: (v) => softmax(v.x!) };
  const rows = (of: "y" | "x", f: (row: Row64) => number[]) => (arrays: Arrays) => sampleRows(arrays, { N, D, of }, f);
  return [
    { ...layer, name: "layer norm", expected: rows("y", layerNorm64), work: forward },
    { ...layer, name: "layer norm dx", wrt: ["x"], expected: rows("x", layerNormGrad64), work: gradient },
    {
      ...layer,
      name: "layer norm dx, dw, db",
      wrt: ["x", "w", "b"],
      expected: rows("x", layerNormGrad64),
      work: gradient,
    },
    { ...rms, name: "rms norm", expected: rows("y", rmsNorm64), work: forward },
    { ...rms, name: "rms norm dx", wrt: ["x"], expected: rows("x", rmsNormGrad64), work: gradient },
    { ...soft, name: "softmax", expected: rows("y", ({ x }) => softmax64(x)), work: forward },
    { ...soft, name: "softmax dx", wrt: ["x"], expected: rows("x", softmaxGrad64), work: gradient },
  ];
}

interface Row64 {
  readonly x: Float64Array;
  readonly dy: Float64Array;
  readonly w: ArrayLike<number>;
  readonly b: ArrayLike<number>;
}

function sampleRows(
  { x, dy, w = new Float32Array(), b = new Float32Array() }: Arrays,
  { N, D, of }: { readonly N: number; readonly D: number; readonly of: "x" | "y" },
  f: (row: Row64) => number[],
): Expected[] {
  const part = (a: ArrayLike<number>, n: number) => Float64Array.from({ length: D }, (_, d) => a[n * D + d]!);
  return spread(N, 8).map((n) => ({
    of,
    at: Array.from({ length: D }, (_, d) => n * D + d),
    values: f({ x: part(x!, n), dy: part(dy!, n), w, b }),
  }));
}

const mean = (x: ArrayLike<number>) => Array.from(x).reduce((a, b) => a + b, 0) / x.length;
const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

function normalized(x: Float64Array): { readonly hat: Float64Array; readonly r: number } {
  const mu = mean(x);
  const r = 1 / Math.sqrt(mean(x.map((v) => (v - mu) ** 2)) + EPS);
  return { hat: x.map((v) => (v - mu) * r), r };
}

function layerNorm64({ x, w, b }: Row64): number[] {
  return Array.from(normalized(x).hat, (v, d) => v * w[d]! + b[d]!);
}

// dx = r · (g − mean(g) − x̂ · mean(g · x̂)),  g = dy · w
function layerNormGrad64({ x, dy, w }: Row64): number[] {
  const { hat, r } = normalized(x);
  const g = dy.map((v, d) => v * w[d]!);
  const middle = mean(g), along = dot(g, hat) / x.length;
  return Array.from(g, (v, d) => r * (v - middle - hat[d]! * along));
}

function rmsNorm64({ x, w }: Row64): number[] {
  const r = 1 / Math.sqrt(dot(x, x) / x.length + EPS);
  return Array.from(x, (v, d) => v * r * w[d]!);
}

// dx = r · (g − x · r² · mean(g · x)),  g = dy · w
function rmsNormGrad64({ x, dy, w }: Row64): number[] {
  const r = 1 / Math.sqrt(dot(x, x) / x.length + EPS);
  const g = dy.map((v, d) => v * w[d]!);
  const along = r * r * dot(g, x) / x.length;
  return Array.from(g, (v, d) => r * (v - x[d]! * along));
}

/** Softmax in f64. */
export function softmax64(x: Float64Array): number[] {
  const top = Math.max(...x);
  const e = Array.from(x, (v) => Math.exp(v - top));
  const sum = e.reduce((a, b) => a + b, 0);
  return e.map((v) => v / sum);
}

// dx = p · (dy − Σ dy · p)
function softmaxGrad64({ x, dy }: Row64): number[] {
  const p = softmax64(x);
  const along = p.reduce((sum, v, d) => sum + v * dy[d]!, 0);
  return p.map((v, d) => v * (dy[d]! - along));
}
