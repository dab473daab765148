// Hand calculations, the rates of PyTorch runs, and the rates recorded in ../shared/fixtures.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { ConfigError } from "../../src/core/errors.ts";
import { decays } from "../../src/optim/decay.ts";
import {
  constant,
  constantWithWarmup,
  cosine,
  linear,
  type Schedule,
  type ScheduleName,
  schedules,
  warmupSteps,
} from "../../src/optim/schedule.ts";

const rates = (schedule: Schedule, lr: number, steps: number) =>
  Array.from({ length: steps }, (_, done) => lr * schedule(done));

Deno.test("linear: up from 0, then down to 0", () => {
  assertEquals(rates(linear({ warmup: 2, total: 6 }), 1, 8), [0, 0.5, 1, 0.75, 0.5, 0.25, 0, 0]);
  assertEquals(rates(linear({ total: 4 }), 1, 4), [1, 0.75, 0.5, 0.25]);
  // fixtures/gpt2-lora, printed by transformers 5.17
  assertEquals(rates(linear({ warmup: 2, total: 8 }), 0.005, 8), [
    0.0,
    0.0025,
    0.005,
    0.004166666666666667,
    0.003333333333333333,
    0.0025,
    0.0016666666666666666,
    0.0008333333333333333,
  ]);
});

Deno.test("cosine: half a wave, or as many as asked for", () => {
  const values = cosine({ warmup: 1, total: 5 });
  const halves = [0, 1, (1 + Math.SQRT1_2) / 2, 0.5, (1 - Math.SQRT1_2) / 2, 0];
  halves.forEach((y, done) => assert(Math.abs(values(done) - y) < 1e-15, `update ${done}: ${values(done)}`));
  const wave = cosine({ total: 4, cycles: 1 });
  [1, 0.5, 0, 0.5, 1].forEach((y, done) => assert(Math.abs(wave(done) - y) < 1e-15));
});

Deno.test("constant, with and without warm-up", () => {
  assertEquals(rates(constant({ total: 3 }), 0.1, 3), [0.1, 0.1, 0.1]);
  assertEquals(rates(constantWithWarmup({ warmup: 4, total: 9 }), 1, 6), [0, 0.25, 0.5, 0.75, 1, 1]);
});

Deno.test("a warm-up below 1 is a share of the run, rounded up", () => {
  assertEquals([warmupSteps(0, 10), warmupSteps(0.1, 10), warmupSteps(0.11, 10), warmupSteps(3, 10)], [0, 1, 2, 3]);
  const error = assertThrows(() => linear({ warmup: 0.1, total: -1 }), ConfigError);
  assertEquals(error.problems.length, 2);
});

Deno.test("schedules agree with every fixture to the last bit", () => {
  const folder = new URL("../../../shared/fixtures/", import.meta.url);
  let cases = 0;
  try {
    for (const { name } of Deno.readDirSync(folder)) {
      let text: string;
      try {
        text = Deno.readTextFileSync(new URL(`${name}/case.json`, folder));
      } catch {
        continue; // a script or another kind of fixture
      }
      const { training, lrs } = JSON.parse(text);
      if (!training) continue;
      const schedule = schedules[training.schedule as ScheduleName]({
        warmup: training.warmup_steps,
        total: training.steps,
      });
      assertEquals(rates(schedule, training.optimizer.lr, training.steps), lrs, name);
      cases++;
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    console.log("skipped, no ../shared");
    return;
  }
  assert(cases >= 20, `${cases} fixtures`);
});

Deno.test("decays: not biases, not the weights of norms", () => {
  const yes = [
    "model.layers.0.self_attn.q_proj.weight",
    "transformer.h.0.attn.c_attn.weight",
    "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
    "model.embed_tokens.weight",
    "transformer.wte.weight",
    "model.normalizer.weight",
  ];
  const no = [
    "transformer.h.0.attn.c_attn.bias",
    "transformer.h.0.ln_1.weight",
    "transformer.ln_f.weight",
    "model.norm.weight",
    "model.layers.0.input_layernorm.weight",
    "model.layers.0.self_attn.q_norm.weight",
    "bert.encoder.layer.0.output.LayerNorm.weight",
    "encoder.block.0.layer.0.layer_norm.weight",
  ];
  assertEquals(yes.filter((name) => !decays(name)), []);
  assertEquals(no.filter(decays), []);
});
