// What heads need beside cross-entropy: binary cross-entropy, a column of token logits as rows, a loss times a scalar.
import { assertThrows } from "@std/assert";
import { ShapeError } from "../../src/core/errors.ts";
import { Graph } from "../../src/graph/graph.ts";
import { bceWithLogits } from "../../src/ops/bce.ts";
import { columnAsRows } from "../../src/ops/columns.ts";
import { crossEntropy } from "../../src/ops/cross_entropy.ts";
import { detach } from "../../src/ops/detach.ts";
import { multiply } from "../../src/ops/elementwise.ts";
import { scaleByWord } from "../../src/ops/scale_by.ts";
import { sum } from "../../src/ops/sum.ts";
import { normal, type Numbers, type OpCase, opTable } from "./harness.ts";
import { classes } from "./rows.ts";

const one = (x: number): Numbers => Float64Array.of(x);
const bits = (count: number) => normal(count, 5).map((x) => x > 0 ? 1 : 0);
const cases: OpCase[] = [];

for (const { device, label } of classes) {
  for (const [shape, scale] of [[[1, 1], 1], [[3, 5], 1], [[65, 7], 1], [[2, 6], 40]] as const) {
    cases.push({
      op: "bce",
      name: `[${shape}] times ${scale} ${label}`,
      inputs: { x: { shape, scale }, t: { shape, values: bits(shape[0] * shape[1]) } },
      wrt: ["x"],
      build: ({ x, t }) => bceWithLogits(x!, t!),
      // log(1 + exp(−x)) or log(1 + exp(x)), whichever does not overflow, is exact in f64 up to |x| = 700.
      reference: ({ x, t }) =>
        one(x!.reduce((s, v, i) => s + (t![i] === 1 ? Math.log1p(Math.exp(-v)) : Math.log1p(Math.exp(v))), 0)),
      device,
    });
  }
  for (
    const [B, T, C, first, visible] of [[1, 1, 2, 0, 1], [3, 5, 2, 2, 4], [2, 67, 3, 0, 67], [5, 32, 2, 3, 11]] as const
  ) {
    const seen = ({ x }: Readonly<Record<string, Numbers>>) =>
      Float64Array.from({ length: B * T }, (_, n) => n % T >= first && n % T < visible ? x![n * C + C - 1]! : 0);
    const inputs = {
      x: { shape: [B * T, C] },
      columns: { shape: [2], dtype: "u32", values: [first, visible] },
    } as const;
    const hide = {
      shape: [B, T],
      values: Array.from({ length: B * T }, (_, n) => n % T >= first && n % T < visible ? 1 : 0),
    };
    cases.push({
      op: "columnAsRows",
      name: `${B} x ${T}, last of ${C} columns, ${first} to ${visible} seen ${label}`,
      inputs: { ...inputs, hide },
      wrt: ["x"],
      build: ({ x, columns, hide }) => multiply(columnAsRows(x!, columns!, { column: C - 1, T }), hide!),
      reference: seen,
      tolerance: 1e-7, // numbers are moved, not computed
      device,
    });
    // The loss of one position is zero.
    if (T === 1) continue;
    cases.push({
      op: "columnAsRows",
      name: `${B} x ${T}, softmax over ${first} to ${visible} ${label}`,
      inputs: {
        ...inputs,
        labels: {
          shape: [B],
          dtype: "u32",
          values: Array.from({ length: B }, (_, b) => first + b % (visible - first)),
        },
      },
      wrt: ["x"],
      build: ({ x, columns, labels }) => crossEntropy(columnAsRows(x!, columns!, { column: 0, T }), labels!),
      reference: ({ x, labels }) =>
        one(
          [...labels!].reduce((s, label, b) => {
            const z = Array.from({ length: visible - first }, (_, t) => x![(b * T + first + t) * C]!);
            return s + Math.log(z.reduce((a, v) => a + Math.exp(v), 0)) - z[label - first]!;
          }, 0) / B,
        ),
      device,
    });
  }
}
cases.push({
  op: "columnAsRows",
  name: "operands above one binding (forced to 4 KiB)",
  inputs: { x: { shape: [7 * 300, 2] }, columns: { shape: [2], dtype: "u32", values: [0, 300] } },
  wrt: ["x"],
  build: ({ x, columns }) => columnAsRows(x!, columns!, { column: 1, T: 300 }),
  reference: ({ x }) => x!.filter((_, i) => i % 2 === 1),
  tolerance: 1e-7,
  device: { maxBinding: 4096 },
});
for (const shape of [[1], [130, 67]] as const) {
  cases.push({
    op: "scaleByWord",
    name: `[${shape}]`,
    inputs: { x: { shape }, s: { shape: [9], values: [9, 9, 9, 9, 9, -0.7, 9, 9, 9] } },
    wrt: ["x"],
    build: ({ x, s }) => scaleByWord(x!, { value: s!, word: 5 }),
    reference: ({ x, s }) => x!.map((v) => v * s![5]!),
    tolerance: 1e-6, // one rounding
  });
}
cases.push({
  op: "detach",
  name: "x times x as a constant: the gradient of one of them",
  inputs: { x: { shape: [5, 7] }, y: { shape: [5, 7] } },
  wrt: ["x"],
  build: ({ x, y }) => sum(multiply(x!, detach(y!))),
  reference: ({ x, y }) => one(x!.reduce((s, v, i) => s + v * y![i]!, 0)),
});

opTable("losses of heads", cases);

Deno.test("columnAsRows: rows that are no whole sequences, and columns that are not there, are refused", () => {
  const graph = new Graph();
  const x = graph.leaf("input", "x", [10, 2]), columns = graph.leaf("input", "columns", [2], { dtype: "u32" });
  assertThrows(() => columnAsRows(x, columns, { column: 0, T: 3 }), ShapeError, "columnAsRows");
  assertThrows(() => columnAsRows(x, columns, { column: 2, T: 5 }), ShapeError, "columnAsRows");
  const reals = graph.leaf("input", "reals", [2]);
  assertThrows(() => columnAsRows(x, reals, { column: 1, T: 5 }), TypeError, "u32");
  assertThrows(() => columnAsRows(x, x, { column: 1, T: 5 }), ShapeError, "columns");
});
