// Universal Sentence Encoder Lite (arXiv:1803.11175), as the TensorFlow graph of version 1: sentence pieces, two layers
// with norms before each sublayer, the second twice as wide, and the mean of all tokens through a tanh layer.
//
//   x = 2 · embedding[id] + [sin(t · w), cos(t · w)]        w from 1 to 10^-4
//   h = P(x) + attention(LN(x));   y = h + W₂·relu(W₁·LN(h))        P: D₀ → D in the first layer, else nothing
//   p = tanh(W · mean(y));   sentence = p / |p|
//
// The graph has no names of modules; those here are Graft's own. Linear maps are stored [In, Out].
import type { Value } from "../graph/graph.ts";
import { branch } from "../nn/branch.ts";
import { embed } from "../nn/embed.ts";
import { linear } from "../nn/linear.ts";
import { layerNorm } from "../nn/norm.ts";
import { type ModelScope, within } from "../nn/scope.ts";
import { relu, tanh } from "../ops/activations.ts";
import { add, scale } from "../ops/elementwise.ts";
import { rmsNorm } from "../ops/rms_norm.ts";
import type { Architecture } from "./architecture.ts";
import { type Json, readConfig } from "./config.ts";
import { classify, TOKEN_HEADS } from "./heads.ts";

/** The encoder from its config.json. */
export function useLite(config: Json): Architecture {
  const c = readConfig(config);
  const V = c.count("vocab_size"), D0 = c.count("embedding_size"), D = c.count("hidden_size");
  const F = c.count("intermediate_size"), H = c.count("num_attention_heads");
  const layers = c.count("num_hidden_layers", { max: 10_000 }), positions = c.count("max_position_embeddings");
  const eps = c.number("layer_norm_eps", 1e-6);
  for (const [field, width] of [["embedding_size", D0], ["hidden_size", D]] as const) {
    if (width % H !== 0) c.problem(field, `must be a multiple of num_attention_heads = ${H}: received ${width}`);
  }
  if (D0 % 2 !== 0) c.problem("embedding_size", `must be even for sines and cosines: received ${D0}`);
  c.finish();
  const map = (m: ModelScope, name: string, x: Value, Out: number) =>
    linear(m, name, x, { In: x.shape[1]!, Out, bias: true, transposed: true });

  const layer = (m: ModelScope, x: Value): Value => {
    const W = x.shape[1]!, E = W / H;
    const attended = within(m, "attention", () => {
      const u = layerNorm(m, "norm", x, { D: W, eps });
      const o = m.sequence.attendPacked(map(m, "qkv", u, 3 * W), { H, K: H, E, scale: 1 / Math.sqrt(E) });
      return branch(m, "attention", { name: "output", h: map(m, "output", o, D), x: u });
    });
    const h = add(attended, W === D ? x : map(m, "residual", x, D));
    return within(m, "ffn", () => {
      const u = layerNorm(m, "norm", h, { D, eps });
      return add(branch(m, "mlp", { name: "wo", h: map(m, "wo", relu(map(m, "wi", u, F)), D), x: u }), h);
    });
  };
  const pooled = (m: ModelScope, mean: Value) => tanh(within(m, "pooler", () => map(m, "dense", mean, D)));

  // A row by its length is its RMS norm by √D.
  const unit = (m: ModelScope, x: Value) => {
    const w = m.leaves.constant(m.graph, `unit.${D}`, [D], () => new Float32Array(D).fill(1 / Math.sqrt(D)));
    return rmsNorm(x, w, { eps: 1e-12 / D });
  };

  return {
    ...{ type: "use-lite", V, D, layers, positions, prefix: "", tied: false, causal: false },
    cache: { K: H, E: D / H },
    hidden(m, tokens) {
      const { length } = m.sequence;
      const signal = m.leaves.constant(m.graph, `timing.${length}`, [length, D0], () => timing(length, D0));
      let x = m.sequence.addPositions(scale(embed(m, "embedding", tokens, { V, D: D0 }), 2), signal);
      for (let i = 0; i < layers; i++) x = within(m, `layers.${i}`, () => layer(m, x));
      return x;
    },
    heads: {
      ...TOKEN_HEADS,
      "sentence-embedding": { modules: [], reads: "mean", logits: (m, mean) => unit(m, pooled(m, mean)) },
      "sequence-classification": {
        modules: ["classifier"],
        reads: "mean",
        logits: (m, mean, classes) => classify(m, "classifier", pooled(m, mean), { classes }),
      },
    },
  };
}

/** Sines and cosines [T, D] of positions times D / 2 rates, from 1 down to 10^-4. */
function timing(T: number, D: number): Float32Array<ArrayBuffer> {
  const rates = Array.from({ length: D / 2 }, (_, i) => 10_000 ** (-i / (D / 2 - 1)));
  return Float32Array.from(
    Array.from({ length: T }, (_, t) => [...rates.map((w) => Math.sin(t * w)), ...rates.map((w) => Math.cos(t * w))])
      .flat(),
  );
}
