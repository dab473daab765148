// Fewer nodes for the same values: where the only reader of a value is work that its maker can do itself, such as a sum
// behind a product, the two become one node (the maker's hook `absorb`), which stands where the reader stood.
//
// The value in between is never stored. So it is none that is kept or placed, and nothing in between may write a
// resident value that the maker reads.
import type { AnyNode, Graph, Value, Values } from "./graph.ts";

/** What an op does to every element, as WGSL on `vec4f`, where that is all that it does. */
export interface Pointwise {
  /** Names of the inputs in the expression, in order. */
  readonly reads: readonly string[];
  readonly expression: string;
  /** WGSL functions that the expression calls. */
  readonly functions?: string;
}

/** The nodes of a graph as they are compiled. */
export type Listing = Pick<Graph, "nodes" | "values" | "leaves" | "places" | "target">;

/** `graph` with readers absorbed by makers; the values in `keep` stay. */
export function fuse(graph: Graph, keep: readonly Value[] = []): Listing {
  const { values, leaves, places, target } = graph;
  const nodes: (AnyNode | undefined)[] = [...graph.nodes];
  const uses = new Map<Value, number>();
  for (const { inputs } of graph.nodes) for (const v of inputs as Values) uses.set(v, (uses.get(v) ?? 0) + 1);
  const stays = new Set([...keep, ...places.keys()]);
  const makers = new Map<Value, number>(), gone = new Set<Value>();
  for (const [i, user] of graph.nodes.entries()) {
    const makersOfInputs = (user.inputs as Values).map((v) => makers.get(v)).filter((at) => at !== undefined);
    for (const at of makersOfInputs.toSorted((a, b) => b - a)) { // the later one moves the least
      const maker = nodes[at]!;
      const [between] = maker.outputs as Values;
      if (
        !between || uses.get(between) !== 1 || stays.has(between) || overwritten(maker, nodes.slice(at + 1, i), places)
      ) {
        continue;
      }
      const joined = (user.inputs as Values).includes(between) ? maker.op.absorb?.(maker, user) : undefined;
      if (!joined) continue;
      nodes[at] = undefined;
      nodes[i] = joined;
      gone.add(between);
      break;
    }
    for (const v of nodes[i]!.outputs as Values) makers.set(v, i);
  }
  return {
    nodes: nodes.filter((node) => node !== undefined),
    values: values.filter((v) => !gone.has(v)),
    leaves,
    places,
    target,
  };
}

/** Whether a node of `between` writes a resident value that `maker` reads. */
function overwritten(
  maker: AnyNode,
  between: readonly (AnyNode | undefined)[],
  places: Listing["places"],
): boolean {
  const root = (v: Value) => v.within?.parent ?? v;
  const read = new Set((maker.inputs as Values).map(root));
  return between.some((node) =>
    node !== undefined &&
    (node.outputs.length === 0
      ? (node.inputs as Values).some((v) => v.role !== "temp" && read.has(root(v)))
      : (node.outputs as Values).some((v) => places.has(v) && read.has(places.get(v)!.parent)))
  );
}
