import { assert, assertEquals, assertThrows } from "@std/assert";
import { randomKey, uniform } from "../../src/core/random.ts";
import { encodeScalars, SCALARS_WORDS } from "../../src/core/scalars.ts";
import type { DeviceOptions, GraftDevice } from "../../src/gpu/device.ts";
import { compile, read, run, write } from "../../src/gpu/executable.ts";
import { createStore, release } from "../../src/gpu/store.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import { LOOP_BUDGET } from "../../src/graph/target.ts";
import { argmax, penalizeRepeats, sample, type SampleOptions } from "../../src/ops/sample.ts";
import { sampleTrips } from "../../shaders/sample.ts";
import { gpuTest } from "../device.ts";
import { normal } from "./harness.ts";

// The class "default" differs from "gpu" only in the lanes of long rows. Barriers are slow here: fewer draws there.
const classes: readonly (DeviceOptions & { readonly kind: "software" | "gpu"; readonly draws: number })[] = [
  { kind: "software", draws: 4000 },
  { kind: "gpu", draws: 400 },
];

interface Call {
  readonly S: number;
  readonly V: number;
  readonly logits: ArrayLike<number>;
  readonly seed?: number;
  readonly step?: number;
  readonly tokens?: readonly number[];
  readonly build: (v: { readonly logits: Value; readonly scalars: Value; readonly tokens: Value }) => Value;
}

async function words(
  device: GraftDevice,
  { S, V, logits, seed, step, tokens = [], build }: Call,
): Promise<Uint32Array> {
  const graph = new Graph(device.target);
  const x = graph.leaf("input", "logits", [S, V]);
  const scalars = graph.leaf("input", "scalars", [SCALARS_WORDS], { dtype: "u32" });
  const history = graph.leaf("input", "tokens", [S, Math.max(1, tokens.length / S)], { dtype: "u32" });
  const y = build({ logits: x, scalars, tokens: history });
  const store = createStore(device);
  const program = await compile(graph, { store, keep: [y] });
  write(program, x, Float32Array.from(logits));
  write(program, scalars, encodeScalars({ seed: seed ?? 0, step: step ?? 0 }));
  if (tokens.length > 0) write(program, history, Uint32Array.from(tokens));
  write(program, y, new Uint32Array(y.shape.reduce((a, b) => a * b)).fill(12345)); // what is not written is found
  run(program);
  const [result] = await read(program, [y]);
  program.destroy();
  release(store);
  return new Uint32Array(result!.buffer);
}

/** Probabilities in f64 after Hugging Face's temperature, top-k and top-p. */
function probabilities(logits: ArrayLike<number>, { temperature = 1, topK = 0, topP = 1 }: SampleOptions): number[] {
  const scores = Array.from(logits, (x) => x / temperature);
  const sorted = [...scores].sort((a, b) => b - a);
  const least = topK > 0 ? sorted[Math.min(topK, sorted.length) - 1]! : -Infinity;
  const softmax = (keep: (x: number) => boolean) => {
    const exps = scores.map((x) => keep(x) ? Math.exp(x - sorted[0]!) : 0);
    const sum = exps.reduce((a, b) => a + b);
    return exps.map((e) => e / sum);
  };
  const p = softmax((x) => x >= least);
  // A token stays if those that are likelier do not reach topP.
  const massAbove = (x: number) => p.reduce((sum, q, i) => sum + (scores[i]! > x ? q : 0), 0);
  return topP < 1 ? softmax((x) => x >= least && massAbove(x) < topP) : p;
}

for (const { draws, ...device } of classes) {
  gpuTest(`argmax, ${device.kind} class: sizes, ties, ±1e4`, async (gpu) => {
    for (const V of [1, 2, 7, 64, 1000]) {
      const S = 5;
      const logits = normal(S * V, V).map((x) => Math.fround(Math.round(4 * x) * 2500)); // many are equal
      const expected = Array.from({ length: S }, (_, s) => {
        const row = logits.slice(s * V, (s + 1) * V);
        return row.indexOf(Math.max(...row));
      });
      assertEquals([...await words(gpu, { S, V, logits, build: ({ logits }) => argmax(logits) })], expected);
    }
  }, device);

  gpuTest(`sample, ${device.kind} class: frequencies are the probabilities`, async (gpu) => {
    const [S, V] = [draws, 50] as const;
    const row = normal(V, 5).map((x) => Math.fround(Math.round(6 * x) / 4)); // some are equal
    const logits = Array.from({ length: S * V }, (_, i) => row[i % V]!);
    const options: SampleOptions[] = [
      {},
      { temperature: 0.7, topK: 8 },
      { temperature: 1.5, topP: 0.6 },
      { topK: 20, topP: 0.8, stream: 77 },
      { topP: 1e-6 },
      { topK: 1 },
    ];
    for (const [seed, option] of options.entries()) {
      const tokens = await words(gpu, {
        S,
        V,
        logits,
        seed,
        step: 3,
        build: ({ logits, scalars }) => sample(logits, scalars, option),
      });
      const counts = new Float64Array(V);
      for (const token of tokens) counts[token]!++;
      for (const [token, p] of probabilities(row, option).entries()) {
        // Five standard deviations of a binomial count: one false alarm in 6,000 runs of all 300 tokens.
        const most = 5 * Math.sqrt(S * p * (1 - p));
        assert(
          Math.abs(counts[token]! - S * p) <= most + 1e-9,
          `${JSON.stringify(option)}: token ${token} came ${counts[token]} times, not ${S * p}`,
        );
      }
    }
  }, device);

  gpuTest(`sample, ${device.kind} class: a draw is a function of seed, stream, position and sequence`, async (gpu) => {
    const [S, V] = [300, 2] as const;
    for (const [seed, step, stream] of [[1, 0, 0], [1, 1, 0], [0xffffffff, 9, 0xdeadbeef]] as const) {
      const tokens = await words(gpu, {
        S,
        V,
        logits: new Float32Array(S * V),
        seed,
        step,
        build: ({ logits, scalars }) => sample(logits, scalars, { stream }),
      });
      const key = randomKey(seed, step, stream);
      assertEquals([...tokens], Array.from({ length: S }, (_, s) => uniform(key, s) < 0.5 ? 0 : 1));
    }
  }, device);
}

for (const { kind, S } of [{ kind: "software", S: 4 }, { kind: "gpu", S: 1 }] as const) {
  gpuTest(`sample of 151,936 logits keeps to top-k and top-p, ${kind} class`, (gpu) => largest(gpu, S), { kind });
}

async function largest(gpu: GraftDevice, S: number): Promise<void> {
  const V = 151_936;
  const logits = normal(S * V, 8).map((x) => Math.fround(2 * x));
  const option = { temperature: 0.8, topK: 50, topP: 0.5 };
  const tokens = await words(gpu, {
    S,
    V,
    logits,
    build: ({ logits, scalars }) => sample(logits, scalars, option),
  });
  for (const [s, token] of tokens.entries()) {
    const row = logits.slice(s * V, (s + 1) * V);
    const high = row.toSorted().slice(-50).toReversed(); // outside of the 50 largest all probabilities are zero
    const p = probabilities(high, option);
    const at = high.indexOf(row[token]!);
    assert(at >= 0 && p[at]! > 0, `token ${token} is not among the likeliest`);
  }
}

Deno.test("the loops of sample stay in their budget for large vocabularies and four lanes", () => {
  for (const V of [50_257, 151_936, 262_144]) {
    for (const lanes of [4, 8, 64]) {
      assert(sampleTrips({ V, group: { lanes, shuffle: true }, topK: true, topP: true }) < LOOP_BUDGET);
    }
  }
});

gpuTest("sample takes the position from another word", async (gpu) => {
  const [S, V] = [100, 2] as const;
  const tokens = await words(gpu, {
    S,
    V,
    logits: new Float32Array(S * V),
    seed: 5,
    tokens: Array.from({ length: S }, (_, i) => 40 + i),
    build: ({ logits, scalars, tokens }) => sample(logits, scalars, { position: { value: tokens, word: 2 } }),
  });
  assertEquals([...tokens], Array.from({ length: S }, (_, s) => uniform(randomKey(5, 42, 0), s) < 0.5 ? 0 : 1));
});

gpuTest("sample takes the numbers of rows from elsewhere", async (gpu) => {
  const [S, V] = [100, 2] as const;
  const tokens = await words(gpu, {
    S,
    V,
    logits: new Float32Array(S * V),
    seed: 5,
    step: 7,
    tokens: Array.from({ length: S }, (_, i) => 1000 + 3 * i),
    build: ({ logits, scalars, tokens }) => sample(logits, scalars, { numbers: reshaped(tokens) }),
  });
  const key = randomKey(5, 7, 0);
  assertEquals([...tokens], Array.from({ length: S }, (_, s) => uniform(key, 1000 + 3 * s) < 0.5 ? 0 : 1));
});

/** tokens[S, 1] as a list. */
function reshaped(tokens: Value): Value {
  return tokens.graph.leaf("input", "numbers", [tokens.shape[0]!], {
    dtype: "u32",
    within: { parent: tokens, offset: 0 },
  });
}

gpuTest("penalizeRepeats divides and multiplies once for each token, up to the length", async (gpu) => {
  const [S, V] = [2, 7] as const;
  const logits = [1, -2, 3, -4, 5, 0, 7, -1, 2, -3, 4, -5, 6, 0];
  const tokens = [0, 0, 1, 6, 99, 3, /**/ 5, 2, 2, 2, 0xffffffff, 6];
  const y = await words(gpu, {
    S,
    V,
    logits,
    tokens,
    step: 5,
    build: ({ logits, scalars, tokens }) =>
      penalizeRepeats(logits, tokens, { value: scalars, word: 1 }, { penalty: 2 }), // the word holds 5
  });
  assertEquals(
    [...new Float32Array(y.buffer)],
    [0.5, -4, 3, -4, 5, 0, 3.5, /**/ -1, 2, -6, 4, -5, 3, 0],
  );
});

Deno.test("sample lists the options that are out of range", () => {
  const graph = new Graph();
  const logits = graph.leaf("input", "x", [1, 4]);
  const scalars = graph.leaf("input", "scalars", [16], { dtype: "u32" });
  const error = assertThrows(
    () => sample(logits, scalars, { temperature: 0, topK: -1, topP: 0, stream: 0.5 }),
    RangeError,
  );
  for (const word of ["temperature", "topK", "topP", "stream"]) assert(error.message.includes(word));
  assertThrows(() => sample(logits, logits), TypeError, "scalars must be u32: received f32 [1, 4]");
  assertThrows(() => penalizeRepeats(logits, scalars, { value: scalars }, { penalty: 0 }), RangeError, "by 0");
});
