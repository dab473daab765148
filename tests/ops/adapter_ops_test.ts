// Ops of fine-tuning methods: factors per column and row, columns of a matrix, positions in front, DoRA's factors.
import { assertEquals, assertThrows } from "@std/assert";
import { ShapeError } from "../../src/core/errors.ts";
import { Graph } from "../../src/graph/graph.ts";
import { backward } from "../../src/ops/backward.ts";
import { sliceColumns } from "../../src/ops/slice_columns.ts";
import { doraLinear } from "../../src/ops/dora_linear.ts";
import { doraScale } from "../../src/ops/dora_scale.ts";
import { lead, leadAt } from "../../src/ops/lead.ts";
import { scaleColumns, scaleRows } from "../../src/ops/scale_columns.ts";
import { embeddingReplaced, replaceRows } from "../../src/ops/token_rows.ts";
import { transpose } from "../../src/ops/transpose.ts";
import { sum } from "../../src/ops/sum.ts";
import { type OpCase, opTable } from "./harness.ts";

const cases: OpCase[] = [];
const small = { maxBinding: 4096 };

for (const [N, D, device] of [[3, 7, {}], [70, 12, {}], [300, 12, small]] as const) {
  const scaled = { x: { shape: [N, D] }, c: { shape: [D] }, b: { shape: [D] } };
  cases.push({
    op: "scaleColumns",
    name: `[${N} x ${D}] with a bias ${JSON.stringify(device)}`,
    inputs: scaled,
    wrt: ["x", "c", "b"],
    build: ({ x, c, b }) => scaleColumns(x!, c!, b),
    reference: ({ x, c, b }) => x!.map((v, i) => v * c![i % D]! + b![i % D]!),
    device,
  });
  cases.push({
    op: "scaleRows",
    name: `[${N} x ${D}] ${JSON.stringify(device)}`,
    inputs: { x: { shape: [N, D] }, s: { shape: [N, 1] } },
    wrt: ["x", "s"],
    build: ({ x, s }) => scaleRows(x!, s!),
    reference: ({ x, s }) => x!.map((v, i) => v * s![Math.floor(i / D)]!),
    device,
  });
  for (const [at, width] of [[0, D - 3], [2, 3], [4, D === 7 ? 2 : 8]] as const) {
    cases.push({
      op: "sliceColumns",
      name: `${width} from ${at} of [${N} x ${D}] ${JSON.stringify(device)}`,
      inputs: { x: { shape: [N, D] } },
      wrt: ["x"],
      build: ({ x }) => sliceColumns(x!, { at, width }),
      reference: ({ x }) =>
        Float64Array.from({ length: N * width }, (_, i) => x![Math.floor(i / width) * D + at + i % width]!),
      device,
    });
  }
}
cases.push({
  op: "scaleColumns",
  name: "factors of another shape",
  inputs: { x: { shape: [5, 6] }, c: { shape: [1, 6] } },
  wrt: ["x", "c"],
  build: ({ x, c }) => scaleColumns(x!, c!),
  reference: ({ x, c }) => x!.map((v, i) => v * c![i % 6]!),
});

const leadCase = (B: number, T: number, P: number, C: number, W: number, options = {}, device = {}): OpCase => {
  const { column = 0, at = 0, width = W - at } = options as { column?: number; at?: number; width?: number };
  return {
    op: "lead",
    name: `${P} of ${T} in ${B} x ${C}, table ${W} ${JSON.stringify({ ...options, ...device })}`,
    inputs: { x: { shape: [B * T, C] }, table: { shape: [P, W] } },
    wrt: ["x", "table"],
    build: ({ x, table }) => lead(x!, table!, { T, ...options }),
    reference: ({ x, table }) =>
      x!.map((v, i) => {
        const t = Math.floor(i / C) % T, c = i % C - column;
        return t < P && c >= 0 && c < width ? table![t * W + at + c]! : v;
      }),
    tolerance: 1e-6, // sums of a few rows
    device,
  };
};
cases.push(
  leadCase(2, 5, 3, 8, 8),
  leadCase(3, 4, 4, 7, 7),
  leadCase(2, 6, 2, 24, 64, { column: 8, at: 16, width: 16 }),
  leadCase(2, 6, 2, 9, 10, { column: 2, at: 3, width: 5 }),
  leadCase(9, 23, 5, 12, 12, {}, small),
);
const positions = [0, 3, 1, 2, 7, 0];
cases.push({
  op: "lead",
  name: "positions that are given",
  inputs: {
    x: { shape: [6, 8] },
    table: { shape: [2, 16] },
    positions: { shape: [6], dtype: "u32", values: positions },
  },
  wrt: [],
  build: ({ x, table, positions }) => leadAt(x!, table!, { positions: positions!, at: 8 }),
  reference: ({ x, table }) =>
    x!.map((v, i) => {
      const t = positions[Math.floor(i / 8)]!;
      return t < 2 ? table![t * 16 + 8 + i % 8]! : v;
    }),
});

for (const [In, Out, R, transposed] of [[9, 5, 2, false], [16, 70, 4, true]] as const) {
  const W = (w: ArrayLike<number>, o: number, i: number) => w[transposed ? i * Out + o : o * In + i]!;
  const weight = { shape: transposed ? [In, Out] : [Out, In] };
  cases.push({
    op: "doraScale",
    name: `[${Out} x ${In}], rank ${R}${transposed ? ", transposed" : ""}`,
    inputs: {
      magnitude: { shape: [Out] },
      weight,

      a: { shape: [R, In], scale: 0.3 },
      b: { shape: [Out, R], scale: 0.3 },
      plus: { shape: [Out], values: new Float64Array(Out).fill(40) },
    },
    wrt: ["magnitude"],
    build: ({ magnitude, weight, a, b, plus }) =>
      doraScale({ magnitude: magnitude!, weight: weight!, square: plus!, a: a!, b: b! }, { transposed, scale: 1.5 }),
    reference: ({ magnitude, weight, a, b }) =>
      magnitude!.map((m, o) => {
        let square = 40;
        for (let i = 0; i < In; i++) {
          let delta = 0;
          for (let r = 0; r < R; r++) delta += 1.5 * b![o * R + r]! * a![r * In + i]!;
          square += (W(weight!, o, i) + delta) ** 2 - W(weight!, o, i) ** 2;
        }
        return m / Math.sqrt(square);
      }),
  });
}

for (const [N, In, Out, R, transposed, biased] of [[5, 9, 6, 2, false, true], [70, 16, 12, 4, true, false]] as const) {
  cases.push({
    op: "doraLinear",
    name: `[${N} x ${In}] to ${Out}, rank ${R}${transposed ? ", transposed" : ""}${biased ? ", with a bias" : ""}`,
    inputs: {
      x: { shape: [N, In] },
      w: { shape: transposed ? [In, Out] : [Out, In] },
      a: { shape: [R, In], scale: 0.3 },
      b: { shape: [Out, R] },
      c: { shape: [Out] },
      ...(biased ? { bias: { shape: [Out] } } : {}),
    },
    wrt: ["x", "a", "b", "c", ...(biased ? ["bias"] : [])],
    build: ({ x, w, a, b, c, bias }) =>
      doraLinear(x!, w!, { a: a!, b: b!, c: c! }, { transposed, scale: 1.5, ...(bias ? { bias } : {}) }),
    reference: ({ x, w, a, b, c, bias }) =>
      Float64Array.from({ length: N * Out }, (_, i) => {
        const n = Math.floor(i / Out), o = i % Out;
        let sum = 0;
        for (let k = 0; k < In; k++) {
          let weight = w![transposed ? k * Out + o : o * In + k]!;
          for (let r = 0; r < R; r++) weight += 1.5 * b![o * R + r]! * a![r * In + k]!;
          sum += weight * x![n * In + k]!;
        }
        return c![o]! * sum + (bias?.[o] ?? 0);
      }),
  });
}

for (const [N, D] of [[1, 5], [7, 12], [130, 3]] as const) {
  cases.push({
    op: "transpose",
    name: `[${N} x ${D}]`,
    inputs: { x: { shape: [N, D] } },
    wrt: ["x"],
    build: ({ x }) => transpose(x!),
    reference: ({ x }) => x!.map((_, i) => x![i % N * D + Math.floor(i / N)]!),
  });
}

// Rows 4, 0 and 6 of seven are replaced; a token outside of the table has a row of zeros.
const replaced = [4, 0, 6];
const tokens = [6, 1, 4, 4, 7, 0, 3];
const slot = (v: number) => replaced.indexOf(v) + 1;
for (const [D, device] of [[8, {}], [5, {}], [200, { maxBinding: 65536 }]] as const) {
  const V = D === 200 ? 130 : 7;
  const rows = {
    delta: { shape: [3, D] },
    slots: { shape: [V], values: Array.from({ length: V }, (_, v) => slot(v)) },
    rows: { shape: [3], values: replaced },
  };
  const at = (table: ArrayLike<number>, delta: ArrayLike<number>, v: number, d: number) =>
    slot(v) > 0 ? delta[(slot(v) - 1) * D + d]! : v < V ? table[v * D + d]! : 0;
  cases.push({
    op: "embeddingReplaced",
    name: `D = ${D} ${JSON.stringify(device)}`,
    inputs: { ...rows, table: { shape: [V, D] }, ids: { shape: [7], dtype: "u32", values: tokens } },
    wrt: ["table", "delta"],
    build: ({ table, ids, delta, slots, rows }) =>
      embeddingReplaced(table!, ids!, { delta: delta!, slots: slots!, rows: rows! }),
    reference: ({ table, delta }) =>
      Float64Array.from({ length: 7 * D }, (_, i) => at(table!, delta!, tokens[Math.floor(i / D)]!, i % D)),
    device,
  });
  cases.push({
    op: "replaceRows",
    name: `D = ${D} ${JSON.stringify(device)}`,
    inputs: { ...rows, w: { shape: [V, D] } },
    wrt: ["delta"],
    build: ({ w, delta, slots, rows }) => replaceRows(w!, { delta: delta!, slots: slots!, rows: rows! }),
    reference: ({ w, delta }) =>
      Float64Array.from({ length: V * D }, (_, i) => at(w!, delta!, Math.floor(i / D), i % D)),
    device,
  });
}

opTable("ops of methods", cases);

Deno.test("doraScale: the factors count as constants of A and B", () => {
  const graph = new Graph();
  const leaf = (name: string, shape: number[]) => graph.leaf("param", name, shape);
  const weight = graph.leaf("weight", "w", [4, 3]), square = graph.leaf("weight", "s", [4]);
  const [magnitude, a, b] = [leaf("m", [4]), leaf("a", [2, 3]), leaf("b", [4, 2])];
  const gradients = backward(graph, sum(doraScale({ magnitude, weight, square, a, b }, { scale: 1 })));
  assertEquals([...gradients.keys()], [magnitude]);
});

Deno.test("ops of methods: operands that do not fit are refused", () => {
  const graph = new Graph();
  const x = graph.leaf("input", "x", [6, 8]), table = graph.leaf("param", "t", [4, 8]);
  assertThrows(() => lead(x, table, { T: 3 }), ShapeError, "table");
  assertThrows(() => lead(x, table, { T: 4 }), ShapeError, "x");
  assertThrows(() => lead(x, table, { T: 6, column: 1 }), ShapeError);
  assertThrows(() => leadAt(x, table, { positions: x }), ShapeError, "positions");
  assertThrows(() => sliceColumns(x, { at: 4, width: 5 }), ShapeError);
  assertThrows(() => scaleColumns(x, table), ShapeError, "c must be");
  assertThrows(() => scaleRows(x, table), ShapeError, "s must be");
});
