import { assert, assertEquals } from "@std/assert";
import { fuse } from "../../src/graph/fuse.ts";
import {
  type AnyNode,
  defineOp,
  Graph,
  type V0,
  type V1,
  type V2,
  type Value,
  type Values,
} from "../../src/graph/graph.ts";
import { print } from "../../src/graph/print.ts";
import { layerOf, recompute, recomputeLayers } from "../../src/graph/recompute.ts";
import { backward } from "../../src/ops/backward.ts";
import { add } from "../../src/ops/elementwise.ts";
import { verify } from "./verify_plan.ts";

/** x → y and a second output that only the gradient reads. */
const workOp = defineOp<{ readonly k: number }, V1, V2>({
  name: "work",
  infer: ([x]) => [x, { shape: [1], dtype: "f32" }],
  kernels: () => [],
  grad: [({ inputs: [x], outputs: [y, r] }, dy) => x.graph.add(workGradOp, [x, y, r, dy], null)[0]],
});
const workGradOp = defineOp<null, Values, V1>({ name: "workGrad", infer: ([x]) => [x!], kernels: () => [] });
const writeOp = defineOp<null, V2, V0>({ name: "write", infer: () => [], kernels: () => [] });

const work = (x: Value, k: number): Value => x.graph.add(workOp, [x], { k })[0];

/** `depth` layers of x + work(work(x)), and their gradient. */
function chain(depth: number, again: boolean): Graph {
  const graph = new Graph();
  let x: Value = graph.leaf("param", "x", [1000]);
  for (let i = 0; i < depth; i++) {
    x = graph.scope(`layers.${i}`, () => add(x, graph.scope("mlp.0", () => work(work(x, 1), 2))));
  }
  const loss = graph.scope("head", () => work(x, 3));
  if (again) recomputeLayers(graph);
  graph.place(backward(graph, loss).values().next().value!, {
    parent: graph.leaf("state", "grads", [1000]),
    offset: 0,
  });
  return graph;
}

const text = ({ op, inputs, scope }: AnyNode) =>
  `${scope} ${op.name}(${(inputs as Values).map((v) => v.name.replaceAll(/.*:/g, "")).join(", ")})`;

Deno.test("recompute: a layer is the path up to its first number", () => {
  assertEquals(layerOf("model.layers.3.self_attn.q_proj"), "model.layers.3");
  assertEquals(layerOf("encoder.block.1.layer.0.SelfAttention"), "encoder.block.1");
  assertEquals(layerOf("transformer.h.11"), "transformer.h.11");
  assertEquals(layerOf("0"), "0");
  assertEquals(layerOf("model.layers3.v2"), undefined);
  assertEquals(layerOf(""), undefined);
});

Deno.test("recompute: what a layer alone reads is computed again, when it is first needed and once", () => {
  const graph = chain(2, true);
  const listing = recompute(fuse(graph));
  const added = listing.nodes.filter((node) => !graph.nodes.some(({ outputs }) => outputs[0] === node.outputs[0]));
  // The last product of a layer: its second output goes into the gradient. Its sum with x is what the next layer reads.
  assertEquals(added.map(text), [
    "layers.1.mlp.0 work(add)",
    "layers.1.mlp.0 work(work')",
    "layers.0.mlp.0 work(x)",
    "layers.0.mlp.0 work(work')",
  ]);
  const at = (node: AnyNode) => listing.nodes.indexOf(node);
  const first = (layer: string) => listing.nodes.find(({ op, scope }) => op === workGradOp && scope.startsWith(layer))!;
  assertEquals(at(first("layers.1")), at(added[1]!) + 1);
  assertEquals(at(first("layers.0")), at(added[3]!) + 1);
  // Gradients read copies of what is inside, and the originals of what goes from layer to layer.
  assertEquals(text(first("layers.1")), "layers.1.mlp.0 workGrad(work', work', work.1', workGrad)");
  verify(listing);
  assertEquals(new Set(listing.values.map((v) => v.id)).size, listing.values.length);
});

Deno.test("recompute: nothing changes where it is not asked for, and forward nodes stay as they are", () => {
  const plain = fuse(chain(3, false));
  assertEquals(recompute(plain), plain);
  const graph = chain(3, true);
  const forward = recompute(fuse(graph)).nodes.slice(0, 10);
  assertEquals(print({ ...graph, nodes: forward }), print({ ...graph, nodes: graph.nodes.slice(0, 10) }));
});

Deno.test("recompute: a deeper chain needs one more value a layer instead of all", () => {
  const bytes = (depth: number, again: boolean) => verify(recompute(fuse(chain(depth, again))));
  const grown = (again: boolean) => (bytes(12, again) - bytes(4, again)) / 8;
  assert(grown(true) <= 4096, `${grown(true)} bytes a layer`); // x, in multiples of 256 bytes
  assert(grown(false) >= 3 * 4000, `${grown(false)} bytes a layer`); // x, both works
});

Deno.test("recompute: what is kept, read by another layer, or reads what was overwritten stays", () => {
  const build = (change: (graph: Graph, inner: Value, state: Value) => void) => {
    const graph = new Graph();
    const x = graph.leaf("param", "x", [8]), state = graph.leaf("state", "s", [8]);
    const inner = graph.scope("layers.0", () => work(add(x, state), 1));
    const y = graph.scope("layers.0", () => work(inner, 2));
    change(graph, inner, state);
    recomputeLayers(graph);
    backward(graph, y);
    return { graph, inner, y };
  };
  const copies = ({ graph, y }: ReturnType<typeof build>, keep: Values = []) =>
    recompute(fuse(graph, [y, ...keep]), [y, ...keep]).nodes.length - graph.nodes.length;
  const plain = build(() => {});
  assertEquals(copies(plain), 2);
  assertEquals(copies(plain, [plain.inner]), 1); // the sum; y is always kept here
  assertEquals(copies(build((graph, inner) => graph.scope("layers.1", () => work(inner, 5)))), 1);
  assertEquals(copies(build((graph, inner, state) => void graph.add(writeOp, [inner, state], null))), 0);
});
