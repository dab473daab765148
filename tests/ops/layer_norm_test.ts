import { layerNorm } from "../../src/ops/layer_norm.ts";
import { type Numbers, type OpCase, opTable } from "./harness.ts";
import { classes, constant, rowsOf } from "./rows.ts";

const eps = 1e-5;

function reference({ x, w, b }: Readonly<Record<string, Numbers>>): Numbers {
  const D = w!.length;
  return rowsOf(x!, D, (row) => {
    const mean = row.reduce((sum, v) => sum + v, 0) / D;
    const r = 1 / Math.sqrt(row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / D + eps);
    return row.map((v, d) => (v - mean) * r * w![d]! + b![d]!);
  });
}

const layerCase = (N: number, D: number, more: Partial<OpCase> = {}): OpCase => ({
  op: "layerNorm",
  name: `[${N} x ${D}]`,
  inputs: { x: { shape: [N, D] }, w: { shape: [D] }, b: { shape: [D] } },
  wrt: ["x", "w", "b"],
  build: ({ x, w, b }) => layerNorm(x!, w!, b!, { eps }),
  reference,
  tolerance: 2e-6, // rounding of sums in f32; the figures seen are 2e-7
  ...more,
});

const sizes = [[5, 7], [2, 31], [7, 32], [3, 36], [66, 64], [5, 768]] as const;

const cases: OpCase[] = classes.flatMap(({ device, label }) => [
  ...sizes.map(([N, D]) => layerCase(N, D, { device, name: `[${N} x ${D}] ${label}` })),
  // Rows of one or two numbers are -1, 0 and 1 after normalization: their gradient for x is rounding only.
  layerCase(3, 1, { device, name: `[3 x 1] ${label}`, wrt: ["w", "b"] }),
  layerCase(3, 2, { device, name: `[3 x 2] ${label}`, wrt: ["w", "b"] }),
  layerCase(1, 16384, { device, name: `[1 x 16384] ${label}: a loop, not registers` }),
  layerCase(1, 4999, { device, name: `[1 x 4999] ${label}: a loop over single numbers` }),
  layerCase(200, 8, { device: { ...device, maxBinding: 4096 }, name: `[200 x 8] ${label}, bindings of 4 KiB` }),
]);
for (const value of [0, 3, 1e-20, 1e18]) {
  cases.push(
    ...classes.map(({ device, label }) =>
      layerCase(3, 72, {
        device,
        name: `rows of ${value} ${label}`,
        inputs: {
          x: { shape: [3, 72], values: constant(216, value) },
          w: { shape: [72] },
          b: { shape: [72] },
        },
        // Around a constant row no difference of step 1e-5 is small beside sqrt(eps) = 3e-3.
        wrt: ["w", "b"],
      })
    ),
  );
}
cases.push({
  ...layerCase(2, 64, { name: "a row around 1e18, another around 1000 with deviation 1" }),
  inputs: {
    x: { shape: [2, 64], values: Array.from({ length: 128 }, (_, i) => i < 64 ? 1e18 * Math.sin(i) : 1000 + i % 3) },
    w: { shape: [64] },
    b: { shape: [64] },
  },
  wrt: [],
});

opTable("layerNorm", cases);
