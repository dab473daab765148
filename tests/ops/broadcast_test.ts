import { assertEquals, assertThrows } from "@std/assert";
import { ShapeError } from "../../src/core/errors.ts";
import { compile, read, run, write } from "../../src/gpu/executable.ts";
import { createStore, release } from "../../src/gpu/store.ts";
import { Graph } from "../../src/graph/graph.ts";
import { bias } from "../../src/ops/bias.ts";
import { addPositions } from "../../src/ops/positions.ts";
import { scaleBy } from "../../src/ops/scale_by.ts";
import { gpuTest } from "../device.ts";
import { type OpCase, opTable } from "./harness.ts";

const tight = 1e-6; // one rounding, or sums of a hundred terms in f32
const cases: OpCase[] = [];

const biasCase = (N: number, D: number, device = {}): OpCase => ({
  op: "bias",
  name: `[${N} x ${D}] ${JSON.stringify(device)}`,
  inputs: { x: { shape: [N, D] }, b: { shape: [D] } },
  wrt: ["x", "b"],
  build: ({ x, b }) => bias(x!, b!),
  reference: ({ x, b }) => x!.map((v, i) => v + b![i % D]!),
  tolerance: tight,
  device,
});
// One block of rows, two, a last block of one row; then more rows than one pass of 64 blocks of 64 can sum.
for (const [N, D] of [[1, 1], [3, 7], [64, 12], [65, 12], [129, 260], [4200, 4]] as const) cases.push(biasCase(N, D));
cases.push(biasCase(300, 12, { maxBinding: 4096 }), biasCase(300, 7, { maxBinding: 4096 }));

const positionsCase = (B: number, T: number, P: number, D: number, device = {}): OpCase => ({
  op: "addPositions",
  name: `${B} x ${T} of ${P}, D = ${D} ${JSON.stringify(device)}`,
  inputs: { x: { shape: [B * T, D] }, table: { shape: [P, D] } },
  wrt: ["x", "table"],
  build: ({ x, table }) => addPositions(x!, table!, { T }),
  reference: ({ x, table }) => x!.map((v, i) => v + table![Math.floor(i / D) % T * D + i % D]!),
  tolerance: tight,
  device,
});
cases.push(positionsCase(1, 1, 1, 1), positionsCase(3, 5, 7, 6), positionsCase(2, 33, 40, 8));
cases.push(positionsCase(9, 23, 25, 8, { maxBinding: 4096 }));

for (const shape of [[1], [7], [3, 5], [130, 67]] as const) {
  cases.push({
    op: "scaleBy",
    name: `[${shape}]`,
    inputs: { x: { shape }, s: { shape: [1], values: [0.7] } },
    wrt: ["x", "s"],
    build: ({ x, s }) => scaleBy(x!, s!),
    reference: ({ x, s }) => x!.map((v) => v * s![0]!),
    tolerance: tight,
  });
}
cases.push({
  op: "scaleBy",
  name: "operands above one binding (forced to 4 KiB)",
  inputs: { x: { shape: [37, 101] }, s: { shape: [1], values: [-3] } },
  wrt: ["x", "s"],
  build: ({ x, s }) => scaleBy(x!, s!),
  reference: ({ x, s }) => x!.map((v) => v * s![0]!),
  tolerance: 3e-6, // ds is a small difference of 3,737 terms of both signs
  device: { maxBinding: 4096 },
});

opTable("broadcast", cases);

// Workgroups of 64 single numbers: 65,535 of them fill one dimension of a dispatch, one more is folded into two.
for (const N of [65535 * 64 - 1, 65535 * 64, 65535 * 64 + 1, 65536 * 64 + 1]) {
  gpuTest(`bias: ${N} elements, each written once`, async (device) => {
    const graph = new Graph(device.target);
    const x = graph.leaf("input", "x", [N, 1]);
    const b = graph.leaf("input", "b", [1]);
    const y = bias(x, b);
    const store = createStore(device);
    const program = await compile(graph, { store, keep: [y] });
    const numbers = Float32Array.from({ length: N }, (_, i) => i);
    write(program, x, numbers);
    write(program, b, Float32Array.of(1));
    write(program, y, new Float32Array(N).fill(-7));
    run(program);
    const [result] = await read(program, [y]);
    assertEquals(result!.findIndex((v, i) => v !== i + 1), -1);
    program.destroy();
    release(store);
  });
}

Deno.test("broadcast: shapes that do not fit", () => {
  const graph = new Graph();
  const x = graph.leaf("input", "x", [6, 4]);
  const b = graph.leaf("input", "b", [3]);
  assertThrows(() => bias(x, b), ShapeError, "b must be [D=4]: received [3]");
  assertThrows(() => scaleBy(x, b), ShapeError, "s must be [1]: received [3]");
  const table = graph.leaf("input", "table", [5, 4]);
  assertThrows(() => addPositions(x, table, { T: 4 }), ShapeError, "received [6, 4]");
  assertThrows(() => addPositions(x, table, { T: 6 }), ShapeError, "received [5, 4]");
});
