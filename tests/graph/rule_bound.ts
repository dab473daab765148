// What no plan of a schedule can go below, with WebGPU's rule that a dispatch reads and writes different buffers.
//
// Let L(n) be the bytes alive at node n. Take values q_1 … q_k that must lie in different buffers and are all alive at a
// node m, and a node n at which none of them is. What is alive at both m and n lies where it lies, and adds to both
// sides. Of the rest at n let l_i be what lies in the buffer of q_i: no two of it may be apart, and none from q_i. That
// buffer has at least the larger of both loads, and every other one its load at n, so the buffers together have at least
//
//   L(n) + min over all choices of Σ_i max(0, bytes(q_i) − l_i)
//
// The same choice holds at n and at the next node, where the values in between may differ: of both sums the larger counts.
// The bound is the largest over m, n and q (k = 1, 2, 3). It looks at three nodes at a time; the least memory may be more.
import { bytes } from "../../src/core/dims.ts";
import type { Kernel, Value, Values } from "../../src/graph/graph.ts";
import type { plan } from "../../src/graph/plan.ts";

/** A value with its life, and the values that must not share its buffer. */
interface Item {
  readonly size: number;
  readonly from: number;
  to: number;
  readonly apart: Set<Item>;
}

/** The bound of a schedule in bytes; values below a hundredth of what is alive count as if no rule held for them. */
export function ruleBound(graph: Parameters<typeof plan>[0]): number {
  const { items, steps } = itemsOf(graph);
  const alive = new Float64Array(steps);
  for (const { size, from, to } of items) for (let t = from; t <= to; t++) alive[t]! += size;
  let bound = Math.max(0, ...alive);
  const large = items.filter(({ size }) => size >= bound / 100).sort((a, b) => b.size - a.size);
  for (const q of cliques(large)) {
    const sum = q.reduce((total, { size }) => total + size, 0);
    const born = Math.max(...q.map(({ from }) => from)), dies = Math.min(...q.map(({ to }) => to));
    for (let n = 0; n < steps; n++) {
      const none = (t: number) => t < steps && q.every(({ from, to }) => t < from || to < t);
      if (!none(n)) continue;
      const nodes = none(n + 1) && (n + 1 < born || dies < n) ? [n, n + 1] : [n];
      if (nodes.every((t) => alive[t]! + sum <= bound)) continue;
      const m = n < born ? born : dies; // where most is alive at both
      const moved = items.filter(({ from, to }) => !(from <= m && m <= to) && nodes.some((t) => from <= t && t <= to));
      const small = moved.filter((item) => !large.includes(item));
      const least = leastOver(q, moved.filter((item) => large.includes(item)), {
        nodes,
        alive: nodes.map((t) => alive[t]!),
        small: nodes.map((t) => small.reduce((total, item) => total + sizeAt(item, t), 0)),
        enough: bound,
      });
      bound = Math.max(bound, least);
    }
  }
  return bound;
}

const sizeAt = ({ size, from, to }: Item, t: number) => from <= t && t <= to ? size : 0;

/** Sets of one, two and three values that are pairwise apart. */
function* cliques(items: readonly Item[]): Generator<Item[]> {
  for (const [i, a] of items.entries()) {
    yield [a];
    for (const [j, b] of items.entries()) {
      if (j <= i || !a.apart.has(b)) continue;
      yield [a, b];
      for (const c of items.slice(j + 1)) if (a.apart.has(c) && b.apart.has(c)) yield [a, b, c];
    }
  }
}

interface Search {
  readonly nodes: readonly number[];
  /** Bytes alive at each node. */
  readonly alive: readonly number[];
  /** Bytes at each node that lie anywhere. */
  readonly small: readonly number[];
  /** The search ends where no more than this is found. */
  readonly enough: number;
}

/**
 * The least over all ways to lay `items` beside the `q` or elsewhere of the largest over the nodes n of
 * L(n) + Σ max(0, bytes(q_i) − l_i).
 */
function leastOver(q: readonly Item[], items: readonly Item[], { nodes, alive, small, enough }: Search): number {
  const beside: Item[][] = q.map(() => []), room = nodes.map(() => q.map(({ size }) => size));
  const left = nodes.map((t, i) => small[i]! + items.reduce((total, item) => total + sizeAt(item, t), 0));
  let least = Infinity;
  const go = (i: number) => {
    const now = room.map((list, n) => {
      const waste = list.reduce((total, bytes) => total + Math.max(0, bytes), 0);
      return alive[n]! + Math.max(0, waste - left[n]!);
    });
    if (least <= enough || Math.max(...now) >= least) return;
    const item = items[i];
    if (!item) {
      least = Math.max(...now);
      return;
    }
    const sizes = nodes.map((t) => sizeAt(item, t));
    sizes.forEach((size, n) => left[n]! -= size);
    for (const [k, list] of beside.entries()) {
      if (room.every((rooms) => rooms[k]! <= 0)) continue;
      if (q[k]!.apart.has(item) || list.some((other) => other.apart.has(item))) continue;
      list.push(item);
      sizes.forEach((size, n) => room[n]![k]! -= size);
      go(i + 1);
      sizes.forEach((size, n) => room[n]![k]! += size);
      list.pop();
    }
    go(i + 1);
    sizes.forEach((size, n) => left[n]! += size);
  };
  go(0);
  return least;
}

/** All temporaries of a graph, as verify_plan.ts defines their lives and the rule. */
function itemsOf({ nodes, places, target }: Parameters<typeof plan>[0]): { items: readonly Item[]; steps: number } {
  const items = new Map<Value, Item>();
  for (const [i, node] of nodes.entries()) {
    const base = node.op.inPlace === undefined ? undefined : items.get(node.inputs[node.op.inPlace]);
    for (const [k, v] of (node.outputs as Values).entries()) {
      if (places.has(v)) continue;
      items.set(v, k === 0 && base ? base : { size: bytes(v), from: i, to: i, apart: new Set() });
    }
    for (const v of node.inputs as Values) if (items.has(v)) items.get(v)!.to = i;
    const itemOf = (part: Kernel["read"][number]) => items.get("value" in part ? part.value : part);
    for (const { read, write } of node.op.kernels(node, target)) {
      for (const v of [...read, ...write].map(itemOf)) {
        for (const w of write.map(itemOf)) {
          if (!v || !w || v === w) continue;
          v.apart.add(w);
          w.apart.add(v);
        }
      }
    }
  }
  return { items: [...new Set(items.values())], steps: nodes.length };
}
