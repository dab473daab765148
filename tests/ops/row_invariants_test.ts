// What must hold of row ops beside their numbers: the same bits in every run, and a NaN that stays in its row.
import { assertEquals } from "@std/assert";
import type { GraftDevice } from "../../src/gpu/device.ts";
import { compile, read, run, write } from "../../src/gpu/executable.ts";
import { createStore, put, release } from "../../src/gpu/store.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import { gelu, relu, silu, tanh } from "../../src/ops/activations.ts";
import { backward } from "../../src/ops/backward.ts";
import { bias } from "../../src/ops/bias.ts";
import { embedding } from "../../src/ops/embedding.ts";
import { layerNorm } from "../../src/ops/layer_norm.ts";
import { rmsNorm } from "../../src/ops/rms_norm.ts";
import { softmax } from "../../src/ops/softmax.ts";
import { rowSum } from "../../src/ops/sum.ts";
import { gpuTest } from "../device.ts";
import { normal } from "./harness.ts";
import { classes } from "./rows.ts";

const N = 200, D = 36, V = 50;

/** Run `build` on x[N, D], w[D], b[D], table[V, D] and ids[N] so many times; results are y and all gradients. */
async function results(
  device: GraftDevice,
  build: (values: Readonly<Record<"x" | "w" | "b" | "table" | "ids", Value>>) => Value,
  { runs, x }: { readonly runs: number; readonly x: Float32Array<ArrayBuffer> },
): Promise<Float32Array[][]> {
  const graph = new Graph(device.target);
  const leaf = (name: string, ...shape: number[]) => graph.leaf("param", name, shape);
  const ids = graph.leaf("input", "ids", [N], { dtype: "u32" });
  const y = build({ x: leaf("x", N, D), w: leaf("w", D), b: leaf("b", D), table: leaf("table", V, D), ids });
  const dy = graph.leaf("input", "dy", y.shape);
  const kept = [y, ...backward(graph, y, dy).values()];
  const store = createStore(device);
  await put(store, "x", x);
  for (const [name, count] of [["w", D], ["b", D], ["table", V * D]] as const) {
    await put(store, name, Float32Array.from(normal(count, 3)));
  }
  const program = await compile(graph, { store, keep: kept });
  write(program, ids, Uint32Array.from({ length: N }, (_, i) => i * i % V));
  write(program, dy, Float32Array.from(normal(y.shape.reduce((a, b) => a * b, 1), 4)));
  const seen: Float32Array[][] = [];
  for (let i = 0; i < runs; i++) {
    run(program);
    seen.push(await read(program, kept));
  }
  program.destroy();
  release(store);
  return seen;
}

const ops: Readonly<Record<string, Parameters<typeof results>[1]>> = {
  rmsNorm: ({ x, w }) => rmsNorm(x, w, { eps: 1e-5 }),
  layerNorm: ({ x, w, b }) => layerNorm(x, w, b, { eps: 1e-5 }),
  softmax: ({ x }) => softmax(x),
  rowSum: ({ x }) => rowSum(x),
  bias: ({ x, b }) => bias(x, b),
  gelu: ({ x }) => gelu(x),
  "gelu tanh": ({ x }) => gelu(x, { approximate: "tanh" }),
  silu: ({ x }) => silu(x),
  relu: ({ x }) => relu(x),
  tanh: ({ x }) => tanh(x),
  embedding: ({ table, ids }) => embedding(table, ids),
};

for (const { device: options, label } of classes.slice(0, 2)) {
  gpuTest(`row ops, ${label}: the same bits in every run`, async (device) => {
    for (const [name, build] of Object.entries(ops)) {
      const [first, ...others] = await results(device, build, { runs: 5, x: Float32Array.from(normal(N * D, 5)) });
      for (const other of others) assertEquals(other, first, name);
    }
  }, options);

  gpuTest(`row ops, ${label}: a NaN stays, and stays in its row`, async (device) => {
    const x = Float32Array.from(normal(N * D, 5));
    x[7 * D + 5] = NaN;
    for (const [name, build] of Object.entries(ops)) {
      if (name === "embedding") continue;
      const [[y] = []] = await results(device, build, { runs: 1, x });
      const width = y!.length / N;
      const rows = new Set([...y!.keys()].filter((i) => Number.isNaN(y![i])).map((i) => Math.floor(i / width)));
      assertEquals([...rows], [7], name);
    }
  }, options);
}
