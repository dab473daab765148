// The choice of kernels: margins, wrong candidates, and that a choice changes the kernel and keeps the numbers.
import { assert, assertEquals } from "@std/assert";
import { compile, read, run, write } from "../../src/gpu/executable.ts";
import { createStore, release } from "../../src/gpu/store.ts";
import { Graph } from "../../src/graph/graph.ts";
import type { Target } from "../../src/graph/target.ts";
import { scale } from "../../src/ops/elementwise.ts";
import { size } from "../../src/core/dims.ts";
import { attention } from "../../src/ops/attention.ts";
import { layerNorm } from "../../src/ops/layer_norm.ts";
import { matmul } from "../../src/ops/matmul.ts";
import { rmsNorm } from "../../src/ops/rms_norm.ts";
import { ROW_LANES } from "../../src/ops/rows.ts";
import { softmax } from "../../src/ops/softmax.ts";
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

const forms: Readonly<Record<string, { key: string; names: readonly string[]; build: Tunable["build"] }>> = {
  attention: {
    key: "attention 32",
    names: ["32x32 8", "32x32 4"], // others take seconds to compile on a software driver
    build: (graph) => {
      const leaf = (name: string) => graph.leaf("input", name, [70, 64]);
      return attention({ q: leaf("q"), k: leaf("k"), v: leaf("v") }, { B: 1, T: 70, H: 2, K: 2, E: 32, causal: true });
    },
  },
  rows: {
    key: "rows",
    names: Object.keys(ROW_LANES),
    build: (graph) => {
      const x = graph.leaf("input", "x", [9, 300]), w = graph.leaf("input", "w", [300]);
      return softmax(layerNorm(rmsNorm(x, w, { eps: 1e-5 }), w, w, { eps: 1e-5 }));
    },
  },
};

for (const [name, { key, names, build }] of Object.entries(forms)) {
  gpuTest(`tune: every form of ${name} gives the same numbers`, async (device) => {
    const { candidates } = tunables(device.target).find((tunable) => tunable.key === key)!;
    assert(names.every((choice) => candidates.includes(choice)));
    const result = async (target: Target) => {
      const graph = new Graph(target);
      const y = build(graph);
      const store = createStore(device);
      const program = await compile(graph, { store, keep: [y] });
      for (const [i, leaf] of [...graph.leaves.values()].entries()) {
        write(program, leaf, Float32Array.from(normal(size(leaf.shape), i + 1)));
      }
      run(program);
      const [found] = await read(program, [y]);
      const text = program.dispatches.map(({ kernel }) => kernel.wgsl).join();
      program.destroy();
      release(store);
      return { found: found!, text };
    };
    const plain = await result(device.target);
    const texts = new Set([plain.text]);
    for (const choice of names) {
      const { found, text } = await result({ ...device.target, tuning: { [key]: choice } });
      texts.add(text);
      assert(relativeError(found, plain.found) < 1e-6, choice); // f32 sums in another order
    }
    assertEquals(texts.size, names.length + 1);
    assertEquals((await result({ ...device.target, tuning: { [key]: "none" } })).text, plain.text);
  }, { kind: "gpu" });
}
