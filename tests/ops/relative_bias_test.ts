import { assertEquals } from "@std/assert";
import { embedding } from "../../src/ops/embedding.ts";
import { relativeBias, relativeBuckets } from "../../src/ops/relative_bias.ts";
import { type OpCase, opTable } from "./harness.ts";

const spread = (name: string, [T, S, H]: readonly [number, number, number], more: Partial<OpCase> = {}): OpCase => ({
  op: "relativeBias",
  name: `${name}: [${H}, ${T}, ${S}]`,
  inputs: { x: { shape: [T + S - 1, H] } },
  wrt: ["x"],
  build: ({ x }) => relativeBias(x!, { T, S }),
  reference: ({ x }) =>
    Float64Array.from({ length: H * T * S }, (_, i) => {
      const s = i % S, t = Math.floor(i / S) % T, h = Math.floor(i / S / T);
      return x![(s - t + T - 1) * H + h]!;
    }),
  ...more,
});

opTable("relative bias", [
  spread("one", [1, 1, 1]),
  spread("odd", [5, 5, 3]),
  spread("one row", [1, 9, 4]),
  spread("one key", [9, 1, 4]),
  spread("more keys than rows", [7, 12, 2]),
  spread("several workgroups", [20, 31, 6]),
  spread("above one binding (forced to 4 KiB)", [70, 13, 3], { device: { maxBinding: 4096 } }),
  {
    op: "relativeBias",
    name: "of a table by buckets, as T5 does",
    inputs: {
      table: { shape: [8, 4] },
      buckets: {
        shape: [21],
        dtype: "u32",
        values: relativeBuckets({ T: 11, S: 11 }, { buckets: 8, maxDistance: 16, bidirectional: true }),
      },
    },
    wrt: ["table"],
    build: ({ table, buckets }) => relativeBias(embedding(table!, buckets!), { T: 11, S: 11 }),
    reference: ({ table, buckets }) =>
      Float64Array.from({ length: 4 * 11 * 11 }, (_, i) => {
        const s = i % 11, t = Math.floor(i / 11) % 11, h = Math.floor(i / 121);
        return table![buckets![s - t + 10]! * 4 + h]!;
      }),
  },
]);

Deno.test("buckets of distances are those of T5's paper and code", () => {
  // T5: 32 buckets, 128. By hand from 8 + floor(8·ln(n/8)/ln(16)): each logarithmic bucket begins at 8·2^(k/2).
  const T5 = { buckets: 32, maxDistance: 128, bidirectional: true };
  const both = relativeBuckets({ T: 201, S: 201 }, T5);
  const at = (distance: number) => both[distance + 200]!;
  assertEquals([0, -1, -7, -8, -11, -12, -15, -16, -22, -23].map(at), [0, 1, 7, 8, 8, 9, 9, 10, 10, 11]);
  assertEquals([-31, -32, -45, -46, -63, -64, -90, -91, -200].map(at), [11, 12, 12, 13, 13, 14, 14, 15, 15]);
  assertEquals([1, 7, 8, 12, 64, 200].map(at), [17, 23, 24, 25, 30, 31]);
  // A decoder: 16 single ones, then 16 + floor(16·ln(n/16)/ln(8)); what is ahead shares bucket 0.
  const causal = relativeBuckets({ T: 201, S: 3 }, { ...T5, bidirectional: false });
  const back = (distance: number) => causal[distance + 200]!;
  assertEquals([2, 1, 0, -1, -15, -16, -18, -19, -45, -46, -127, -128].map(back), [
    ...[0, 0, 0, 1, 15, 16, 16, 17, 23, 24, 31, 31],
  ]);
});
