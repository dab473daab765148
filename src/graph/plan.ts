// Memory plan: temporaries share slots by lifetime. A slot is a whole buffer, because WebGPU forbids reading and
// writing one buffer in a dispatch; an output is placed before the node's inputs are released, for the same reason.
import { bytes } from "../core/dims.ts";
import type { Graph, Value, Values } from "./graph.ts";

/** Which slot every temporary lives in. */
export interface Plan {
  readonly slotOf: ReadonlyMap<Value, number>;
  readonly slotBytes: readonly number[];
  /** Bytes if every temporary had a buffer of its own. */
  readonly naiveBytes: number;
  /** Largest sum of bytes alive at one node: no plan of this order can need less. */
  readonly lowerBytes: number;
}

/** Assign a slot to every temporary of `graph`; those in `keep` live to the end. */
export function plan(graph: Graph, keep: readonly Value[] = []): Plan {
  const lastUse = new Map<Value, number>();
  graph.nodes.forEach((node, i) => {
    for (const v of node.inputs as Values) lastUse.set(v, i);
    for (const v of node.outputs as Values) lastUse.set(v, i);
  });
  for (const v of keep) lastUse.set(v, Infinity);

  const slotOf = new Map<Value, number>();
  const slotBytes: number[] = [];
  const free: number[] = [];
  let naiveBytes = 0, liveBytes = 0, lowerBytes = 0;
  graph.nodes.forEach((node, i) => {
    const outputs = (node.outputs as Values).filter((v) => !graph.places.has(v));
    for (const v of outputs) {
      naiveBytes += bytes(v);
      liveBytes += bytes(v);
      free.sort((a, b) => slotBytes[a]! - slotBytes[b]!);
      const fit = free.findIndex((s) => slotBytes[s]! >= bytes(v));
      const slot = free.splice(fit < 0 ? -1 : fit, 1)[0] ?? slotBytes.push(0) - 1;
      slotBytes[slot] = Math.max(slotBytes[slot]!, bytes(v));
      slotOf.set(v, slot);
    }
    lowerBytes = Math.max(lowerBytes, liveBytes);
    for (const v of new Set([...node.inputs as Values, ...outputs])) {
      if (!slotOf.has(v) || lastUse.get(v) !== i) continue;
      liveBytes -= bytes(v);
      free.push(slotOf.get(v)!);
    }
  });
  return { slotOf, slotBytes, naiveBytes, lowerBytes };
}
