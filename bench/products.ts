// The family "matmul": products of bench/matmul.ts as rows.
import type { Context } from "./kernel.ts";
import { benchMatmul, matmulShapes } from "./matmul.ts";
import { type Row, shareOf } from "./row.ts";

/** Shapes that only a GPU gets through in reasonable time. */
const LARGE = [
  { name: "2048³ nn", M: 2048, N: 2048, K: 2048 },
  { name: "4096³ nn", M: 4096, N: 4096, K: 4096 },
  { name: "4096³ nt", M: 4096, N: 4096, K: 4096, tb: true },
  { name: "4096³ tn", M: 4096, N: 4096, K: 4096, ta: true },
  { name: "4096x768·3072 nn", M: 4096, N: 3072, K: 768 },
  { name: "4096x768·3072 nt", M: 4096, N: 3072, K: 768, tb: true },
  { name: "4096x768·3072 tn", M: 4096, N: 3072, K: 768, ta: true },
  { name: "768x4096·3072 tn", M: 768, N: 3072, K: 4096, ta: true },
  { name: "1024x3072·768 nn", M: 1024, N: 768, K: 3072 },
  { name: "1024x3072·768 nt", M: 1024, N: 768, K: 3072, tb: true },
  { name: "1024x3072·768 tn", M: 1024, N: 768, K: 3072, ta: true },
];

/** Measure matrix products. */
export async function benchProducts({ device, peaks, quick, report }: Context): Promise<Row[]> {
  const shapes = quick
    ? [{ name: "128³ nn", M: 128, N: 128, K: 128 }]
    : device.software
    ? matmulShapes
    : [...matmulShapes, ...LARGE];
  const rows: Row[] = [];
  for (const shape of shapes) {
    const [found] = await benchMatmul(device, { shapes: [shape], rounds: quick ? 2 : 5 });
    const { name, M, K, N, error, median, best, gflops } = found!;
    const row: Row = {
      family: "matmul",
      name,
      shape: `${M}x${K}·${N}`,
      error,
      median,
      best,
      rate: gflops,
      unit: "GFLOP/s",
      share_of_peak: shareOf(peaks, gflops, "GFLOP/s"),
    };
    rows.push(row);
    report(row);
  }
  return rows;
}
