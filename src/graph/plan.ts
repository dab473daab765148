// Memory plan: temporaries that are not alive together share memory, at offsets inside few buffers.
//
// WebGPU forbids reading and writing one buffer in a dispatch, even at different places. So what a node reads and what
// it writes lie in different buffers, and so do its outputs: one of its kernels may read what another one wrote.
import { bytes } from "../core/dims.ts";
import type { Listing } from "./fuse.ts";
import type { Value, Values } from "./graph.ts";
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
}

/** Give a place to every temporary of `graph`. */
export function plan(
  graph: Pick<Listing, "nodes" | "places" | "target">,
  { keep = [], arena = [] }: PlanOptions = {},
): Plan {
  const { alignment, maxBuffer } = graph.target;
  const born = new Map<Value, number>(), dies = new Map<Value, number>();
  const apart = new Map<Value, Set<number>>();
  const indexOf = new Map<Value, number>();
  graph.nodes.forEach(({ inputs, outputs }, i) => {
    for (const v of outputs as Values) {
      if (graph.places.has(v)) continue;
      indexOf.set(v, indexOf.size);
      born.set(v, i);
      apart.set(v, new Set());
    }
    const temps = new Set([...inputs as Values, ...outputs as Values].filter((v) => born.has(v)));
    for (const v of temps) {
      dies.set(v, i);
      for (const w of outputs as Values) {
        if (v === w || !born.has(w)) continue;
        apart.get(v)!.add(indexOf.get(w)!);
        apart.get(w)!.add(indexOf.get(v)!);
      }
    }
  });
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
