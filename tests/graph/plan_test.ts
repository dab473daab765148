import { assert, assertEquals } from "@std/assert";
import { bytes } from "../../src/core/dims.ts";
import { defineOp, Graph, type V1, type Value, type Values } from "../../src/graph/graph.ts";
import { plan } from "../../src/graph/plan.ts";
import { guaranteed } from "../../src/graph/target.ts";
import { verify } from "./verify_plan.ts";

interface Sizes {
  readonly sizes: readonly number[];
}

/** An op with outputs of the sizes given; it has no kernels, as plans are made without a GPU. */
const madeOp = defineOp<Sizes, Values, Values>({
  name: "made",
  infer: (_, { sizes }) => sizes.map((n) => ({ shape: [n], dtype: "f32" })),
  kernels: () => [],
});

function made(graph: Graph, inputs: Values, ...sizes: number[]): Values {
  return graph.add(madeOp, inputs, { sizes });
}

Deno.test("plan: a chain needs two buffers, whatever its length", () => {
  const graph = new Graph();
  let x: Value = graph.leaf("input", "x", [64]);
  for (let i = 0; i < 50; i++) [x] = made(graph, [x], 64) as V1;
  assertEquals(verify(graph), 2 * 256);
  assertEquals(plan(graph).bufferBytes, [256, 256]);
  assertEquals(verify(graph, { keep: graph.nodes.map((node) => node.outputs[0]) }), 50 * 256);
});

Deno.test("plan: a value that is read late keeps its place", () => {
  const graph = new Graph();
  const [early] = made(graph, [graph.leaf("input", "x", [8])], 8);
  let y = early!;
  for (let i = 0; i < 5; i++) y = made(graph, [y], 8 + i)[0]!;
  made(graph, [y, early!], 4);
  verify(graph);
});

Deno.test("plan: values placed in resident storage take no memory", () => {
  const graph = new Graph();
  const flat = graph.leaf("state", "flat", [512]);
  const [a] = made(graph, [graph.leaf("input", "x", [8])], 64);
  const [b] = made(graph, [a!], 64);
  graph.place(b!, { parent: flat, offset: 64 });
  assertEquals([...plan(graph, { keep: [b!] }).spotOf.keys()], [a]);
  assertEquals(verify(graph, { keep: [b!] }), 256);
});

Deno.test("plan: an empty graph needs nothing", () => {
  assertEquals(plan(new Graph()), { spotOf: new Map(), bufferBytes: [], naiveBytes: 0, lowerBytes: 0 });
});

Deno.test("plan: what exists is filled before anything is added", () => {
  const chain = (n: number) => {
    const graph = new Graph();
    let x: Value = graph.leaf("input", "x", [n]);
    for (let i = 0; i < 6; i++) [x] = made(graph, [x], n) as V1;
    return graph;
  };
  // In the other order, in one buffer of two, in none as both are too small.
  assertEquals(plan(chain(128), { arena: [1024, 1024] }).bufferBytes, [512, 512]);
  assertEquals(plan(chain(128), { arena: [1024] }).bufferBytes, [512, 512]);
  assertEquals(plan(chain(128), { arena: [256, 256] }).bufferBytes, [0, 0, 512, 512]);
  verify(chain(128), { arena: [1024] });
});

Deno.test("plan: no buffer exceeds the device's largest", () => {
  const graph = new Graph({ ...guaranteed, maxBuffer: 1024 });
  const values = Array.from({ length: 9 }, (_, i) => made(graph, [graph.leaf("input", `x${i}`, [8])], 128)[0]!);
  made(graph, values, 8);
  verify(graph);
  assertEquals(plan(graph).bufferBytes.length, 6); // two of 512 bytes each, and the output
});

Deno.test("plan: 200 random graphs obey the definition", () => {
  let state = 12345;
  const random = (n: number) => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) % n; // any spread will do
  for (let round = 0; round < 200; round++) {
    const graph = new Graph(), most = round % 2 === 0 ? 5000 : 500_000; // few bytes are not worth a search
    const pool: Value[] = [graph.leaf("input", "x", [1 + random(99)])];
    for (let i = 0; i < 5 + random(25); i++) {
      const inputs = Array.from({ length: 1 + random(3) }, () => pool[random(pool.length)]!);
      pool.push(...made(graph, inputs, ...Array.from({ length: 1 + random(3) }, () => 1 + random(most))));
    }
    const keep = pool.filter((v) => v.role === "temp" && random(8) === 0);
    const total = verify(graph, { keep });
    assert(total <= graph.values.reduce((sum, v) => sum + Math.ceil(bytes(v) / 256) * 256, 0));
    verify(graph, { keep, arena: plan(graph).bufferBytes.map((n) => Math.ceil(n / 2)) });
  }
});
