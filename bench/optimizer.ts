// One update of all trained tensors: norm of the gradients, clipping and the optimizer, over flat storage.
import {
  adagrad,
  adam,
  adamw,
  encodeScalars,
  flatLayout,
  flatPages,
  gradientNorm,
  type Optimizer,
  scalarsLeaf,
  sgd,
  update,
} from "../src/optim/mod.ts";
import { compile, createStore, fetch, Graph, put, release, run, write } from "../src/ops/mod.ts";
import type { Context } from "./kernel.ts";
import { normals, spread } from "./random.ts";
import { type Row, shareOf } from "./row.ts";
import { time } from "../src/gpu/time.ts";

const LR = 1e-3, DECAY = 0.01;

/** Bytes of a parameter: its norm reads g; the update reads g, x and the states, and writes x and the states. */
const bytesOf = ({ stateNames }: Optimizer) => 4 * (1 + 1 + 2 * (1 + stateNames.length));

/** Measure an update by each optimizer. */
export async function benchOptimizer(context: Context): Promise<Row[]> {
  const { quick, device: { software }, report } = context;
  const count = quick ? 2 ** 14 : software ? 2 ** 20 : 2 ** 24;
  const rows: Row[] = [];
  for (
    const [optimizer, first] of [
      // What the first update does to x, with gradient g of either sign.
      [adamw({ weightDecay: DECAY }), (x: number, g: number) => x * (1 - LR * DECAY) - LR * g / (Math.abs(g) + 1e-8)],
      [adam(), (x: number, g: number) => x - LR * g / (Math.abs(g) + 1e-8)],
      [adagrad(), (x: number, g: number) => x - LR * g / (Math.abs(g) + 1e-10)],
      [sgd({ momentum: 0.9 }), (x: number, g: number) => x - LR * g],
    ] as const
  ) {
    const row = await measure(context, optimizer, count, first);
    rows.push(row);
    report(row);
  }
  return rows;
}

async function measure(
  { device, peaks, quick }: Context,
  optimizer: Optimizer,
  count: number,
  first: (x: number, g: number) => number,
): Promise<Row> {
  const layout = flatLayout([{ name: "w", shape: [count] }], { maxWords: device.target.maxBinding / 4 });
  const graph = new Graph(device.target);
  const gradients = flatPages(graph, layout, "grads");
  gradientNorm(graph, gradients);
  update(graph, layout, { optimizer, gradients });
  const store = createStore(device);
  try {
    const x = normals(count, 1, 1), g = normals(count, 2, 1);
    await put(store, "params.0", x);
    await put(store, "grads.0", g);
    const program = await compile(graph, { store, name: optimizer.name });
    write(program, scalarsLeaf(graph), encodeScalars({ lr: LR, corrections: optimizer.corrections(1), maxNorm: 0 }));
    run(program);
    const after = await fetch(store, "params.0", { length: count });
    // Relative to the step, not to the parameter: a wrong step must not hide behind a large parameter.
    const error = Math.max(...spread(count).map((i) => Math.abs(after[i]! - first(x[i]!, g[i]!)) / LR));
    const times = await time(program, { rounds: quick ? 3 : 7 });
    program.destroy();
    const rate = bytesOf(optimizer) * count / times.best / 1e6;
    return {
      family: "optimizer",
      name: `norm and ${optimizer.name}`,
      shape: `${count}`,
      error,
      ...times,
      rate,
      unit: "GB/s",
      share_of_peak: shareOf(peaks, rate, "GB/s"),
    };
  } finally {
    release(store);
  }
}
