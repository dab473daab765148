// The gradient of a table that is looked up and projects: one tensor in its page, without another as large beside it.
import { assertEquals } from "@std/assert";
import { size } from "../../src/core/dims.ts";
import { compile, type Executable, run, write } from "../../src/gpu/executable.ts";
import type { GraftDevice } from "../../src/gpu/device.ts";
import { interpret } from "../../src/gpu/interpret.ts";
import { createStore, release } from "../../src/gpu/store.ts";
import { fuse } from "../../src/graph/fuse.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import { recompute, recomputeLayers } from "../../src/graph/recompute.ts";
import { guaranteed, type Target } from "../../src/graph/target.ts";
import { backward } from "../../src/ops/backward.ts";
import { add, multiply, scale } from "../../src/ops/elementwise.ts";
import { embedding } from "../../src/ops/embedding.ts";
import { linearCrossEntropy } from "../../src/ops/linear_cross_entropy.ts";
import { flatLayout, flatLeaves } from "../../src/optim/flat.ts";
import { placeGradients } from "../../src/optim/gradients.ts";
import { gpuTest } from "../device.ts";
import { verify } from "../graph/verify_plan.ts";
import { normal } from "../ops/harness.ts";
import { fill, unpack } from "./harness.ts";

const [N, V, D] = [70, 333, 12];
const layout = flatLayout([{ name: "bias", shape: [N, D] }, { name: "table", shape: [V, D] }], { maxWords: 2 ** 20 });

/** A loss of two lookups and a projection by one table. */
function tied(target: Target, change: (gradient: Value) => Value = (gradient) => gradient) {
  const graph = new Graph(target);
  const p = flatLeaves(graph, layout), table = p.get("table")!;
  const [ids, others, labels] = ["ids", "others", "labels"].map((name) =>
    graph.leaf("input", name, [N], { dtype: "u32" })
  ) as [Value, Value, Value];
  const x = graph.scope("layers.0", () => add(embedding(table, ids), p.get("bias")!));
  const hidden = graph.scope("layers.1", () => multiply(x, add(x, embedding(table, others))));
  const loss = linearCrossEntropy({ hidden, weight: table, labels });
  recomputeLayers(graph);
  const gradients = [...backward(graph, loss)].map(([v, gradient]) => [v, change(gradient)] as const);
  placeGradients(graph, new Map(gradients), layout);
  return { graph, inputs: { ids, others, labels } };
}

Deno.test("a tied table: all of its gradients are one tensor in the page", () => {
  const { graph } = tied(guaranteed);
  const listing = recompute(fuse(graph));
  const large = listing.values.filter(({ role, shape }) => role === "temp" && String(shape) === String([V, D]));
  assertEquals(large.map((v) => v.name), [
    "linear_cross_entropy.5",
    "layers.1:add",
    "layers.0:add",
  ]);
  const { place } = layout.tensors.get("table")!;
  assertEquals(large.map((v) => listing.places.get(v)?.offset), Array(3).fill(place.offset));
  assertEquals(graph.places.size, 1, "the graph itself is as it was");
  verify(listing);
});

Deno.test("a tied table: a gradient that is read again is one temporary", () => {
  const { graph } = tied(guaranteed, (gradient) => scale(gradient, 2));
  const bytes = verify(fuse(graph)), once = 4 * size([V, D]);
  const others = 4 * (N * V + 8 * N * D); // logits, and what is as large as x
  assertEquals(bytes < once + others, true, `${bytes} bytes`);
});

/** The gradients that a program leaves. */
async function gradientsOf(
  device: GraftDevice,
  { fused, go, target = {} }: { fused: boolean; go: (program: Executable) => unknown; target?: Partial<Target> },
): Promise<Record<string, number[]>> {
  const { graph, inputs } = tied({ ...device.target, ...target });
  const store = createStore(device);
  await fill(store, layout, "params", new Map([["bias", normal(N * D, 1)], ["table", normal(V * D, 2)]]));
  await fill(store, layout, "grads", new Map([["bias", normal(N * D, 3)], ["table", normal(V * D, 4)]])); // stale
  const program = await compile(graph, { store, fused });
  for (const [i, v] of Object.values(inputs).entries()) {
    write(program, v, Uint32Array.from({ length: N }, (_, n) => (n * n * (i + 3)) % (n % 3 === 0 ? 5 : V)));
  }
  await go(program);
  const found = await unpack(store, layout, "grads");
  program.destroy();
  release(store);
  return Object.fromEntries([...found].map(([name, x]) => [name, [...x]]));
}

for (const kind of ["software", "gpu", "default"] as const) {
  gpuTest(`a tied table: adding in place leaves the bits as they are, class ${kind}`, async (device) => {
    const apart = await gradientsOf(device, { fused: false, go: run });
    assertEquals(await gradientsOf(device, { fused: true, go: run }), apart);
    assertEquals(await gradientsOf(device, { fused: true, go: interpret }), apart);
  }, { kind });
}

gpuTest("a tied table: a table above one binding is changed part by part", async (device) => {
  const go = (program: Executable) => run(program);
  assertEquals(await gradientsOf(device, { fused: true, go }), await gradientsOf(device, { fused: false, go }));
}, { maxBinding: 8192 });
