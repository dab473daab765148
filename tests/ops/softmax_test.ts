import { softmax } from "../../src/ops/softmax.ts";
import { type Numbers, type OpCase, opTable } from "./harness.ts";
import { classes, constant, rowsOf } from "./rows.ts";

const reference = (D: number) => ({ x }: Readonly<Record<string, Numbers>>): Numbers =>
  rowsOf(x!, D, (row) => {
    const most = Math.max(...row);
    const terms = row.map((v) => Math.exp(v - most));
    const sum = terms.reduce((a, b) => a + b, 0);
    return terms.map((t) => t / sum);
  });

const softmaxCase = (N: number, D: number, more: Partial<OpCase> = {}): OpCase => ({
  op: "softmax",
  name: `[${N} x ${D}]`,
  inputs: { x: { shape: [N, D] } },
  wrt: ["x"],
  build: ({ x }) => softmax(x!),
  reference: reference(D),
  tolerance: 1e-6, // the driver's exp is 1e-7 off
  ...more,
});

const sizes = [[3, 2], [5, 7], [2, 31], [7, 32], [3, 36], [66, 64], [5, 768], [1, 5003], [1, 5004]] as const;
const few = (values: readonly number[]) => ({ x: { shape: [1, values.length], values } });

const cases: OpCase[] = classes.flatMap(({ device, label }) => [
  ...sizes.map(([N, D]) => softmaxCase(N, D, { device, name: `[${N} x ${D}] ${label}` })),
  softmaxCase(2, 1, { device, name: `one column ${label}`, wrt: [] }),
  softmaxCase(1, 6, { device, name: `±1e4 ${label}`, inputs: few([1e4, -1e4, 0, 9999, -1e4, 5]), wrt: [] }),
  softmaxCase(1, 4, { device, name: `one huge ${label}`, inputs: few([1e30, 0, 1, 2]), wrt: [] }),
  softmaxCase(1, 8, { device, name: `all masked alike ${label}`, inputs: few([...constant(8, -3e38)]), wrt: [] }),
  softmaxCase(1, 50257, {
    device,
    name: `all equal, [1 x 50257] ${label}`,
    inputs: few([...constant(50257, 2)]),
    wrt: [],
  }),
  softmaxCase(300, 12, { device: { ...device, maxBinding: 4096 }, name: `[300 x 12] ${label}, bindings of 4 KiB` }),
]);

opTable("softmax", cases);
