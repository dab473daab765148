// Memory plan: temporaries that are not alive together share memory, at offsets inside few buffers.
//
// WebGPU forbids reading and writing one buffer in a dispatch, even at different places. So what a dispatch reads and
// what it writes lie in different buffers, and so do two values that it writes. Everything that a node reads or writes is
// alive during all of its dispatches.
import { bytes } from "../core/dims.ts";
import type { Listing } from "./fuse.ts";
import type { AnyNode, Kernel, Range, Value, Values } from "./graph.ts";
import type { Target } from "./target.ts";
import { type Block, mostAlive, pack, type Spot } from "./pack.ts";

/** Where every temporary lives. */
export interface Plan {
  readonly spotOf: ReadonlyMap<Value, Spot>;
  /** Bytes used of each buffer; the first are those of the arena. */
  readonly bufferBytes: readonly number[];
  /** Bytes if every temporary had memory of its own. */
  readonly naiveBytes: number;
  /** Largest sum of bytes alive at one node: no plan of this order can need less. */
  readonly lowerBytes: number;
}

/** Options of {@linkcode plan}. */
export interface PlanOptions {
  /** Temporaries that live to the end. */
  readonly keep?: readonly Value[];
  /** Bytes of buffers that exist already, to be used first. */
  readonly arena?: readonly number[];
  /** The kernels of a node, where they are made already; a node without kernels counts as one dispatch. */
  readonly kernelsOf?: (node: AnyNode) => readonly Pick<Kernel, "read" | "write">[];
}

/** Give a place to every temporary of `graph`. */
export function plan(
  graph: Pick<Listing, "nodes" | "places" | "target">,
  { keep = [], arena = [], kernelsOf = kernelsIfAny(graph.target) }: PlanOptions = {},
): Plan {
  const { alignment, maxBuffer } = graph.target;
  const born = new Map<Value, number>(), dies = new Map<Value, number>();
  const apart = new Map<Value, Set<number>>();
  const indexOf = new Map<Value, number>();
  for (const [i, node] of graph.nodes.entries()) {
    for (const v of node.outputs as Values) {
      if (graph.places.has(v)) continue;
      indexOf.set(v, indexOf.size);
      born.set(v, i);
      apart.set(v, new Set());
    }
    for (const v of [...node.inputs as Values, ...node.outputs as Values]) if (born.has(v)) dies.set(v, i);
    for (const { reads, writes } of dispatches(node, kernelsOf(node))) {
      for (const v of [...reads, ...writes]) {
        for (const w of writes) {
          if (v === w || !born.has(v) || !born.has(w)) continue;
          apart.get(v)!.add(indexOf.get(w)!);
          apart.get(w)!.add(indexOf.get(v)!);
        }
      }
    }
  }
  for (const v of keep) dies.set(v, graph.nodes.length);

  const values = [...indexOf.keys()];
  const blocks: Block[] = values.map((v) => ({
    bytes: Math.ceil(bytes(v) / alignment) * alignment,
    from: born.get(v)!,
    to: dies.get(v)!,
    apart: apart.get(v)!,
  }));
  const { spots, used } = pack(blocks, { existing: arena, maxBuffer });
  return {
    spotOf: new Map(values.map((v, i) => [v, spots[i]!])),
    bufferBytes: used,
    naiveBytes: values.reduce((sum, v) => sum + bytes(v), 0),
    lowerBytes: mostAlive(values.map((v) => ({ bytes: bytes(v), from: born.get(v)!, to: dies.get(v)! }))),
  };
}

/** The kernels of a node; none where the target is too small for them, which is for the compiler to say. */
const kernelsIfAny = (target: Target) => (node: AnyNode): readonly Kernel[] => {
  try {
    return node.op.kernels(node, target);
  } catch (error) {
    if (error instanceof RangeError) return [];
    throw error;
  }
};

/** What each dispatch of a node reads and writes. */
function dispatches(
  { inputs, outputs }: AnyNode,
  kernels: readonly Pick<Kernel, "read" | "write">[],
): { readonly reads: Values; readonly writes: Values }[] {
  if (kernels.length === 0) return [{ reads: inputs, writes: outputs }];
  return kernels.map(({ read, write }) => ({ reads: read.map(valueOf), writes: write.map(valueOf) }));
}

const valueOf = (part: Value | Range): Value => "value" in part ? part.value : part;
