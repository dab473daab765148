import { add } from "../../src/ops/elementwise.ts";
import { embedding, gatherRows } from "../../src/ops/embedding.ts";
import { matmul } from "../../src/ops/matmul.ts";
import { type Numbers, type OpCase, opTable } from "./harness.ts";

/** Ids as texts have them: few are frequent, most are rare. */
const zipf = (N: number, V: number) =>
  Float64Array.from({ length: N }, (_, n) => Math.floor(V ** (((n * 7919) % 1009) / 1009)) % V);

const lookUp = (D: number) => ({ table, ids }: Readonly<Record<string, Numbers>>): Numbers =>
  Float64Array.from({ length: ids!.length * D }, (_, i) => table![ids![Math.floor(i / D)]! * D + i % D] ?? 0);

const lookCase = (name: string, N: number, V: number, D: number, more: Partial<OpCase> = {}): OpCase => ({
  op: "embedding",
  name: `${name}: [${V} x ${D}] at ${N}`,
  inputs: { table: { shape: [V, D] }, ids: { shape: [N], dtype: "u32", values: zipf(N, V) } },
  wrt: ["table"],
  build: ({ table, ids }) => embedding(table!, ids!),
  reference: lookUp(D),
  ...more,
});

/** A table with two more uses beside a lookup: its gradient is made by one of them, and the rows are added in place. */
const tiedCase = (name: string, N: number, V: number, D: number, more: Partial<OpCase> = {}): OpCase => ({
  op: "embedding, tied",
  name: `${name}: [${V} x ${D}] at ${N}`,
  inputs: {
    table: { shape: [V, D] },
    ids: { shape: [N], dtype: "u32", values: zipf(N, V) },
    others: { shape: [N], dtype: "u32", values: zipf(N, V).map((id, n) => (id + n) % V) },
  },
  wrt: ["table"],
  build: ({ table, ids, others }) =>
    matmul(add(embedding(table!, ids!), embedding(table!, others!)), table!, { tb: true }),
  reference: ({ table, ids, others }) => {
    const x = lookUp(D)({ table: table!, ids: ids! }), z = lookUp(D)({ table: table!, ids: others! });
    return Float64Array.from({ length: N * V }, (_, i) => {
      const n = Math.floor(i / V), v = i % V;
      return Array.from({ length: D }, (_, d) => (x[n * D + d]! + z[n * D + d]!) * table![v * D + d]!)
        .reduce((a, b) => a + b, 0);
    });
  },
  ...more,
});

const cases: OpCase[] = [
  lookCase("one", 1, 1, 1),
  lookCase("odd", 7, 5, 3),
  lookCase("a vector a row", 33, 17, 4),
  lookCase("rows above one workgroup", 9, 11, 300),
  lookCase("several workgroups of positions", 1021, 97, 12),
  lookCase("several blocks of positions", 4500, 30, 4, { tolerance: 1e-5 }),
  lookCase("the same id everywhere", 100, 5, 8, {
    inputs: { table: { shape: [5, 8] }, ids: { shape: [100], dtype: "u32", values: new Float64Array(100).fill(3) } },
  }),
  lookCase("ids outside of the table give zeros", 5, 4, 6, {
    inputs: {
      table: { shape: [4, 6] },
      ids: { shape: [5], dtype: "u32", values: [3, 4, 0, 4294967295, 3] },
    },
  }),
  lookCase("table and positions above one binding (forced to 4 KiB)", 300, 200, 8, { device: { maxBinding: 4096 } }),
  lookCase("the same, single numbers", 300, 200, 7, { device: { maxBinding: 4096 } }),
  tiedCase("odd", 7, 5, 3),
  tiedCase("several workgroups of positions", 70, 20, 12),
  tiedCase("several blocks of positions", 2100, 5, 3),
  tiedCase("above one binding (forced to 4 KiB)", 130, 130, 8, { device: { maxBinding: 4096 } }),
  tiedCase("kernels for GPUs", 70, 9, 12, { device: { kind: "gpu" } }),
  {
    op: "gatherRows",
    name: "hidden states [12 x 8] at 3 positions",
    inputs: { x: { shape: [12, 8] }, rows: { shape: [3], dtype: "u32", values: [3, 7, 11] } },
    wrt: ["x"],
    build: ({ x, rows }) => gatherRows(x!, rows!),
    reference: ({ x, rows }) => lookUp(8)({ table: x!, ids: rows! }),
  },
];

opTable("embedding", cases);
