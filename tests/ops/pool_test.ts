import { assertThrows } from "@std/assert";
import { ShapeError } from "../../src/core/errors.ts";
import { Graph } from "../../src/graph/graph.ts";
import { pool } from "../../src/ops/pool.ts";
import { type OpCase, opTable } from "./harness.ts";
import { classes } from "./rows.ts";

const poolCase = (B: number, T: number, D: number, more: Partial<OpCase> = {}): OpCase => ({
  op: "pool",
  name: `[${B} x ${T} x ${D}]`,
  inputs: { x: { shape: [B * T, D] }, w: { shape: [B, T] } },
  wrt: ["x"],
  build: ({ x, w }) => pool(x!, w!),
  reference({ x, w }) {
    const y = new Float64Array(B * D);
    for (let n = 0; n < B * T; n++) {
      for (let d = 0; d < D; d++) y[Math.floor(n / T) * D + d]! += w![n]! * x![n * D + d]!;
    }
    return y;
  },
  tolerance: 1e-6, // sums of at most 70 products in f32
  ...more,
});

opTable(
  "pool",
  classes.flatMap(({ device, label }) => [
    poolCase(1, 1, 1, { device, name: `one element ${label}` }),
    poolCase(3, 7, 5, { device, name: `[3 x 7 x 5] ${label}` }),
    poolCase(2, 70, 64, { device, name: `[2 x 70 x 64] ${label}` }),
    poolCase(5, 33, 36, { device: { ...device, maxBinding: 8192 }, name: `bindings of 8 KiB ${label}` }),
  ]),
);

Deno.test("pool: shapes are checked", () => {
  const graph = new Graph();
  const x = graph.leaf("input", "x", [6, 2]), w = graph.leaf("input", "w", [2, 4]);
  assertThrows(() => pool(x, w), ShapeError, "B·T=8");
});
