// Matrix products at the shapes of training: plain, transposed, and the skinny ones of LoRA.
import { compile, read, run, write } from "../src/gpu/executable.ts";
import { createStore, release } from "../src/gpu/store.ts";
import type { GraftDevice } from "../src/gpu/device.ts";
import { Graph } from "../src/graph/graph.ts";
import { matmul } from "../src/ops/matmul.ts";

/** One product of the benchmark. */
export interface MatmulShape {
  readonly name: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly ta?: boolean;
  readonly tb?: boolean;
}

/** One measured line. */
export interface MatmulRow extends MatmulShape {
  /** Median and best time of one product, in milliseconds. */
  readonly median: number;
  readonly best: number;
  /** 10⁹ multiply-adds count two, at the best time. */
  readonly gflops: number;
  /** Largest error of 200 samples against f64, relative to the random-walk size of their sums. */
  readonly error: number;
}

/** What {@linkcode benchMatmul} measures: squares, GPT-2's projections, and LoRA of rank 8. */
export const matmulShapes: readonly MatmulShape[] = [
  { name: "512³ nn", M: 512, N: 512, K: 512 },
  { name: "512³ nt", M: 512, N: 512, K: 512, tb: true },
  { name: "512³ tn", M: 512, N: 512, K: 512, ta: true },
  { name: "1024³ nn", M: 1024, N: 1024, K: 1024 },
  { name: "1024³ nt", M: 1024, N: 1024, K: 1024, tb: true },
  { name: "1024³ tn", M: 1024, N: 1024, K: 1024, ta: true },
  { name: "512x768·2304 nt", M: 512, N: 2304, K: 768, tb: true },
  { name: "lora x·Aᵀ", M: 1024, N: 8, K: 768, tb: true },
  { name: "lora dy·B", M: 1024, N: 8, K: 768 },
  { name: "lora dhᵀ·x", M: 8, N: 768, K: 1024, ta: true },
  { name: "lora dyᵀ·h", M: 768, N: 8, K: 1024, ta: true },
  { name: "511³ nt, odd", M: 511, N: 511, K: 511, tb: true },
];

/** Options of {@linkcode benchMatmul}. */
export interface MatmulBenchOptions {
  readonly shapes?: readonly MatmulShape[];
  /** Submits of each shape that are counted. */
  readonly rounds?: number;
  /** Called with every line as it is measured. */
  readonly report?: (row: MatmulRow) => void;
}

/** Products of one submit: enough to hide its cost and that of waiting (at least 10 ms on Deno). */
const FLOPS_A_SUBMIT = 1.5e9;

/** Milliseconds of work that raise the clocks of a GPU. */
const WARM_MS = 500;

/** Measure products on `device`. */
export async function benchMatmul(
  device: GraftDevice,
  { shapes = matmulShapes, rounds = 5, report = () => {} }: MatmulBenchOptions = {},
): Promise<MatmulRow[]> {
  const rows: MatmulRow[] = [];
  for (const shape of shapes) {
    const row = await measure(device, shape, rounds);
    rows.push(row);
    report(row);
  }
  return rows;
}

async function measure(device: GraftDevice, shape: MatmulShape, rounds: number): Promise<MatmulRow> {
  const { M, N, K, ta = false, tb = false } = shape;
  const flops = 2 * M * N * K;
  const count = Math.max(2, Math.ceil(FLOPS_A_SUBMIT * (device.software ? 1 : 100) / flops));
  const graph = new Graph(device.target);
  const a = graph.leaf("input", "a", ta ? [K, M] : [M, K]);
  const b = graph.leaf("input", "b", tb ? [N, K] : [K, N]);
  // Identical nodes would be merged: every product has its own factor.
  const products = Array.from({ length: count }, (_, i) => matmul(a, b, { ta, tb, alpha: 1 + i / 1024 }));
  const store = createStore(device);
  const program = await compile(graph, { store, keep: [products[0]!], name: "bench" });
  const left = numbers(M * K, 1), right = numbers(K * N, 2);
  write(program, a, left);
  write(program, b, right);
  const once = async () => {
    const start = performance.now();
    run(program);
    await device.gpu.queue.onSubmittedWorkDone();
    return performance.now() - start;
  };
  await once(); // compiles
  for (let spent = 0; !device.software && spent < WARM_MS;) spent += await once();
  const times: number[] = [];
  for (let i = 0; i < rounds; i++) times.push(await once() / count);
  const [c] = await read(program, [products[0]!]);
  program.destroy();
  release(store);
  times.sort((x, y) => x - y);
  const best = times[0]!, median = times[Math.floor(times.length / 2)]!;
  return { ...shape, best, median, gflops: flops / best / 1e6, error: sampleError(c!, left, right, shape) };
}

/** Numbers in [-1, 1), the same for one seed. */
function numbers(count: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

function sampleError(c: Float32Array, a: Float32Array, b: Float32Array, { M, N, K, ta, tb }: MatmulShape): number {
  let worst = 0;
  for (let i = 0; i < 200; i++) {
    const m = i < 2 ? i * (M - 1) : (i * 7919) % M, n = i < 2 ? i * (N - 1) : (i * 104729) % N;
    let sum = 0, squares = 0;
    for (let k = 0; k < K; k++) {
      const product = a[ta ? k * M + m : m * K + k]! * b[tb ? n * K + k : k * N + n]!;
      sum += product;
      squares += product * product;
    }
    worst = Math.max(worst, Math.abs(c[m * N + n]! - sum) / Math.sqrt(squares));
  }
  return worst;
}
