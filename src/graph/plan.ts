// Memory plan: temporaries that are not alive together share memory, at offsets inside few buffers.
//
// WebGPU forbids reading and writing one buffer in a dispatch, even at different places. So what a dispatch reads and
// what it writes lie in different buffers, and so do two values that it writes. Everything that a node reads or writes is
// alive during all of its dispatches.
import { bytes } from "../core/dims.ts";
import { inPlaceOf, type Listing } from "./fuse.ts";
import type { AnyNode, Kernel, Value, Values } from "./graph.ts";
import { kernelsIfAny, valueOf } from "./kernels.ts";
import { type Block, mostAlive } from "./block.ts";
import { pack, type Spot } from "./pack.ts";

/** Where every temporary lives. */
export interface Plan {
  readonly spotOf: ReadonlyMap<Value, Spot>;
  /** Bytes used of each buffer; the first are those of the arena. */
  readonly bufferBytes: readonly number[];
  /** Bytes if no two temporaries shared memory, but for those that are changed in place. */
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
  { keep = [], arena = [], kernelsOf = (node) => kernelsIfAny(node, graph.target) }: PlanOptions = {},
): Plan {
  const { alignment, maxBuffer } = graph.target;
  const blocks: (Block & { to: number; readonly size: number; readonly apart: Set<number> })[] = [];
  const blockOf = new Map<Value, number>(); // one for a value and what it becomes in place
  for (const [i, node] of graph.nodes.entries()) {
    const base = inPlaceOf(node);
    for (const v of node.outputs as Values) {
      if (graph.places.has(v)) continue;
      const taken = base && v === node.outputs[0] ? blockOf.get(base) : undefined;
      blockOf.set(v, taken ?? blocks.length);
      if (taken !== undefined) continue;
      const size = bytes(v);
      blocks.push({ size, bytes: Math.ceil(size / alignment) * alignment, from: i, to: i, apart: new Set() });
    }
    const indices = (values: Values) => values.map((v) => blockOf.get(v)).filter((index) => index !== undefined);
    for (const index of indices(node.inputs)) blocks[index]!.to = i;
    for (const { reads, writes } of dispatches(node, kernelsOf(node))) {
      const written = indices(writes);
      for (const a of [...indices(reads), ...written]) {
        for (const b of written) {
          if (a === b) continue;
          blocks[a]!.apart.add(b);
          blocks[b]!.apart.add(a);
        }
      }
    }
  }
  for (const v of keep) if (blockOf.has(v)) blocks[blockOf.get(v)!]!.to = graph.nodes.length;

  const { spots, used } = pack(blocks, { existing: arena, maxBuffer });
  return {
    spotOf: new Map([...blockOf].map(([v, index]) => [v, spots[index]!])),
    bufferBytes: used,
    naiveBytes: blocks.reduce((sum, { size }) => sum + size, 0),
    lowerBytes: mostAlive(blocks.map(({ size, from, to }) => ({ bytes: size, from, to }))),
  };
}

/** What each dispatch of a node reads and writes. */
function dispatches(
  { inputs, outputs }: AnyNode,
  kernels: readonly Pick<Kernel, "read" | "write">[],
): { readonly reads: Values; readonly writes: Values }[] {
  if (kernels.length === 0) return [{ reads: inputs, writes: outputs }];
  return kernels.map(({ read, write }) => ({ reads: read.map(valueOf), writes: write.map(valueOf) }));
}
