// What every plan must obey, straight from the definitions of being alive and of a dispatch.
import { assert, assertEquals } from "@std/assert";
import { bytes } from "../../src/core/dims.ts";
import type { Value, Values } from "../../src/graph/graph.ts";
import { plan, type PlanOptions } from "../../src/graph/plan.ts";

/** Simulate the lives of all temporaries of a plan; returns its bytes. */
export function verify(graph: Parameters<typeof plan>[0], options: PlanOptions = {}): number {
  const { keep = [], arena = [] } = options;
  const { spotOf, bufferBytes, naiveBytes, lowerBytes } = plan(graph, options);
  const { alignment, maxBuffer } = graph.target;
  const byValue = new Map<Value, { readonly v: Value; readonly born: number; dies: number }>();
  const changed = new Set<Value>();
  graph.nodes.forEach((node, now) => {
    const inputs = node.inputs as Values, base = node.op.inPlace === undefined ? undefined : inputs[node.op.inPlace];
    for (const v of inputs) {
      assert(!changed.has(v), `${v.name} is read after it was changed`);
      if (byValue.has(v)) byValue.get(v)!.dies = now;
    }
    for (const [i, v] of (node.outputs as Values).entries()) {
      if (base && i === 0) assertEquals(graph.places.get(v), graph.places.get(base), `${v.name} is not ${base.name}`);
      if (graph.places.has(v)) continue;
      const same = base && i === 0 ? byValue.get(base) : undefined;
      if (same) assertEquals(spotOf.get(v), spotOf.get(base!), `${v.name} is not ${base!.name}`);
      byValue.set(v, same ?? { v, born: now, dies: now });
    }
    if (base) changed.add(base);
  });
  for (const v of keep) if (byValue.has(v)) byValue.get(v)!.dies = Infinity;
  const temps = [...new Set(byValue.values())];

  assertEquals(new Set(spotOf.keys()), new Set(byValue.keys()));
  for (const { v } of temps) {
    const { buffer, offset } = spotOf.get(v)!;
    assert(
      offset >= 0 && offset % alignment === 0 && offset + bytes(v) <= bufferBytes[buffer]!,
      `${v.name} is outside`,
    );
  }
  bufferBytes.forEach((n, i) => assert(n <= (arena[i] ?? maxBuffer), `buffer ${i} has ${n} bytes`));
  graph.nodes.forEach((node, now) => {
    const alive = temps.filter(({ born, dies }) => born <= now && now <= dies).map(({ v }) => ({
      v,
      ...spotOf.get(v)!,
    }));
    alive.sort((a, b) => a.buffer - b.buffer || a.offset - b.offset);
    for (const [i, { v, buffer, offset }] of alive.entries()) {
      const next = alive[i + 1];
      assert(next?.buffer !== buffer || offset + bytes(v) <= next.offset, `${v.name} overlaps ${next?.v.name}`);
    }
    const kernels = node.op.kernels(node, graph.target);
    const made = kernels.length > 0 ? kernels : [{ read: node.inputs as Values, write: node.outputs as Values }];
    for (const { read, write } of made) {
      const buffers = (list: typeof read) => {
        const values = new Set(list.map((part) => "value" in part ? part.value : part));
        return [...values].map((v) => spotOf.get(v)?.buffer).filter((b) => b !== undefined);
      };
      const written = buffers(write);
      assertEquals(new Set(written).size, written.length, "outputs of one dispatch share a buffer");
      for (const b of buffers(read)) assert(!written.includes(b), "a dispatch reads and writes one buffer");
    }
  });
  const alive = graph.nodes.map((_, i) =>
    temps.filter(({ born, dies }) => born <= i && i <= dies).reduce((sum, { v }) => sum + bytes(v), 0)
  );
  assertEquals(lowerBytes, Math.max(0, ...alive));
  assertEquals(naiveBytes, temps.reduce((sum, { v }) => sum + bytes(v), 0));
  return bufferBytes.reduce((a, b) => a + b, 0);
}
