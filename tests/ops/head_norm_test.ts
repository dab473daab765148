import { headNorm } from "../../src/ops/head_norm.ts";
import { type Numbers, type OpCase, opTable } from "./harness.ts";
import { classes, rowsOf } from "./rows.ts";

const eps = 1e-5;

const headCase = (N: number, [H, K, E]: readonly [number, number, number], more: Partial<OpCase>): OpCase => ({
  op: "headNorm",
  inputs: { x: { shape: [N, (H + 2 * K) * E] }, wq: { shape: [E] }, wk: { shape: [E] } },
  wrt: ["x"],
  build: ({ x, wq, wk }) => headNorm(x!, wq!, wk!, { H, K, E, eps }),
  reference({ x, wq, wk }: Readonly<Record<string, Numbers>>) {
    let n = 0;
    return rowsOf(x!, E, (row) => {
      const head = n++ % (H + 2 * K);
      if (head >= H + K) return row;
      const r = 1 / Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / E + eps);
      return row.map((v, d) => v * r * (head < H ? wq! : wk!)[d]!);
    });
  },
  tolerance: 1e-6, // rounding of sums in f32, as rmsNorm
  name: "",
  ...more,
});

opTable(
  "headNorm",
  classes.flatMap(({ device, label }) => [
    headCase(5, [4, 2, 16], { device, name: `[5 x (4 + 2 + 2)·16] ${label}` }),
    headCase(2, [3, 3, 128], { device, name: `[2 x (3 + 3 + 3)·128] ${label}` }),
    headCase(3, [2, 1, 7], { device, name: `[3 x (2 + 1 + 1)·7] ${label}: odd heads` }),
    // 64 heads a part: cuts fall inside of rows of five heads.
    headCase(70, [3, 1, 16], {
      device: { ...device, maxBinding: 4096 },
      name: `[70 x (3 + 1 + 1)·16] ${label}, bindings of 4 KiB`,
    }),
  ]),
);
