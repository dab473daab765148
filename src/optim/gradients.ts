// Gradients go straight into the flat pages "grads.<page>": the node that computes one writes it there.
//
// WebGPU forbids reading and writing one buffer in a dispatch, so nothing may read these pages before the optimizer
// does. A gradient that is read again (by a node, or by a second kernel of its own node), that belongs to two
// parameters, or that is no temporary is stored by a dispatch of its own instead.
import { type Shape, size } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import { defineOp, type Graph, type V0, type V2, type Value, type Values } from "../graph/graph.ts";
import { valueOf } from "../graph/kernels.ts";
import { elementwiseKernels } from "../ops/elementwise.ts";
import { type FlatLayout, flatPages, type FlatPlace, type FlatTensor, pageName } from "./flat.ts";

const storeOp = defineOp<null, V2, V0>({
  name: "store",
  infer: () => [],
  kernels: ({ inputs: [x, output] }, target) =>
    elementwiseKernels({ name: "store", reads: ["a"], expression: "a", inputs: [x], output }, target),
});

/** What {@linkcode placeGradients} did. */
export interface PlacedGradients {
  /** The gradient of every trained tensor by name, where the program leaves it. */
  readonly values: ReadonlyMap<string, Value>;
  /** Trained tensors that the loss does not depend on: their gradient stays zero. PyTorch would not update them. */
  readonly missing: readonly string[];
}

/**
 * Let the gradients of `backward` live in the pages "grads.<page>" of the layout. Call it last: nodes that are added
 * later must not read them.
 *
 * @throws {TypeError} if a gradient belongs to a parameter that the layout does not have.
 * @throws {ShapeError} if a gradient has another shape than its parameter.
 */
export function placeGradients(
  graph: Graph,
  gradients: ReadonlyMap<Value, Value>,
  layout: FlatLayout,
): PlacedGradients {
  const pages = flatPages(graph, layout, "grads");
  const free = freeToMove(graph, [...gradients.values()]);
  const values = new Map<string, Value>();
  for (const [param, gradient] of gradients) {
    const tensors = tensorsOf(param, layout);
    const [first] = tensors;
    if (!first) throw new TypeError(`Cannot place the gradient of "${param.name}" as the layout does not have it`);
    const { shape } = tensors.length > 1 ? param : first;
    if (String(gradient.shape) !== String(shape)) {
      throw new ShapeError(`the gradient of "${param.name}"`, "dy", shape.join(" "), gradient.shape);
    }
    const gradientLeaf = (name: string, shape: Shape, { page, offset }: FlatPlace) =>
      graph.leaf("state", `grad ${name}`, shape, { within: { parent: pages[page]!, offset } });
    const leaf = gradientLeaf(param.name, shape, first.place);
    if (free.has(gradient)) graph.place(gradient, leaf.within!);
    else graph.scope(param.name, () => graph.add(storeOp, [gradient, leaf], null));
    for (const { name, shape, place } of tensors) values.set(name, gradientLeaf(name, shape, place));
  }
  return { values, missing: [...layout.tensors.keys()].filter((name) => !values.has(name)) };
}

type PlacedTensor = FlatTensor & { readonly place: FlatPlace };

/** The tensor that a parameter is, or those that it spans; none where it is not of the layout. */
function tensorsOf({ name, within, shape }: Value, layout: FlatLayout): PlacedTensor[] {
  const own = layout.tensors.get(name);
  if (own) return [own];
  return [...layout.tensors.values()].filter(({ place: { page, offset } }) =>
    within?.parent.name === pageName(layout, "params", page) && offset >= within.offset &&
    offset < within.offset + size(shape)
  );
}

/** Those of `gradients` that nothing reads: neither a node, nor a kernel of the node that makes it. */
function freeToMove(graph: Graph, gradients: readonly Value[]): Set<Value> {
  const once = new Set(gradients.filter((v, i) => gradients.indexOf(v) === i && gradients.lastIndexOf(v) === i));
  const free = new Set([...once].filter((v) => v.role === "temp" && !graph.places.has(v)));
  for (const node of graph.nodes) {
    for (const v of node.inputs as Values) free.delete(v);
    if (!(node.outputs as Values).some((v) => free.has(v))) continue;
    for (const kernel of node.op.kernels(node, graph.target)) {
      for (const binding of kernel.read) free.delete(valueOf(binding));
    }
  }
  return free;
}
