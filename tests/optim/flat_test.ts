// Places in flat storage, and gradients that go straight into them.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { OutOfMemoryError } from "../../src/core/errors.ts";
import { compile, run, write } from "../../src/gpu/executable.ts";
import { createStore, put, release } from "../../src/gpu/store.ts";
import { defineOp, Graph, type Kernel, type Value } from "../../src/graph/graph.ts";
import { adamw, placeGradients } from "../../src/optim/mod.ts";
import { flatLayout, flatLeaves, flatPages } from "../../src/optim/flat.ts";
import { withLoraPlus } from "../../src/optim/lora_plus.ts";
import { gradientNorm } from "../../src/optim/norm.ts";
import { update } from "../../src/optim/optimizer.ts";
import { accumulate, recordLoss, ringWrite } from "../../src/optim/window.ts";
import { backward } from "../../src/ops/backward.ts";
import { add, multiply, scale } from "../../src/ops/elementwise.ts";
import { gpuTest } from "../device.ts";
import { relativeError } from "../ops/harness.ts";
import { fill, initial, rootOf, tensors, unpack } from "./harness.ts";

Deno.test("tensors with the same settings are neighbours, aligned, in their order", () => {
  const { pages, ranges, tensors: places } = flatLayout(tensors, { maxWords: 2 ** 20 });
  assertEquals(pages, [64 + 128 + 64 + 1024 + 64]);
  assertEquals(ranges, [
    { page: 0, offset: 0, length: 192, decay: true, lrScale: 1 }, // a, d
    { page: 0, offset: 192, length: 1088, decay: false, lrScale: 1 }, // b, e
    { page: 0, offset: 1280, length: 64, decay: true, lrScale: 0.5 }, // c
  ]);
  assertEquals([...places].map(([name, { place }]) => [name, place.offset, place.length]), [
    ["a", 0, 1],
    ["d", 64, 65],
    ["b", 192, 7],
    ["e", 256, 1000],
    ["c", 1280, 64],
  ]);
});

Deno.test("other settings leave the places; the groups of LoRA+ are a range each", () => {
  const shapes = { "a.lora_A.weight": [4, 30], "b.lora_A.weight": [4, 8], "a.lora_B.weight": [30, 4], "norm": [5] };
  const list = [...Object.entries(shapes), ["e.lora_embedding_A", [4, 9]] as const];
  const layout = flatLayout(list.map(([name, shape]) => ({ name, shape, decay: name !== "norm" })), { maxWords: 320 });
  const changed = withLoraPlus(layout, { ratio: 8, embeddingRate: 1e-5 }, 1e-3);
  assertEquals(changed.tensors, layout.tensors);
  assertEquals(changed.pages, [320, 128]);
  assertEquals(changed.ranges, [
    { page: 0, offset: 0, length: 192, decay: true, lrScale: 1 },
    { page: 0, offset: 192, length: 128, decay: true, lrScale: 8 },
    { page: 1, offset: 0, length: 64, decay: true, lrScale: 1e-5 / 1e-3 },
    { page: 1, offset: 64, length: 64, decay: false, lrScale: 8 },
  ]);
});

Deno.test("no page exceeds a binding; every tensor is inside a range of its own settings", () => {
  for (const maxWords of [1024, 1100, 1216, 2 ** 20]) {
    const { pages, ranges, tensors: places } = flatLayout(tensors, { maxWords });
    assert(pages.every((words) => words <= maxWords && words % 64 === 0));
    assertEquals(pages.map((_, page) => ranges.filter((r) => r.page === page).reduce((n, r) => n + r.length, 0)), [
      ...pages,
    ]);
    for (const { decay = true, lrScale = 1, place } of places.values()) {
      const inside = ranges.filter((r) =>
        r.page === place.page && r.offset <= place.offset && place.offset + place.length <= r.offset + r.length
      );
      assertEquals(inside.map((r) => [r.decay, r.lrScale]), [[decay, lrScale]]);
    }
  }
});

Deno.test("a tensor above one binding has a page of its own", () => {
  const { pages, tensors: places } = flatLayout(tensors, { maxWords: 64 });
  const { page, offset } = places.get("e")!.place;
  assertEquals([offset, pages[page]], [0, 1024]);
  for (const { name, place } of places.values()) if (name !== "e") assert(place.page !== page, name);
});

Deno.test("a tensor above one buffer is named, with what to do", () => {
  const error = assertThrows(() => flatLayout(tensors, { maxWords: 64, maxBufferWords: 64 }), OutOfMemoryError);
  assertEquals(error.code, "mem/param");
  for (const part of ['"d" [5,13]', '"e" [10,100]', "Train an adapter"]) assert(error.message.includes(part), part);
  assertThrows(() => flatLayout([...tensors, ...tensors], { maxWords: 2 ** 20 }), TypeError, "twice");
});

/** A loss in which gradients are free, read again, shared by two parameters, and missing. */
function model(p: ReadonlyMap<string, Value>): { loss: Value; reference: Reference } {
  const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => p.get(name)!) as [Value, Value, Value, Value];
  const shared = add(b, scale(b, 2)); // db = dy + 2·dy
  return {
    loss: multiply(multiply(shared, shared), multiply(add(a, c), scale(add(a, d), 3))),
    reference: ([a, b, c, d]) => ({
      a: 9 * b! * b! * 3 * (a! + d! + a! + c!),
      b: 18 * b! * (a! + c!) * 3 * (a! + d!),
      c: 9 * b! * b! * 3 * (a! + d!),
      d: 9 * b! * b! * 3 * (a! + c!),
    }),
  };
}
type Reference = (numbers: readonly number[]) => Readonly<Record<string, number>>;

/** Five parameters of one element; the loss does not depend on "e". */
const single = ["a", "b", "c", "d", "e"].map((name) => ({ name, shape: [1] }));

Deno.test("no kernel reads and writes one buffer, whatever becomes of the gradients", () => {
  const graph = new Graph();
  const layout = flatLayout(single, { maxWords: 2 ** 20 });
  const p = flatLeaves(graph, layout);
  const { loss } = model(p);
  const gradients = backward(graph, loss);
  const { missing } = placeGradients(graph, gradients, layout);
  assertEquals(missing, ["e"]);
  recordLoss(graph, loss);
  accumulate(graph, layout);
  const total = flatPages(graph, layout, "total");
  gradientNorm(graph, total);
  update(graph, layout, { optimizer: adamw(), gradients: total });
  ringWrite(graph);
  for (const node of graph.nodes) {
    for (const kernel of node.op.kernels(node, graph.target)) {
      const roots = (bindings: Kernel["read"]) => bindings.map((b) => rootOf(graph, "value" in b ? b.value : b));
      const written = new Set(roots(kernel.write));
      assertEquals(roots(kernel.read).filter((v) => written.has(v)).map((v) => v.name), [], kernel.name);
    }
  }
});

Deno.test("a gradient of its own is placed, one that is shared or an input is stored", () => {
  const graph = new Graph();
  const layout = flatLayout([{ name: "x", shape: [3] }, { name: "y", shape: [3] }], { maxWords: 2 ** 20 });
  const p = flatLeaves(graph, layout);
  const count = (gradients: Map<Value, Value>) => {
    placeGradients(graph, gradients, layout);
    return [graph.places.size, graph.nodes.filter(({ op }) => op.name === "store").length];
  };
  const x = p.get("x")!, y = p.get("y")!;
  const sum = add(x, y);
  assertEquals(count(new Map([[x, sum], [y, sum]])), [0, 2]);
  assertEquals(count(new Map([[x, graph.leaf("input", "i", [3])]])), [0, 3]);
  assertEquals(count(new Map([[x, scale(sum, 5)]])), [1, 3]);
  assertThrows(
    () => placeGradients(graph, new Map([[graph.leaf("param", "z", [3]), sum]]), layout),
    TypeError,
    '"z"',
  );
  assertThrows(() => placeGradients(graph, new Map([[x, graph.leaf("input", "j", [4])]]), layout), TypeError);
});

Deno.test("a gradient that a second kernel of its own node reads is stored", () => {
  const twoKernels = defineOp<null, readonly [Value], readonly [Value]>({
    name: "two_kernels",
    infer: ([x]) => [x],
    kernels: ({ inputs: [x], outputs: [y] }) => [
      { name: "first", wgsl: "", read: [x], write: [y], workgroups: 1, trips: 0 },
      { name: "second", wgsl: "", read: [{ value: y, offset: 0, length: 1 }], write: [y], workgroups: 1, trips: 0 },
    ],
  });
  const graph = new Graph();
  const layout = flatLayout([{ name: "x", shape: [3] }], { maxWords: 2 ** 20 });
  const x = flatLeaves(graph, layout).get("x")!;
  placeGradients(graph, new Map([[x, graph.add(twoKernels, [x], null)[0]]]), layout);
  assertEquals([graph.places.size, graph.nodes.at(-1)!.op.name], [0, "store"]);
});

gpuTest("gradients arrive in their pages", async (device) => {
  const layout = flatLayout(single, { maxWords: 2 ** 20 });
  const graph = new Graph(device.target);
  const p = flatLeaves(graph, layout);
  const { loss, reference } = model(p);
  const seed = graph.leaf("input", "seed", [1]);
  placeGradients(graph, backward(graph, loss, seed), layout);
  const store = createStore(device);
  const numbers = [0.5, -1.25, 2, 0.75, 3];
  await fill(store, layout, "params", new Map(single.map(({ name }, i) => [name, [numbers[i]!]])));
  const program = await compile(graph, { store });
  write(program, seed, new Float32Array([1]));
  run(program);
  const found = await unpack(store, layout, "grads");
  // all numbers are short binary fractions: the products are exact
  assertEquals(Object.fromEntries([...found].map(([name, [x]]) => [name, x])), { ...reference(numbers), e: 0 });
  program.destroy();
  release(store);
});

gpuTest("odd sizes over two pages: the gradient of sum(x²)/2·k is k·x", async (device) => {
  const layout = flatLayout(tensors, { maxWords: device.target.maxBinding / 4 });
  assertEquals(layout.pages.length, 2);
  const graph = new Graph(device.target);
  const gradients = new Map(
    [...flatLeaves(graph, layout).values()].map((x, i) => [x, scale(x, i + 1)]),
  );
  const { values } = placeGradients(graph, gradients, layout);
  assertEquals(graph.nodes.filter(({ op }) => op.name === "store").length, 0);
  const store = createStore(device);
  await fill(store, layout, "params", initial());
  for (const [page, words] of layout.pages.entries()) await put(store, `grads.${page}`, new Float32Array(words));
  const program = await compile(graph, { store });
  run(program);
  const found = await unpack(store, layout, "grads");
  for (const [i, name] of [...layout.tensors.keys()].entries()) {
    assertEquals(relativeError(found.get(name)!, initial().get(name)!.map((x) => Math.fround(x * (i + 1)))), 0, name);
    assertEquals(program.locate(values.get(name)!).offset, layout.tensors.get(name)!.place.offset);
  }
  program.destroy();
  release(store);
}, { maxBinding: 4352 });
