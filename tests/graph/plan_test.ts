import { assert, assertEquals } from "@std/assert";
import { bytes } from "../../src/core/dims.ts";
import { defineOp, Graph, type Value, type Values } from "../../src/graph/graph.ts";
import { plan } from "../../src/graph/plan.ts";

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

/** Checks what every plan must obey, straight from the definition of being alive. */
function verify(graph: Graph, keep: readonly Value[]): void {
  const { slotOf, slotBytes, naiveBytes, lowerBytes } = plan(graph, keep);
  const temps = graph.nodes.flatMap((node, born) =>
    (node.outputs as Values).filter((v) => !graph.places.has(v)).map((v) => {
      const uses = graph.nodes.map((n, i) => (n.inputs as Values).includes(v) ? i : born);
      return { v, born, dies: keep.includes(v) ? Infinity : Math.max(born, ...uses) };
    })
  );
  assertEquals(slotOf.size, temps.length);
  for (const a of temps) {
    assert(slotBytes[slotOf.get(a.v)!]! >= bytes(a.v), `${a.v.name} does not fit its slot`);
    for (const b of temps) {
      if (a === b || slotOf.get(a.v) !== slotOf.get(b.v)) continue;
      // Dying at a node and being born there overlap: the node would read and write one buffer.
      assert(a.dies < b.born || b.dies < a.born, `values ${a.v.id} and ${b.v.id} share a slot while both are alive`);
    }
  }
  const alive = graph.nodes.map((_, i) =>
    temps.filter(({ born, dies }) => born <= i && i <= dies).reduce((sum, { v }) => sum + bytes(v), 0)
  );
  assertEquals(lowerBytes, Math.max(0, ...alive));
  assertEquals(naiveBytes, temps.reduce((sum, { v }) => sum + bytes(v), 0));
  const total = slotBytes.reduce((a, b) => a + b, 0);
  assert(lowerBytes <= total && total <= naiveBytes, `${lowerBytes} <= ${total} <= ${naiveBytes}`);
}

Deno.test("plan: a chain needs two slots, whatever its length", () => {
  const graph = new Graph();
  let x: Value = graph.leaf("input", "x", [100]);
  for (let i = 0; i < 50; i++) x = made(graph, [x], 100, i + 1)[0]!;
  verify(graph, []);
  const { slotBytes } = plan(graph);
  // Two that alternate, and one for the second outputs, which nobody reads.
  assertEquals(slotBytes.length, 3);
  const kept = plan(graph, graph.nodes.map((node) => node.outputs[0]));
  assertEquals(kept.slotBytes.length, 51);
});

Deno.test("plan: a value that is read late keeps its slot", () => {
  const graph = new Graph();
  const x = graph.leaf("input", "x", [8]);
  const [early] = made(graph, [x], 8);
  let y = early!;
  for (let i = 0; i < 5; i++) y = made(graph, [y], 8 + i)[0]!;
  made(graph, [y, early!], 4);
  verify(graph, []);
  const { slotOf } = plan(graph);
  assertEquals([...slotOf].filter(([, slot]) => slot === slotOf.get(early!)).length, 1);
});

Deno.test("plan: values placed in resident storage take no slot", () => {
  const graph = new Graph();
  const flat = graph.leaf("state", "flat", [512]);
  const [a] = made(graph, [graph.leaf("input", "x", [8])], 64);
  const [b] = made(graph, [a!], 64);
  graph.place(b!, { parent: flat, offset: 64 });
  const { slotOf } = plan(graph, [b!]);
  assertEquals([...slotOf.keys()], [a]);
});

Deno.test("plan: an empty graph needs nothing", () => {
  assertEquals(plan(new Graph()), { slotOf: new Map(), slotBytes: [], naiveBytes: 0, lowerBytes: 0 });
});

Deno.test("plan: 200 random graphs obey the definition", () => {
  let state = 12345;
  const random = (n: number) => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) % n; // any spread will do
  for (let round = 0; round < 200; round++) {
    const graph = new Graph();
    const pool: Value[] = [graph.leaf("input", "x", [1 + random(99)])];
    for (let i = 0; i < 5 + random(25); i++) {
      const inputs = Array.from({ length: 1 + random(3) }, () => pool[random(pool.length)]!);
      pool.push(...made(graph, inputs, ...Array.from({ length: 1 + random(3) }, () => 1 + random(5000))));
    }
    verify(graph, pool.filter((v) => v.role === "temp" && random(8) === 0));
  }
});
