import { assert, assertEquals, assertThrows } from "@std/assert";
import { random, randomKey } from "../../src/core/random.ts";
import { encodeScalars, SCALARS_WORDS } from "../../src/core/scalars.ts";
import { Graph } from "../../src/graph/graph.ts";
import { dropout, dropThreshold } from "../../src/ops/dropout.ts";
import { type OpCase, opTable } from "./harness.ts";

/** The factors of the mask, from the TypeScript generator. */
function mask(count: number, seed: number, step: number, stream: number, p: number): Float64Array {
  const key = randomKey(seed, step, stream);
  return Float64Array.from({ length: count }, (_, i) => random(key, i) >= dropThreshold(p) ? 1 / (1 - p) : 0);
}

const shapes = [[1], [7], [3, 5], [130, 67]] as const; // the last needs nine workgroups
const dropCase = (shape: readonly number[], seed: number, step: number, stream: number, p: number): OpCase => ({
  op: "dropout",
  name: `[${shape}] seed ${seed}, step ${step}, stream ${stream}, p ${p}`,
  inputs: {
    x: { shape },
    scalars: { shape: [SCALARS_WORDS], dtype: "u32", values: encodeScalars({ seed, step }) },
  },
  wrt: ["x"],
  build: ({ x, scalars }) => dropout(x!, scalars!, { p, stream }),
  reference: ({ x }) => {
    const kept = mask(x!.length, seed, step, stream, p);
    return x!.map((v, i) => v * kept[i]!);
  },
  tolerance: 2e-7, // one rounding of the factor, one of the product
});

const cases: OpCase[] = [
  ...shapes.map((shape) => dropCase(shape, 42, 3, 1, 0.1)),
  dropCase([130, 67], 4294967295, 4294967295, 4294967295, 0.5),
  dropCase([130, 67], 0, 0, 0, 0.999),
  { ...dropCase([37, 101], 1, 2, 3, 0.3), name: "above one binding (forced to 4 KiB)", device: { maxBinding: 4096 } },
];

opTable("dropout", cases);

Deno.test("dropout: the mask keeps the mean, and seed, step and stream change it", () => {
  const count = 100_000, p = 0.2;
  const masks = [[1, 0, 0], [2, 0, 0], [1, 1, 0], [1, 0, 1]].map(([seed, step, stream]) =>
    mask(count, seed!, step!, stream!, p)
  );
  const deviation = Math.sqrt(p / (1 - p) / count); // of the mean of the factors
  for (const m of masks) {
    const mean = m.reduce((a, b) => a + b, 0) / count;
    const variance = m.reduce((a, b) => a + (b - 1) ** 2, 0) / count;
    assert(Math.abs(mean - 1) < 4 * deviation, `mean ${mean}`);
    assert(Math.abs(variance - p / (1 - p)) < 0.01, `variance ${variance}`);
  }
  // Independent masks agree on a share p² + (1 - p)² of the elements.
  for (const m of masks.slice(1)) {
    const same = m.reduce((n, v, i) => n + (v === masks[0]![i] ? 1 : 0), 0) / count;
    assert(Math.abs(same - (p * p + (1 - p) * (1 - p))) < 0.01, `agreement ${same}`);
  }
});

Deno.test("dropout: p = 0 is no op; settings that make no sense are refused", () => {
  const graph = new Graph();
  const x = graph.leaf("input", "x", [4]);
  const scalars = graph.leaf("input", "scalars", [SCALARS_WORDS], { dtype: "u32" });
  assertEquals(dropout(x, scalars, { p: 0, stream: 0 }), x);
  assertEquals(graph.nodes.length, 0);
  for (const p of [-0.1, 1, NaN]) {
    assertThrows(() => dropout(x, scalars, { p, stream: 0 }), RangeError, `received ${p}`);
  }
  assertThrows(() => dropout(x, scalars, { p: 0.1, stream: 0.5 }), RangeError, "received 0.5");
  assertThrows(() => dropout(x, x, { p: 0.1, stream: 0 }), TypeError, "scalars must be");
});
