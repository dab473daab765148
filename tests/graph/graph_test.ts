import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { floatBits, Graph } from "../../src/graph/graph.ts";
import { defineOp, type V1 } from "../../src/graph/graph.ts";
import { print } from "../../src/graph/print.ts";
import { add, copy, fill, multiply, scale } from "../../src/ops/elementwise.ts";

Deno.test("graph: identical nodes are merged, different ones are not", () => {
  const graph = new Graph();
  const a = graph.leaf("input", "a", [3]), b = graph.leaf("input", "b", [3]);
  assertStrictEquals(add(a, b), add(a, b));
  assertStrictEquals(scale(a, 2), scale(a, 2));
  assertEquals(add(a, b) === add(b, a), false);
  assertEquals(scale(a, 2) === scale(a, 3), false);
  assertEquals(multiply(a, b) === add(a, b), false);
  assertEquals(graph.nodes.length, 5);
  // JSON has null for both.
  assertEquals(fill(graph, [1], NaN) === fill(graph, [1], Infinity), false);
});

Deno.test("graph: two ops of one name stay apart", () => {
  const named = () =>
    defineOp<null, V1, V1>({ name: "twin", infer: ([x]) => [{ shape: x.shape, dtype: "f32" }], kernels: () => [] });
  const graph = new Graph(), x = graph.leaf("input", "x", [3]);
  assertEquals(graph.add(named(), [x], null)[0] === graph.add(named(), [x], null)[0], false);
});

Deno.test("graph: attributes that JSON cannot tell apart are refused", () => {
  const op = defineOp<unknown, V1, V1>({ name: "odd", infer: ([x]) => [x], kernels: () => [] });
  const graph = new Graph(), x = graph.leaf("input", "x", [3]);
  for (const attrs of [{ by: new Map() }, { by: () => 1 }, { by: [new Set()] }]) {
    assertThrows(() => graph.add(op, [x], attrs), TypeError, "Cannot use functions, maps or sets");
  }
});

Deno.test("graph: a leaf is one thing only", () => {
  const graph = new Graph();
  const flat = graph.leaf("param", "flat", [256]);
  const a = graph.leaf("param", "a", [64], { within: { parent: flat, offset: 64 } });
  assertStrictEquals(graph.leaf("param", "a", [64]), a);
  assertStrictEquals(graph.leaf("param", "a", [64], { within: { parent: flat, offset: 64 } }), a);
  assertThrows(
    () => graph.leaf("weight", "a", [64]),
    TypeError,
    'Cannot use "a" as weight f32 [64]: it is already param f32 [64]',
  );
  assertThrows(() => graph.leaf("param", "a", [8, 8]), TypeError, "already");
  assertThrows(() => graph.leaf("param", "a", [64], { dtype: "u32" }), TypeError, "already");
  const elsewhere = { within: { parent: flat, offset: 128 } };
  assertThrows(() => graph.leaf("param", "a", [64], elsewhere), TypeError, "at another place");
  for (const shape of [[0], [-1], [2.5], [NaN], [3, Infinity]]) {
    assertThrows(() => graph.leaf("input", "odd", shape), RangeError, "positive whole numbers");
  }
});

Deno.test("graph: places are inside of leaves of the same graph, and given once", () => {
  const graph = new Graph(), other = new Graph();
  const flat = graph.leaf("state", "flat", [128]), x = graph.leaf("input", "x", [64]);
  const y = scale(x, 2);
  for (const offset of [65, -1, 0.5, NaN]) {
    assertThrows(() => graph.place(y, { parent: flat, offset }), RangeError, `at ${offset} of "flat": it has [128]`);
    assertThrows(() => graph.leaf("state", "part", [64], { within: { parent: flat, offset } }), RangeError, "flat");
  }
  assertThrows(() => graph.place(y, { parent: scale(x, 3), offset: 0 }), TypeError, "no leaf");
  assertThrows(() => graph.place(y, { parent: other.leaf("state", "s", [64]), offset: 0 }), TypeError, "no leaf");
  assertThrows(() => graph.place(x, { parent: flat, offset: 0 }), TypeError, "it lives elsewhere already");
  graph.place(y, { parent: flat, offset: 64 });
  assertThrows(() => graph.place(y, { parent: flat, offset: 0 }), TypeError, "it lives elsewhere already");
  assertThrows(
    () => add(x, other.leaf("input", "x", [64])),
    TypeError,
    'Cannot apply add as "x" belongs to another graph',
  );
});

Deno.test("graph: scopes label nodes and close after an error", () => {
  const graph = new Graph(), x = graph.leaf("input", "x", [2]);
  const y = graph.scope("layers.0", () => graph.scope("mlp", () => graph.scope("", () => scale(x, 2))));
  assertEquals([graph.nodes[0]!.scope, y.name], ["layers.0.mlp", "layers.0.mlp:scale"]);
  assertThrows(() => graph.scope("broken", () => add(x, graph.leaf("input", "z", [3]))), TypeError, "Cannot apply add");
  assertEquals(graph.scopePath, "");
});

Deno.test("graph: only what is downstream of a parameter is trained, and nothing behind a stop", () => {
  const stop = defineOp<null, V1, V1>({ name: "stop", infer: ([x]) => [x], kernels: () => [], stops: true });
  const graph = new Graph();
  const x = graph.leaf("input", "x", [2]), w = graph.leaf("weight", "w", [2]), p = graph.leaf("param", "p", [2]);
  assertEquals([multiply(x, w).trained, add(x, p).trained, scale(add(x, p), 2).trained], [false, true, true]);
  assertEquals(graph.add(stop, [add(x, p)], null)[0].trained, false);
});

Deno.test("graph: prints one line per node", () => {
  const graph = new Graph();
  const x = graph.leaf("input", "x", [2, 3]), w = graph.leaf("param", "w", [2, 3]);
  const y = graph.scope("model.norm", () => multiply(x, w));
  const z = scale(add(y, x), 0.5);
  graph.place(z, { parent: graph.leaf("state", "flat", [128]), offset: 64 });
  copy(z);
  assertEquals(
    print(graph),
    `
%2 f32[2, 3] = multiply(x, w)  # model.norm
%3 f32[2, 3] = add(%2, x)
%4 f32[2, 3] @flat+64 = scale(%3) {"by":0.5}
%6 f32[2, 3] = copy(%4)`.trimStart(),
  );
});

Deno.test("graph: floatBits are those of the f32", () => {
  assertEquals([1, -2, 0.1, Infinity].map(floatBits), [0x3f800000, 0xc0000000, 0x3dcccccd, 0x7f800000]);
});
