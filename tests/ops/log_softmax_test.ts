import { logSoftmax } from "../../src/ops/softmax.ts";
import { type Numbers, type OpCase, opTable } from "./harness.ts";
import { classes, rowsOf } from "./rows.ts";

const reference = (D: number) => ({ x }: Readonly<Record<string, Numbers>>): Numbers =>
  rowsOf(x!, D, (row) => {
    const most = Math.max(...row);
    const log = Math.log(row.reduce((sum, v) => sum + Math.exp(v - most), 0));
    return row.map((v) => v - most - log);
  });

const logCase = (N: number, D: number, more: Partial<OpCase> = {}): OpCase => ({
  op: "log_softmax",
  name: `[${N} x ${D}]`,
  inputs: { x: { shape: [N, D] } },
  wrt: ["x"],
  build: ({ x }) => logSoftmax(x!),
  reference: reference(D),
  tolerance: 1e-6, // the driver's exp is 1e-7 off
  ...more,
});

const sizes = [[3, 2], [5, 7], [3, 36], [1, 5003], [1, 5004]] as const;
const large = { x: { shape: [1, 6], values: [1e4, -1e4, 0, 9999, -1e4, 5] } };

const cases: OpCase[] = classes.flatMap(({ device, label }) => [
  ...sizes.map(([N, D]) => logCase(N, D, { device, name: `[${N} x ${D}] ${label}` })),
  logCase(1, 6, { device, name: `±1e4 ${label}`, inputs: large, wrt: [] }),
]);

opTable("log_softmax", cases);
