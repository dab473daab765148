import { assertEquals } from "@std/assert";
import { fuse } from "../../src/graph/fuse.ts";
import { defineOp, Graph, type V0, type V2, type Value, type Values } from "../../src/graph/graph.ts";
import { add, scale } from "../../src/ops/elementwise.ts";
import { linear } from "../../src/ops/matmul.ts";

/** x·wᵀ, whose reader may join it, and r to add. */
function setting(): { readonly graph: Graph; readonly y: Value; readonly r: Value; readonly state: Value } {
  const graph = new Graph();
  const [x, r] = [graph.leaf("input", "x", [5, 3]), graph.leaf("input", "r", [5, 4])];
  const state = graph.leaf("state", "w", [4, 3]);
  return { graph, y: linear(x, state), r, state };
}

const names = (graph: Graph, keep: Values = []): string[] => fuse(graph, keep).nodes.map(({ op }) => op.name);

Deno.test("fuse: the only reader of a product joins it, and stands where it stood", () => {
  const { graph, y, r } = setting();
  const other = scale(r, 2);
  const sum = add(other, y);
  const { nodes, values } = fuse(graph, [sum]);
  assertEquals(nodes.map(({ op }) => op.name), ["scale", "linear + add"]);
  assertEquals(nodes[1]!.outputs[0], sum);
  assertEquals((nodes[1]!.inputs as Values).at(-1), other);
  assertEquals(values.includes(y), false);
  assertEquals(graph.nodes.length, 3, "the graph itself is as it was");
});

Deno.test("fuse: values that are kept, placed or read twice stay", () => {
  const kept = setting();
  add(kept.y, kept.r);
  assertEquals(names(kept.graph, [kept.y]), ["linear", "add"]);
  const placed = setting();
  add(placed.y, placed.r);
  placed.graph.place(placed.y, { parent: placed.graph.leaf("state", "page", [64]), offset: 0 });
  assertEquals(names(placed.graph), ["linear", "add"]);
  const twice = setting();
  add(twice.y, twice.y);
  assertEquals(names(twice.graph), ["linear", "add"]);
});

Deno.test("fuse: a product is not moved behind what overwrites its operands", () => {
  const overwrite = defineOp<null, V2, V0>({ name: "overwrite", infer: () => [], kernels: () => [] });
  const { graph, y, r, state } = setting();
  graph.add(overwrite, [r, state], null);
  add(y, r);
  assertEquals(names(graph), ["linear", "overwrite", "add"]);
});

Deno.test("fuse: of two products that are added, the later one takes the sum", () => {
  const { graph, y, r, state } = setting();
  const second = linear(graph.leaf("input", "z", [5, 3]), state);
  add(add(y, second), r);
  // The sum of both is read once too, but a product adds only one matrix.
  assertEquals(names(graph), ["linear", "linear + add", "add"]);
});
