// The choice of kernels: margins, wrong candidates, and that a choice changes the kernel and keeps the numbers.
import { assert, assertEquals } from "@std/assert";
import { compile, read, run, write } from "../../src/gpu/executable.ts";
import { createStore, release } from "../../src/gpu/store.ts";
import { Graph } from "../../src/graph/graph.ts";
import type { Target } from "../../src/graph/target.ts";
import { scale } from "../../src/ops/elementwise.ts";
import { matmul } from "../../src/ops/matmul.ts";
import { type Tunable, tunables } from "../../src/ops/tuning.ts";
import { fastest, tune, type TuneRow } from "../../src/train/tune.ts";
import { gpuTest } from "../device.ts";
import { normal, relativeError } from "../ops/harness.ts";

Deno.test("tune: a candidate must win by 5 % in both repetitions", () => {
  const base = { times: [1, 1.1] };
  const steady = { name: "steady", times: [0.95, 1.04] };
  const lucky = { name: "lucky", times: [0.5, 1.06] };
  const close = { name: "close", times: [0.96, 0.9] };
  const best = { name: "best", times: [0.8, 0.7] };
  assertEquals(fastest(base, [lucky, close]), base);
  assertEquals(fastest(base, [steady, lucky]), steady);
  assertEquals(fastest(base, [steady, best, lucky]), best);
  assertEquals(fastest(base, []), base);
});

/** A small product with the tiles of the software class. */
const small: Tunable = {
  key: "matmul nn medium",
  shape: "64x64·128",
  candidates: ["32x8", "16x4"],
  quick: true,
  build: (graph) => matmul(graph.leaf("input", "a", [64, 64]), graph.leaf("input", "b", [64, 128])),
};

gpuTest("tune: the measured choice, from the times of a clock that is given", async (device) => {
  const rows: TuneRow[] = [];
  const times: Readonly<Record<string, number>> = { "32x8": 2, "16x4": 1 };
  const measure = (_: unknown, name: string | undefined) => Promise.resolve(name ? times[name]! : 1.5);
  const found = await tune(device, { kernels: [small], measure, report: (row) => rows.push(row) });
  assertEquals(found, { "matmul nn medium": "16x4" });
  assertEquals(rows, [{ kernel: small.key, shape: small.shape, before: 1.5, best: "16x4", after: 1, wrong: [] }]);
  assertEquals(await tune(device, { kernels: [small], measure: () => Promise.resolve(1) }), {});
}, { kind: "software" });

gpuTest("tune: a candidate that computes something else is never chosen", async (device) => {
  const broken: Tunable = {
    ...small,
    candidates: ["16x4"],
    build: (graph) => {
      const y = small.build(graph);
      return graph.target.tuning ? scale(y, 1.001) : y;
    },
  };
  const rows: TuneRow[] = [];
  const measure = (_: unknown, name: string | undefined) => Promise.resolve(name ? 0.1 : 1);
  assertEquals(await tune(device, { kernels: [broken], measure, report: (row) => rows.push(row) }), {});
  assertEquals(rows[0]!.wrong, ["16x4"]);
}, { kind: "software" });

for (const [kind, name] of [["software", "16x4"], ["gpu", "128x64x16 8x8"]] as const) {
  gpuTest(`tune: a tuned target changes the kernel and keeps the numbers, ${kind}`, async (device) => {
    const [M, K, N] = [160, 192, 160];
    const product = async (target: Target) => {
      const graph = new Graph(target);
      const a = graph.leaf("input", "a", [M, K]), b = graph.leaf("input", "b", [K, N]);
      const c = matmul(a, b);
      const store = createStore(device);
      const program = await compile(graph, { store, keep: [c] });
      write(program, a, Float32Array.from(normal(M * K, 1)));
      write(program, b, Float32Array.from(normal(K * N, 2)));
      run(program);
      const [found] = await read(program, [c]);
      const text = program.dispatches[0]!.kernel.wgsl;
      program.destroy();
      release(store);
      return { found: found!, text };
    };
    const key = tunables(device.target).find(({ key }) => /nn (medium|small)/.test(key))!.key;
    const keys = { "matmul nn medium": name, "matmul nn small": name };
    const before = await product(device.target), after = await product({ ...device.target, tuning: keys });
    const unknown = await product({ ...device.target, tuning: { [key]: "no such tile" } });
    assert(before.text !== after.text);
    assertEquals(unknown.text, before.text);
    assert(relativeError(after.found, before.found) < 1e-6); // f32 rounding of sums of 192 terms in another order
  }, { kind });
}
