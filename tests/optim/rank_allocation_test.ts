// AdaLoRA's allocation on the GPU against PEFT's RankAllocator written again in f64, step by step.
import { assert, assertEquals } from "@std/assert";
import { ALLOCATE } from "../../shaders/allocation.ts";
import { encodeScalars } from "../../src/core/scalars.ts";
import { compile, run, write } from "../../src/gpu/executable.ts";
import { createStore, fetch, put, release } from "../../src/gpu/store.ts";
import { Graph } from "../../src/graph/graph.ts";
import { flatLayout, flatPages } from "../../src/optim/flat.ts";
import { gradientNorm, scalarsLeaf } from "../../src/optim/norm.ts";
import { update } from "../../src/optim/optimizer.ts";
import { allocateRanks, allocateWord, importance, keptName, tripletsOf } from "../../src/optim/rank_allocation.ts";
import { sgd } from "../../src/optim/sgd.ts";
import { normal, randomKey } from "../../src/core/random.ts";
import { gpuTest } from "../device.ts";
import { fill, unpack } from "./harness.ts";

Deno.test("the word of a step: all ranks, fewer by a cubic law, those of the end", () => {
  const budget = { first: 24, last: 8, warmup: 2, total: 12, final: 3, interval: 2 };
  const words = Array.from({ length: 12 }, (_, step) => allocateWord(step, budget));
  const { NONE, STAYS, AGAIN } = ALLOCATE;
  // 16·(1 - (step - 2)/7)³ + 8, cut, at steps 4, 6, 8; at 9 the choice is made once more, without another look.
  const taken = (step: number) => 24 - Math.floor(16 * (1 - (step - 2) / 7) ** 3 + 8);
  const last = NONE + STAYS + AGAIN;
  assertEquals(words, [NONE, NONE, NONE, NONE, taken(4), NONE, taken(6), NONE, taken(8), STAYS + 16, last, last]);
  assertEquals([taken(4), taken(6), taken(8)], [11, 15, 16]);
});

const R = 3, MODULES = [{ In: 5, Out: 70 }, { In: 66, Out: 4 }];
const names = (i: number) => ({ a: `${i}.lora_A`, b: `${i}.lora_B`, e: `${i}.lora_E` });

gpuTest("sensitivities, scores and masks of twelve steps", async (device) => {
  const tensors = MODULES.flatMap(({ In, Out }, i) => {
    const { a, b, e } = names(i);
    return [{ name: a, shape: [R, In] }, { name: b, shape: [Out, R] }, { name: e, shape: [R, 1] }];
  });
  const layout = flatLayout(tensors, { maxWords: 2 ** 20 });
  const triplets = tripletsOf(layout, MODULES.map((_, i) => names(i)));
  const graph = new Graph(device.target);
  const gradients = flatPages(graph, layout, "grads");
  const table = graph.leaf("weight", "table", [triplets.table.length], { dtype: "u32" });
  gradientNorm(graph, gradients);
  const optimizer = sgd(), betas = { beta1: 0.85, beta2: 0.7 };
  update(graph, layout, { optimizer, gradients });
  allocateRanks(graph, layout, { triplets, table, watcher: importance(betas), gradients });
  const store = createStore(device);
  await put(store, "table", triplets.table);
  const size = (shape: readonly number[]) => shape.reduce((x, y) => x * y, 1);
  const random = (what: string, of: typeof tensors[number]) => {
    const key = randomKey(3, what, of.name);
    return Float32Array.from({ length: size(of.shape) }, (_, i) => normal(key, i));
  };
  const x = new Map(tensors.map((t) => [t.name, Float64Array.from(random("x", t))]));
  const ipt = new Map(tensors.map((t) => [t.name, new Float64Array(size(t.shape))]));
  const unc = new Map(tensors.map((t) => [t.name, new Float64Array(size(t.shape))]));
  await fill(store, layout, "params", new Map([...x].map(([name, values]) => [name, Float32Array.from(values)])));
  const program = await compile(graph, { store, name: "allocation" });

  const M = R * MODULES.length, lr = 0.05;
  const budget = { first: M, last: 2, warmup: 2, total: 12, final: 3, interval: 2 };
  let kept: boolean[] = [];
  for (let step = 0; step < 12; step++) {
    const g = new Map(tensors.map((t) => [t.name, random(`g ${step}`, t)]));
    await fill(store, layout, "grads", g);
    const allocate = allocateWord(step, budget);
    write(program, scalarsLeaf(graph), encodeScalars({ lr, maxNorm: 0, allocate }));
    run(program);

    for (const [name, values] of x) values.forEach((v, i) => values[i] = v - lr * g.get(name)![i]!);
    if (step < budget.total - budget.final) {
      for (const [name, values] of x) {
        const mean = ipt.get(name)!, spread = unc.get(name)!;
        values.forEach((v, i) => {
          const weight = Math.abs(v * g.get(name)![i]!);
          mean[i] = betas.beta1 * mean[i]! + (1 - betas.beta1) * weight;
          spread[i] = betas.beta2 * spread[i]! + (1 - betas.beta2) * Math.abs(weight - mean[i]!);
        });
      }
    }
    const score = (name: string, i: number) => ipt.get(name)![i]! * unc.get(name)![i]!;
    const all = MODULES.flatMap(({ In, Out }, m) => {
      const { a, b, e } = names(m);
      return Array.from({ length: R }, (_, r) => {
        const ofA = Array.from({ length: In }, (_, i) => score(a, r * In + i)).reduce((p, q) => p + q, 0) / In;
        const ofB = Array.from({ length: Out }, (_, o) => score(b, o * R + r)).reduce((p, q) => p + q, 0) / Out;
        return score(e, r) + ofA + ofB;
      });
    });
    const k = allocate % ALLOCATE.AGAIN;
    if (allocate < ALLOCATE.NONE) {
      const threshold = [...all].sort((p, q) => p - q)[k - 1] ?? -Infinity;
      kept = all.map((value) => !(value <= threshold));
    }
    if (allocate !== ALLOCATE.NONE) {
      kept.forEach((is, t) => {
        if (!is) x.get(names(Math.floor(t / R)).e)![t % R] = 0;
      });
    }
    for (const [kind, wanted] of [["params", x], ["exp_avg_ipt", ipt], ["exp_avg_unc", unc]] as const) {
      for (const [name, values] of await unpack(store, layout, kind)) {
        const worst = values.reduce((most, v, i) => Math.max(most, Math.abs(v - wanted.get(name)![i]!)), 0);
        assert(worst < 3e-6, `${kind} of ${name} at step ${step}: ${worst}`); // f32 numbers up to 10
      }
    }
  }
  assertEquals(kept.filter(Boolean).length, 2);
  const words = new Uint32Array((await fetch(store, keptName(layout), { length: M })).buffer);
  assertEquals([...words].map((word) => word !== 0), kept);
  program.destroy();
  release(store);
});
