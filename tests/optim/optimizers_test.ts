// Every optimizer against PyTorch's published formulas in f64, for 100 steps on random gradients.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { ConfigError } from "../../src/core/errors.ts";
import { Graph } from "../../src/graph/graph.ts";
import type { DeviceOptions } from "../../src/gpu/device.ts";
import { fetch } from "../../src/gpu/store.ts";
import { flatLayout, flatPages } from "../../src/optim/flat.ts";
import { adagrad, adam, adamw, type Optimizer, optimizers, sgd } from "../../src/optim/mod.ts";
import { update } from "../../src/optim/optimizer.ts";
import { gpuTest } from "../device.ts";
import { relativeError } from "../ops/harness.ts";
import { initial, randomTensors, tensors, updater } from "./harness.ts";

const STEPS = 100;
const MAX_NORM = 20; // the norm of 1,137 standard normal numbers is about 34: every step clips

/** One element of a parameter: its value and states change in place. */
interface Element {
  x: number;
  m: number;
  v: number;
}
type Reference = (e: Element, g: number, t: number, lr: number, weightDecay: number) => void;

interface Case {
  readonly name: string;
  readonly optimizer: Optimizer;
  readonly reference: Reference;
  readonly lr: number;
}

// torch/optim/sgd.py _single_tensor_sgd: grad = grad.add(param, alpha=weight_decay); the buffer is a copy of grad at
// first, then buf.mul_(momentum).add_(grad, alpha=1 - dampening); nesterov: grad = grad.add(buf, alpha=momentum),
// else grad = buf; param.add_(grad, alpha=-lr).
const sgdReference = (momentum: number, nesterov: boolean): Reference => (e, g, t, lr, weightDecay) => {
  g += weightDecay * e.x;
  e.m = t === 1 ? g : momentum * e.m + g;
  e.x -= lr * (momentum === 0 ? g : nesterov ? g + momentum * e.m : e.m);
};

// torch/optim/adam.py _single_tensor_adam: decoupled: param.mul_(1 - lr * weight_decay), else grad = grad.add(param,
// alpha=weight_decay); exp_avg.lerp_(grad, 1 - beta1); exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2);
// step_size = lr / bias_correction1; denom = (exp_avg_sq.sqrt() / bias_correction2_sqrt).add_(eps);
// param.addcdiv_(exp_avg, denom, value=-step_size).
const adamReference =
  (beta1: number, beta2: number, eps: number, decoupled: boolean): Reference => (e, g, t, lr, weightDecay) => {
    if (decoupled) e.x *= 1 - lr * weightDecay;
    else g += weightDecay * e.x;
    e.m += (1 - beta1) * (g - e.m);
    e.v = beta2 * e.v + (1 - beta2) * g * g;
    e.x -= lr / (1 - beta1 ** t) * (e.m / (Math.sqrt(e.v) / Math.sqrt(1 - beta2 ** t) + eps));
  };

// torch/optim/adagrad.py _single_tensor_adagrad: grad = grad.add(param, alpha=weight_decay);
// clr = lr / (1 + (step - 1) * lr_decay); state_sum.addcmul_(grad, grad, value=1); std = state_sum.sqrt().add_(eps);
// param.addcdiv_(grad, std, value=-clr). state_sum starts at initial_accumulator_value.
const adagradReference =
  (lrDecay: number, initialValue: number, eps: number): Reference => (e, g, t, lr, weightDecay) => {
    g += weightDecay * e.x;
    e.m = t === 1 ? initialValue + g * g : e.m + g * g;
    e.x -= lr / (1 + (t - 1) * lrDecay) * (g / (Math.sqrt(e.m) + eps));
  };

const cases: readonly Case[] = [
  { name: "sgd", optimizer: sgd(), reference: sgdReference(0, false), lr: 0.01 },
  { name: "sgd, decay", optimizer: sgd({ weightDecay: 0.1 }), reference: sgdReference(0, false), lr: 0.01 },
  { name: "sgd, momentum", optimizer: sgd({ momentum: 0.9 }), reference: sgdReference(0.9, false), lr: 0.01 },
  {
    name: "sgd, Nesterov, decay",
    optimizer: sgd({ momentum: 0.9, nesterov: true, weightDecay: 0.1 }),
    reference: sgdReference(0.9, true),
    lr: 0.01,
  },
  { name: "adam", optimizer: adam(), reference: adamReference(0.9, 0.999, 1e-8, false), lr: 0.01 },
  {
    name: "adam, decay",
    optimizer: adam({ weightDecay: 0.1, eps: 1e-3 }),
    reference: adamReference(0.9, 0.999, 1e-3, false),
    lr: 0.01,
  },
  {
    name: "adamw",
    optimizer: adamw({ weightDecay: 0.1 }),
    reference: adamReference(0.9, 0.999, 1e-8, true),
    lr: 0.01,
  },
  {
    name: "adamw, other betas",
    optimizer: adamw({ beta1: 0.8, beta2: 0.95, eps: 1e-6, weightDecay: 0.01 }),
    reference: adamReference(0.8, 0.95, 1e-6, true),
    lr: 0.01,
  },
  { name: "adagrad", optimizer: adagrad(), reference: adagradReference(0, 0, 1e-10), lr: 0.05 },
  {
    name: "adagrad, all settings",
    optimizer: adagrad({ lrDecay: 0.01, initialAccumulator: 0.1, weightDecay: 0.1, eps: 1e-6 }),
    reference: adagradReference(0.01, 0.1, 1e-6),
    lr: 0.05,
  },
];

/** Parameters after all steps in f64, from what the GPU gets: f32 gradients and f32 rates. */
function expected({ optimizer, reference, lr }: Case, lrs: readonly number[]): Map<string, Float64Array> {
  const elements = new Map([...initial()].map((
    [name, values],
  ) => [name, Array.from(values, (x): Element => ({ x, m: 0, v: 0 }))]));
  assertEquals(lrs[1], lr);
  for (let t = 1; t <= STEPS; t++) {
    const gradients = randomTensors(t);
    const norm = Math.sqrt([...gradients.values()].flatMap((g) => [...g]).reduce((sum, g) => sum + g * g, 0));
    const coefficient = Math.min(1, MAX_NORM / (norm + 1e-6));
    for (const { name, decay = true, lrScale = 1 } of tensors) {
      elements.get(name)!.forEach((e, i) =>
        reference(
          e,
          gradients.get(name)![i]! * coefficient,
          t,
          lrScale * lrs[t - 1]!,
          decay ? optimizer.weightDecay : 0,
        )
      );
    }
  }
  return new Map([...elements].map(([name, es]) => [name, Float64Array.from(es, ({ x }) => x)]));
}

// The kernels are the same in every class; with the small binding there are two pages.
const devices: readonly DeviceOptions[] = [{}, { maxBinding: 4352 }];
const worst = new Map<string, number>();

for (const c of cases) {
  for (const options of devices) {
    gpuTest(`${c.name}: ${STEPS} steps as PyTorch, ${JSON.stringify(options)}`, async (device) => {
      const lrs = Array.from({ length: STEPS }, (_, i) => i === 0 ? 0 : c.lr); // HF's first step of a warm-up
      const u = await updater(device, c.optimizer);
      assertEquals(u.layout.pages.length, options.maxBinding ? 2 : 1);
      for (let t = 1; t <= STEPS; t++) {
        await u.step(randomTensors(t), {
          lr: lrs[t - 1]!,
          corrections: c.optimizer.corrections(t),
          maxNorm: MAX_NORM,
        });
      }
      const actual = await u.tensors("params");
      for (const [name, values] of expected(c, lrs)) {
        const error = relativeError(actual.get(name)!, values);
        worst.set(c.optimizer.name, Math.max(worst.get(c.optimizer.name) ?? 0, error));
        // 100 f32 additions of half an ulp (6e-8) each, in a random walk, and the drift of rounded constants
        assert(error < 1e-6, `"${name}": error ${error.toExponential(2)}`);
      }
      u.destroy();
    }, options);
  }
}

Deno.test("optimizers: worst errors", () => {
  for (const [name, error] of worst) {
    console.log(`error ${name.padEnd(10)} ${error.toExponential(1)} after ${STEPS} steps`);
  }
});

gpuTest("the padding between tensors stays zero", async (device) => {
  for (const optimizer of [adamw({ weightDecay: 0.1 }), adagrad(), sgd({ momentum: 0.9, weightDecay: 0.1 })]) {
    const u = await updater(device, optimizer);
    for (let t = 1; t <= 3; t++) await u.step(randomTensors(t), { lr: 0.1, corrections: optimizer.corrections(t) });
    const words = await fetch(u.store, "params.0", { length: u.layout.pages[0]! });
    for (const { place: { offset, length } } of u.layout.tensors.values()) words.fill(0, offset, offset + length);
    assertEquals(words.findIndex((x) => x !== 0), -1);
    u.destroy();
  }
});

Deno.test("settings outside of their range: all problems in one error", () => {
  const bad = [
    () => adamw({ beta1: 1, beta2: -0.1, eps: 0, weightDecay: NaN }),
    () => sgd({ momentum: -1, weightDecay: Infinity }),
    () => adagrad({ lrDecay: -1, initialAccumulator: -1 }),
  ];
  assertEquals(bad.map((make) => assertThrows(make, ConfigError).problems.length), [4, 2, 2]);
  assertThrows(() => sgd({ nesterov: true }), ConfigError, "nesterov needs a momentum");
});

Deno.test("the corrections of the first steps", () => {
  assertEquals(adamw({ beta1: 0.5, beta2: 0.75 }).corrections(2), { c1: 0.75, c2: 0.4375 });
  assertEquals(adagrad({ lrDecay: 0.5 }).corrections(3), { c1: 2, c2: 1 });
  assertEquals(Object.values(optimizers).map((make) => make().name), Object.keys(optimizers));
});

Deno.test("an update is one dispatch for a page and group of settings", () => {
  const graph = new Graph();
  const layout = flatLayout(tensors, { maxWords: 2 ** 25 });
  update(graph, layout, { optimizer: adamw(), gradients: flatPages(graph, layout, "grads") });
  const kernels = graph.nodes.flatMap((node) => node.op.kernels(node, graph.target));
  assertEquals(kernels.length, 3);
  assertEquals(new Set(kernels.map(({ wgsl }) => wgsl)).size, 1);
});
