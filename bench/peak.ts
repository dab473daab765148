// The roofs of this machine, measured once a run: multiply-adds in registers and copies in memory.
import { copy, Graph, type Value } from "../src/ops/mod.ts";
import { fmaOperations, fmaProbe } from "../src/ops/probe.ts";
import { compile, createStore, release } from "../src/ops/mod.ts";
import type { GraftDevice } from "../src/gpu/device.ts";
import type { Peaks } from "./row.ts";
import { time } from "../src/gpu/time.ts";

/** Measure both peaks. */
export async function measurePeaks(
  device: GraftDevice,
  { quick = false }: { readonly quick?: boolean } = {},
): Promise<Peaks> {
  const words = quick ? 2 ** 18 : device.software ? 2 ** 22 : 2 ** 25;
  const [turns, groups] = device.software ? [500, 64] as const : [4000, 4096] as const;
  const best = async (build: (graph: Graph) => Value) => {
    const graph = new Graph(device.target);
    const y = build(graph);
    const store = createStore(device);
    try {
      const program = await compile(graph, { store, keep: [y], name: "peak" });
      const times = await time(program, { rounds: quick ? 3 : 7 });
      program.destroy();
      return times.best;
    } finally {
      release(store);
    }
  };
  return {
    flops: fmaOperations(turns, groups) / await best((graph) => fmaProbe(graph, turns, groups)) / 1e6,
    bytes: 8 * words / await best((graph) => copy(graph.leaf("input", "x", [words]))) / 1e6,
  };
}
