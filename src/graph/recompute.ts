// Less memory for more time (gradient checkpointing, arXiv:1604.06174): of what a layer computes forward, only what
// other parts of the program read is kept. Where the backward pass reads the rest, it is computed again.
//
// A layer is all nodes whose scope has the same path up to its first number, such as `model.layers.3`. The copies are
// the same kernels on the same operands, so gradients have the same bits. They are made when they are first needed.
import { type Listing, root, writtenBy } from "./fuse.ts";
import type { AnyNode, Graph, Value, Values } from "./graph.ts";

/**
 * Have the program compute again, where nodes that are added later read it, what the layers of `graph` have computed so
 * far. Call it between the loss and its gradients.
 */
export function recomputeLayers(graph: Graph): void {
  graph.recomputed = graph.values.length;
}

/** The layer that a scope is in, if it is in one. */
export function layerOf(scope: string): string | undefined {
  return scope.match(/^(?:.*?\.)?\d+(?=\.|$)/)?.[0];
}

/** `listing` with copies of the nodes before `listing.recomputed`, layer by layer; the values in `keep` are kept. */
export function recompute(listing: Listing, keep: readonly Value[] = []): Listing {
  const later = listing.nodes.findIndex(({ outputs }) => outputs.length > 0 && outputs[0].id >= listing.recomputed);
  if (listing.recomputed === 0 || later < 0) return listing;
  const makers = makersToRepeat(listing, listing.nodes.slice(0, later), keep);
  const nodes: AnyNode[] = [], values = [...listing.values];
  const copies = new Map<Value, Value>();
  const overwritten = new Set<Value>();
  let id = values.at(-1)!.id + 1;

  const again = (v: Value): Value => {
    const copy = copies.get(v), maker = makers.get(v);
    if (copy) return copy;
    if (!maker || (maker.inputs as Values).some((input) => overwritten.has(root(input)))) return v;
    const inputs = (maker.inputs as Values).map(again);
    const outputs = (maker.outputs as Values).map((old) => ({ ...old, id: id++, name: `${old.name}'` }));
    (maker.outputs as Values).forEach((old, i) => copies.set(old, outputs[i]!));
    values.push(...outputs);
    nodes.push({ ...maker, inputs, outputs });
    return copies.get(v)!;
  };

  for (const [i, node] of listing.nodes.entries()) {
    nodes.push(i < later ? node : { ...node, inputs: (node.inputs as Values).map(again) });
    for (const v of writtenBy(node, listing)) overwritten.add(root(v));
  }
  return { ...listing, nodes, values };
}

/** The nodes of `forward` behind the values that only their own layer reads there. */
function makersToRepeat(
  { places }: Listing,
  forward: readonly AnyNode[],
  keep: readonly Value[],
): ReadonlyMap<Value, AnyNode> {
  const makers = new Map<Value, AnyNode>();
  for (const node of forward) for (const v of node.outputs as Values) makers.set(v, node);
  const kept = new Set([...keep, ...places.keys()].map((v) => makers.get(v)));
  for (const node of forward) {
    const layer = layerOf(node.scope);
    if (layer === undefined) kept.add(node);
    for (const v of node.inputs as Values) {
      const maker = makers.get(v);
      if (maker && layerOf(maker.scope) !== layer) kept.add(maker);
    }
  }
  return new Map([...makers].filter(([, maker]) => !kept.has(maker)));
}
