import { assertEquals } from "@std/assert";
import { compile, read, run, write } from "../../src/gpu/executable.ts";
import { createStore, release } from "../../src/gpu/store.ts";
import { Graph } from "../../src/graph/graph.ts";
import { mse } from "../../src/ops/mse.ts";
import { columnSum } from "../../src/ops/column_sum.ts";
import { mean, rowSum, sum } from "../../src/ops/sum.ts";
import { gpuTest } from "../device.ts";
import { normal, type Numbers, type OpCase, opTable } from "./harness.ts";
import { classes, constant, rowsOf } from "./rows.ts";

const total = (x: Numbers) => x.reduce((a, b) => a + b, 0);
const one = (x: number) => Float64Array.of(x);
const cases: OpCase[] = [];

// One, a tail, one partial sum more than a workgroup has, more than 1,024 partial sums can take in one turn.
for (const shape of [[1], [7], [3, 5], [257], [130, 131]] as const) {
  for (const { device, label } of classes) {
    cases.push({
      op: "sum",
      name: `[${shape}] ${label}`,
      inputs: { x: { shape } },
      wrt: ["x"],
      build: ({ x }) => sum(x!),
      reference: ({ x }) => one(total(x!)),
      device,
    }, {
      op: "mean",
      name: `[${shape}] ${label}`,
      inputs: { x: { shape } },
      wrt: ["x"],
      build: ({ x }) => mean(x!),
      reference: ({ x }) => one(total(x!) / x!.length),
      device,
    });
  }
  for (const reduction of ["mean", "sum"] as const) {
    cases.push({
      op: "mse",
      name: `[${shape}] ${reduction}`,
      inputs: { a: { shape }, b: { shape } },
      wrt: ["a", "b"],
      build: ({ a, b }) => mse(a!, b!, { reduction }),
      reference: ({ a, b }) => one(total(a!.map((v, i) => (v - b![i]!) ** 2)) / (reduction === "mean" ? a!.length : 1)),
    });
  }
}
for (const { device, label } of classes) {
  for (const [N, D] of [[1, 1], [5, 7], [66, 36], [2, 5000]] as const) {
    cases.push({
      op: "rowSum",
      name: `[${N} x ${D}] ${label}`,
      inputs: { x: { shape: [N, D] } },
      wrt: ["x"],
      build: ({ x }) => rowSum(x!),
      reference: ({ x }) => rowsOf(x!, D, (row) => [total(row)]),
      device,
    });
  }
}
const split = { maxBinding: 4096 };
cases.push({
  op: "sum",
  name: "above one binding (forced to 4 KiB)",
  inputs: { x: { shape: [37, 101] } },
  wrt: ["x"],
  build: ({ x }) => sum(x!),
  reference: ({ x }) => one(total(x!)),
  device: split,
}, {
  op: "mse",
  name: "above one binding (forced to 4 KiB)",
  inputs: { a: { shape: [37, 101] }, b: { shape: [37, 101] } },
  wrt: ["a", "b"],
  build: ({ a, b }) => mse(a!, b!),
  reference: ({ a, b }) => one(total(a!.map((v, i) => (v - b![i]!) ** 2)) / a!.length),
  device: split,
}, {
  op: "rowSum",
  name: "above one binding (forced to 4 KiB)",
  inputs: { x: { shape: [300, 7] } },
  wrt: ["x"],
  build: ({ x }) => rowSum(x!),
  reference: ({ x }) => rowsOf(x!, 7, (row) => [total(row)]),
  device: split,
});
for (const [N, D] of [[1, 1], [63, 5], [65, 8], [4200, 3]] as const) {
  cases.push({
    op: "columnSum",
    name: `[${N} x ${D}]`,
    inputs: { x: { shape: [N, D] } },
    wrt: [],
    build: ({ x }) => columnSum(x!),
    reference: ({ x }) => constant(D, 0).map((_, d) => rowsOf(x!, D, (row) => [row[d]!]).reduce((a, b) => a + b, 0)),
  });
}

opTable("sum", cases);

gpuTest("sum: the same bits in every run", async (device) => {
  const graph = new Graph(device.target);
  const x = graph.leaf("input", "x", [100_003]);
  const y = sum(x);
  const store = createStore(device);
  const program = await compile(graph, { store, keep: [y] });
  write(program, x, Float32Array.from(normal(100_003, 5)));
  const seen = new Set<number>();
  for (let i = 0; i < 5; i++) {
    run(program);
    const [value] = await read(program, [y]);
    seen.add(value![0]!);
  }
  assertEquals(seen.size, 1);
  program.destroy();
  release(store);
});
