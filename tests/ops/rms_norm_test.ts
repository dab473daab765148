import { rmsNorm } from "../../src/ops/rms_norm.ts";
import { type Numbers, type OpCase, opTable } from "./harness.ts";
import { classes, constant, rowsOf } from "./rows.ts";

const eps = 1e-5;

const reference = (offset: boolean) => ({ x, w }: Readonly<Record<string, Numbers>>): Numbers => {
  const D = w!.length;
  return rowsOf(x!, D, (row) => {
    const r = 1 / Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / D + eps);
    return row.map((v, d) => v * r * (w![d]! + (offset ? 1 : 0)));
  });
};

const rmsCase = (N: number, D: number, more: Partial<OpCase> & { offset?: boolean } = {}): OpCase => ({
  op: "rmsNorm",
  name: `[${N} x ${D}]`,
  inputs: { x: { shape: [N, D] }, w: { shape: [D] } },
  wrt: ["x", "w"],
  build: ({ x, w }) => rmsNorm(x!, w!, { eps, offset: more.offset ?? false }),
  reference: reference(more.offset ?? false),
  tolerance: 1e-6, // rounding of sums in f32; the figures seen are 2e-7
  ...more,
});

// One number, a prime, vectors that leave lanes idle, a full pass, one more, and rows too long for registers.
const sizes = [[3, 2], [5, 7], [2, 31], [7, 32], [3, 36], [66, 64], [5, 768]] as const;

const cases: OpCase[] = classes.flatMap(({ device, label }) => [
  ...sizes.map(([N, D]) => rmsCase(N, D, { device, name: `[${N} x ${D}] ${label}` })),
  // Of one number only its sign is left: the gradient for x is a difference of rounding errors.
  rmsCase(3, 1, { device, name: `[3 x 1] ${label}`, wrt: ["w"] }),
  rmsCase(1, 16384, { device, name: `[1 x 16384] ${label}: a loop, not registers` }),
  rmsCase(1, 4999, { device, name: `[1 x 4999] ${label}: a loop over single numbers` }),
  rmsCase(130, 36, { device, name: `[130 x 36] ${label}, weight stored as an offset from one`, offset: true }),
  // Heads normed by themselves: 7 rows of 3 heads, and enough rows for two passes of the weight's gradient.
  ...([[7, 3, 36], [65, 4, 16]] as const).map(([N, heads, D]) =>
    rmsCase(N, D, {
      device,
      name: `[${N} x ${heads}·${D}] ${label}`,
      inputs: { x: { shape: [N, heads * D] }, w: { shape: [D] } },
    })
  ),
  rmsCase(50, 8, {
    device: { ...device, maxBinding: 4096 },
    name: `[50 x 4·8] ${label}, bindings of 4 KiB`,
    inputs: { x: { shape: [50, 32] }, w: { shape: [8] } },
  }),
  rmsCase(200, 8, { device: { ...device, maxBinding: 4096 }, name: `[200 x 8] ${label}, bindings of 4 KiB` }),
]);
for (const value of [0, 1, 1e-20, 1e18]) {
  cases.push(
    ...classes.map(({ device, label }) =>
      rmsCase(3, 64, {
        device,
        name: `rows of ${value} ${label}`,
        inputs: { x: { shape: [3, 64], values: constant(192, value) }, w: { shape: [64] } },
        // Differences of a reference at 1e18 are rounding only.
        wrt: value === 1e18 ? [] : ["x", "w"],
      })
    ),
  );
}

opTable("rmsNorm", cases);
