// The start-up self-test: known answers that a broken driver gets wrong, and what the machine can do.
import { DeviceError } from "../core/errors.ts";
import type { GraftDevice } from "../gpu/device.ts";
import { compile, type Executable, read, run, write } from "../gpu/executable.ts";
import { profile } from "../gpu/profile.ts";
import { createStore, release, type Store } from "../gpu/store.ts";
import { Graph, type Value } from "../graph/graph.ts";
import { copy } from "../ops/elementwise.ts";
import { matmul } from "../ops/matmul.ts";
import { fmaOperations, fmaProbe, foldProbe, loopProbe, nonFiniteProbe } from "../ops/probe.ts";
import { sum } from "../ops/sum.ts";

/** One line of the self-test. */
export interface SelfTestResult {
  /** What was tested, such as `"matmul"`. */
  readonly name: string;
  /** Whether the answer was right; measurements are always ok. */
  readonly ok: boolean;
  /** The answer, or the figure with its unit. */
  readonly detail: string;
}

/** An input of a test, and what it is filled with. */
interface Filled {
  readonly leaf: Value;
  readonly data: Float32Array;
}

/** A test: what is computed from what, and what to make of it. */
interface Probe {
  readonly name: string;
  build(graph: Graph): { readonly y: Value; readonly inputs: readonly Filled[] };
  judge(y: Float32Array): { readonly ok: boolean; readonly detail: string };
}

const M = 67, K = 130, N = 45; // no multiple of any tile
const TERMS = 100_000;
const GROUPS = 70_000; // more than one dimension holds
const TURNS = 70_000; // more than the software driver makes

const same = (wrong: number, count: number) => ({ ok: wrong === 0, detail: `${wrong} of ${count} numbers are wrong` });

const PROBES: readonly Probe[] = [
  {
    name: `matmul [${M} x ${K}] · [${K} x ${N}]`,
    build(graph) {
      const a = filled(graph, "a", [M, K], smallWhole), b = filled(graph, "b", [K, N], smallWhole);
      return { y: matmul(a.leaf, b.leaf), inputs: [a, b] };
    },
    judge(y) {
      let wrong = 0; // sums of whole numbers below 2^24 are exact in any order
      for (let m = 0; m < M; m++) {
        for (let n = 0; n < N; n++) {
          let want = 0;
          for (let k = 0; k < K; k++) want += smallWhole(m * K + k) * smallWhole(k * N + n);
          if (y[m * N + n] !== want) wrong++;
        }
      }
      return same(wrong, M * N);
    },
  },
  {
    name: `sum of ${TERMS} numbers`,
    build(graph) {
      const x = filled(graph, "x", [TERMS], smallWhole);
      return { y: sum(x.leaf), inputs: [x] };
    },
    judge([got]) {
      let want = 0;
      for (let i = 0; i < TERMS; i++) want += smallWhole(i);
      return { ok: got === want, detail: `${got}, expected ${want}` };
    },
  },
  {
    name: "NaN and infinity by their bits",
    build(graph) {
      const x = filled(graph, "x", [NUMBERS.length], (i) => NUMBERS[i]!);
      return { y: nonFiniteProbe(x.leaf), inputs: [x] };
    },
    judge: (y) => same(NUMBERS.filter((x, i) => y[i] !== Number(!Number.isFinite(x))).length, NUMBERS.length),
  },
  {
    name: `${GROUPS} workgroups in two dimensions`,
    build: (graph) => ({ y: foldProbe(graph, GROUPS), inputs: [] }),
    judge: (y) => same(y.filter((id, i) => id !== i).length, GROUPS),
  },
  {
    name: "iterations of one invocation",
    build: (graph) => ({ y: loopProbe(graph, TURNS), inputs: [] }),
    judge: ([turns]) => ({
      ok: true,
      detail: turns === TURNS ? `no limit below ${TURNS}` : `the driver stops at ${turns}`,
    }),
  },
];

const NUMBERS = [0, -0, 1, -3.4e38, 1e-38, NaN, Infinity, -Infinity];

/** -3 … 3, without a pattern that a wrong index would repeat. */
function smallWhole(i: number): number {
  return (i * i + 3 * i) % 7 - 3;
}

function filled(graph: Graph, name: string, shape: readonly number[], value: (i: number) => number): Filled {
  const leaf = graph.leaf("input", name, shape);
  return { leaf, data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => value(i)) };
}

/**
 * Check that the device computes, and measure it: copies in GB/s, matrix products in GFLOP/s and as a share of the
 * measured peak of multiply-adds. Takes less than a second, without the time to compile.
 *
 * @throws {DeviceError} `device/self-test` naming the adapter and each test that failed.
 */
export async function selfTest(device: GraftDevice): Promise<SelfTestResult[]> {
  const store = createStore(device);
  try {
    const results: SelfTestResult[] = [];
    for (const probe of PROBES) {
      const graph = new Graph(device.target);
      const { y, inputs } = probe.build(graph);
      const [got] = await withProgram(graph, { store, y, inputs }, (program) => {
        run(program);
        return read(program, [y]);
      });
      results.push({ name: probe.name, ...probe.judge(got!) });
    }
    const failed = results.filter(({ ok }) => !ok).map(({ name, detail }) => `${name}: ${detail}`);
    if (failed.length > 0) {
      throw new DeviceError("device/self-test", `Cannot trust "${device.name}": ${failed.join("; ")}`, {
        hint: "Update the driver, or use another adapter.",
      });
    }
    return [...results, ...await measure(device, store)];
  } finally {
    release(store);
  }
}

/** Copies, the peak of multiply-adds, and a matrix product: sizes that take some milliseconds on each kind of device. */
async function measure(device: GraftDevice, store: Store): Promise<SelfTestResult[]> {
  const words = device.software ? 2 ** 22 : 2 ** 24;
  const [turns, groups] = device.software ? [500, 64] : [4000, 2048];
  const S = device.software ? 256 : 2048;
  const time = async (build: (graph: Graph) => Value) => {
    const graph = new Graph(device.target);
    const y = build(graph);
    return await withProgram(graph, { store, y, inputs: [] }, fastest);
  };
  const leaf = (graph: Graph, name: string, ...shape: number[]) => graph.leaf("input", name, shape);
  const copied = await time((graph) => copy(leaf(graph, "x", words)));
  const peak = fmaOperations(turns, groups) / await time((graph) => fmaProbe(graph, turns, groups)) / 1e6;
  const product = 2 * S ** 3 / await time((graph) => matmul(leaf(graph, "a", S, S), leaf(graph, "b", S, S))) / 1e6;
  const measured = (name: string, detail: string) => ({ name, ok: true, detail });
  return [
    measured(
      `copy of ${4 * words / 2 ** 20} MiB`,
      `${(2 * 4 * words / copied / 1e6).toFixed(1)} GB/s read and written`,
    ),
    measured("multiply-adds in registers", `${peak.toFixed(1)} GFLOP/s`),
    measured(`matmul ${S}³`, `${product.toFixed(1)} GFLOP/s, ${(100 * product / peak).toFixed(0)} % of that`),
  ];
}

/** Milliseconds of the fastest of three runs: by timestamps, or by the clock where the device has none. */
async function fastest(program: Executable): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 4; i++) {
    if (program.device.timestamps) {
      times.push((await profile(program)).reduce((total, { ms }) => total + ms, 0));
      continue;
    }
    const start = performance.now();
    run(program);
    await program.device.gpu.queue.onSubmittedWorkDone();
    times.push(performance.now() - start);
  }
  return Math.min(...times.slice(1)); // the first run waits for the driver's compiler
}

async function withProgram<T>(
  graph: Graph,
  { store, y, inputs }: { readonly store: Store; readonly y: Value; readonly inputs: readonly Filled[] },
  body: (program: Executable) => Promise<T>,
): Promise<T> {
  const program = await compile(graph, { store, keep: [y], name: "self-test" });
  try {
    for (const { leaf, data } of inputs) write(program, leaf, data);
    return await body(program);
  } finally {
    program.destroy();
  }
}
