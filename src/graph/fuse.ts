// Fewer nodes for the same values: where the only reader of a value is work that its maker can do itself, such as a sum
// behind a product, the two become one node (the maker's hook `absorb`), which stands where the reader stood.
//
// The value in between is never stored. So it is none that is kept or placed, and nothing in between may write a
// resident value that the maker reads. A node may also change one of its inputs in place (`inPlace`), such as the rows of
// a gradient that a lookup adds to, where nothing else wants that value: it then lives where the result is placed.
import type { AnyNode, Graph, Place, Value, Values } from "./graph.ts";
import { kernelsIfAny, valueOf } from "./kernels.ts";
import type { Target } from "./target.ts";

/** What an op does to every element, as WGSL on `vec4f`, where that is all that it does. */
export interface Pointwise {
  /** Names of the inputs in the expression, in order. */
  readonly reads: readonly string[];
  readonly expression: string;
  /** WGSL functions that the expression calls. */
  readonly functions?: string;
}

/** The nodes of a graph as they are compiled. */
export type Listing = Pick<Graph, "nodes" | "values" | "leaves" | "places" | "target" | "recomputed">;

/** `graph` with readers absorbed by makers; the values in `keep` stay. */
export function fuse(graph: Graph, keep: readonly Value[] = []): Listing {
  const { values, leaves, places, target, recomputed } = graph;
  const nodes: (AnyNode | undefined)[] = [...graph.nodes];
  const uses = new Map<Value, number>();
  for (const { inputs } of graph.nodes) for (const v of inputs as Values) uses.set(v, (uses.get(v) ?? 0) + 1);
  const stays = new Set([...keep, ...places.keys()]);
  const makers = new Map<Value, number>(), gone = new Set<Value>();
  const ownedBy = (v: Value) => {
    const maker = uses.get(v) === 1 && !stays.has(v) ? nodes[makers.get(v) ?? -1] : undefined;
    return maker !== undefined && !readsItself(maker, v, target);
  };
  for (const [i, user] of graph.nodes.entries()) {
    const makersOfInputs = (user.inputs as Values).map((v) => makers.get(v)).filter((at) => at !== undefined);
    for (const at of makersOfInputs.toSorted((a, b) => b - a)) { // the later one moves the least
      const maker = nodes[at]!;
      const [between] = maker.outputs as Values;
      if (
        !between || uses.get(between) !== 1 || stays.has(between) || overwritten(maker, nodes.slice(at + 1, i), graph)
      ) {
        continue;
      }
      const joined = (user.inputs as Values).includes(between) ? maker.op.absorb?.(maker, user) : undefined;
      const base = joined && inPlaceOf(joined);
      if (!joined || (base && !ownedBy(base))) continue;
      nodes[at] = undefined;
      nodes[i] = joined;
      gone.add(between);
      break;
    }
    for (const v of nodes[i]!.outputs as Values) makers.set(v, i);
  }
  const kept = nodes.filter((node) => node !== undefined);
  return {
    nodes: kept,
    values: values.filter((v) => !gone.has(v)),
    leaves,
    places: withChanged(kept, places),
    target,
    recomputed,
  };
}

/** The input that `node` changes in place, where it has one. */
export function inPlaceOf({ op, inputs }: AnyNode): Value | undefined {
  return op.inPlace === undefined ? undefined : (inputs as Values)[op.inPlace];
}

/** Whether a kernel of `maker` reads its output `v`: the whole of a resident page that is written could not be read. */
function readsItself(maker: AnyNode, v: Value, target: Target): boolean {
  return kernelsIfAny(maker, target).some(({ read }) => read.some((binding) => valueOf(binding) === v));
}

/** The places, and those of what is changed in place to become a value that is placed. */
function withChanged(nodes: readonly AnyNode[], places: ReadonlyMap<Value, Place>): Map<Value, Place> {
  const all = new Map(places);
  for (const node of nodes.toReversed()) {
    const base = inPlaceOf(node), place = base && all.get(node.outputs[0]);
    if (place) all.set(base, place);
  }
  return all;
}

/** Whether a node of `between` writes a resident value that `maker` reads. */
function overwritten(
  maker: AnyNode,
  between: readonly (AnyNode | undefined)[],
  listing: Pick<Listing, "places">,
): boolean {
  const read = new Set((maker.inputs as Values).map(root));
  return between.some((node) => node !== undefined && writtenBy(node, listing).some((v) => read.has(root(v))));
}

/** Resident values that `node` may write: those that it is given where it has no outputs, and where outputs are placed. */
export function writtenBy({ inputs, outputs }: AnyNode, { places }: Pick<Listing, "places">): Value[] {
  if (outputs.length === 0) return (inputs as Values).filter((v) => v.role !== "temp");
  return (outputs as Values).flatMap((v) => places.get(v)?.parent ?? []);
}

/** The resident value that `v` is a part of, or `v` itself. */
export function root(v: Value): Value {
  return v.within?.parent ?? v;
}
