import { assertEquals, assertThrows } from "@std/assert";
import { GradError } from "../../src/core/errors.ts";
import { defineOp, Graph, type V1, type Value } from "../../src/graph/graph.ts";
import { backward } from "../../src/ops/backward.ts";
import { add, multiply, scale } from "../../src/ops/elementwise.ts";

const hardOp = defineOp<null, V1, V1>({ name: "hard", infer: ([x]) => [x], kernels: () => [] });
const stopOp = defineOp<null, V1, V1>({ name: "stop", infer: ([x]) => [x], kernels: () => [], stops: true });
const hard = (x: Value) => x.graph.add(hardOp, [x], null)[0];

Deno.test("backward: the frozen part costs nothing", () => {
  const count = (frozen: number) => {
    const graph = new Graph();
    let x: Value = graph.leaf("input", "x", [4]);
    for (let i = 0; i < frozen; i++) x = scale(multiply(x, graph.leaf("weight", `w${i}`, [4])), 2);
    const y = multiply(x, graph.leaf("param", "p", [4]));
    const forward = graph.nodes.length;
    backward(graph, y);
    return graph.nodes.length - forward;
  };
  // The seed, and dp = dy * x.
  assertEquals([count(0), count(1), count(20)], [2, 2, 2]);
});

Deno.test("backward: a frozen weight above a parameter lets the gradient through, without one of its own", () => {
  const graph = new Graph();
  const w = graph.leaf("weight", "w", [4]), p = graph.leaf("param", "p", [4]);
  const y = multiply(scale(p, 3), w);
  const forward = graph.nodes.length;
  const gradients = backward(graph, y);
  assertEquals([...gradients.keys()], [p]);
  assertEquals(graph.nodes.slice(forward).map(({ op }) => op.name), ["fill", "multiply", "scale"]);
});

Deno.test("backward: a value used twice gets the sum of its shares", () => {
  const graph = new Graph();
  const p = graph.leaf("param", "p", [4]), q = graph.leaf("param", "q", [4]);
  const gradients = backward(graph, add(multiply(p, q), scale(p, 2)));
  assertEquals([...gradients.keys()].map((v) => v.name).sort(), ["p", "q"]);
  assertEquals(graph.nodes.find(({ outputs }) => outputs[0] === gradients.get(p))!.op.name, "add");
});

Deno.test("backward: an op without a rule is named with its input and place", () => {
  const graph = new Graph();
  const p = graph.leaf("param", "p", [4]);
  const y = graph.scope("layers.2", () => hard(p));
  assertThrows(
    () => backward(graph, scale(y, 2)),
    GradError,
    'Cannot differentiate hard with respect to input 0 "p" in layers.2: it has no gradient rule',
  );
  // Nothing is asked of it where nothing upstream is trained, or downstream is the loss.
  const frozen = new Graph();
  const q = frozen.leaf("param", "q", [4]);
  hard(q);
  assertEquals(backward(frozen, add(hard(frozen.leaf("input", "x", [4])), q)).size, 1);
});

Deno.test("backward: a stop passes nothing", () => {
  const graph = new Graph();
  const p = graph.leaf("param", "p", [4]), q = graph.leaf("param", "q", [4]);
  const stopped = graph.add(stopOp, [multiply(p, q)], null)[0];
  assertEquals([...backward(graph, multiply(stopped, q)).keys()], [q]);
  assertEquals(backward(graph, stopped).size, 0);
});

Deno.test("backward: gradients carry the scope of the op they belong to", () => {
  const graph = new Graph();
  const p = graph.leaf("param", "p", [4]);
  const y = graph.scope("mlp", () => multiply(p, scale(p, 2)));
  const forward = graph.nodes.length;
  backward(graph, y);
  assertEquals(graph.nodes.slice(forward).map(({ op, scope }) => `${scope}:${op.name}`), [
    ":fill",
    "mlp:multiply",
    "mlp:multiply",
    "mlp:scale",
    "mlp:add",
  ]);
});
