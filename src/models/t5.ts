// T5 (arXiv:1910.10683) and its shapes (T5 v1.1, FLAN-T5, mT5), as transformers' modeling_t5.py: an encoder and a decoder
// of pre-norm blocks, RMS norms, scores without a factor and with a bias by distance that all layers of a half share,
// feed-forwards plain or gated, one table of token vectors; an output projection that is this table, scaled, or its own.
import type { Value } from "../graph/graph.ts";
import {
  activation,
  ACTIVATION_NAMES,
  type ActivationName,
  gate,
  GATE_NAMES,
  type GateName,
} from "../nn/activation.ts";
import { branch } from "../nn/branch.ts";
import { linear } from "../nn/linear.ts";
import { rmsNorm } from "../nn/norm.ts";
import { type Init, type ModelScope, type SiteInfo, tiedWeight, weight, within } from "../nn/scope.ts";
import { stackedLinears } from "../nn/stacked_linears.ts";
import { add, scale } from "../ops/elementwise.ts";
import { embedding } from "../ops/embedding.ts";
import { type BucketRule, relativeBuckets } from "../ops/relative_bias.ts";
import type { Architecture } from "./architecture.ts";
import { type ConfigReader, type Json, readConfig } from "./config.ts";

/** Distances have no end; this one bounds the tables over them. */
const POSITIONS = 2 ** 15;

/** T5 from its config.json. */
export function t5(config: Json): Architecture {
  const c = readConfig(config);
  const V = c.count("vocab_size"), D = c.count("d_model"), E = c.count("d_kv"), F = c.count("d_ff");
  const H = c.count("num_heads"), layers = c.count("num_layers", { max: 10_000 });
  const decoderLayers = c.count("num_decoder_layers", { fallback: layers, max: 10_000 });
  const buckets = c.count("relative_attention_num_buckets", { fallback: 32, min: 4, max: 2 ** 16 });
  const maxDistance = c.count("relative_attention_max_distance", { fallback: 128 });
  const eps = c.number("layer_norm_epsilon", 1e-6), factor = c.number("initializer_factor", 1);
  const tied = c.flag("tie_word_embeddings", true), scaled = c.flag("scale_decoder_outputs", tied);
  const startId = c.count("decoder_start_token_id", { fallback: 0, min: 0, max: V - 1 });
  const padId = c.count("pad_token_id", { fallback: 0, min: 0, max: V - 1 });
  const form = feedForward(c);
  if (maxDistance <= Math.floor(buckets / 2)) {
    c.problem(
      "relative_attention_max_distance",
      `must be above half of the ${buckets} buckets: received ${maxDistance}`,
    );
  }
  c.finish();
  const heads = { H, K: H, E, scale: 1 };
  const normal = (variance: number): Init => ({ kind: "normal", std: factor * Math.sqrt(variance) });
  const norm = (m: ModelScope, name: string, x: Value) => rmsNorm(m, name, x, { D, eps });

  /** A linear map without a bias. */
  const map = (m: ModelScope, name: string, x: Value, [In, Out]: readonly [number, number]) =>
    linear(m, name, x, { In, Out, init: normal(name === "q" ? 1 / (D * E) : 1 / In) });

  const keys = (m: ModelScope, x: Value) => ({ k: map(m, "k", x, [D, H * E]), v: map(m, "v", x, [D, H * E]) });

  /** Bias by distance of all layers of a half, stored in the first one. */
  const bias = (m: ModelScope, bidirectional: boolean): Value => {
    const { length } = m.sequence, rule: BucketRule = { buckets, maxDistance, bidirectional };
    const name = `buckets ${bidirectional ? "both ways" : "back"} ${length}`;
    const rows = m.leaves.indices(m.graph, name, 2 * length - 1, () => relativeBuckets({ T: length, S: length }, rule));
    return within(
      m,
      "block.0.layer.0.SelfAttention",
      () => embedding(weight(m, "relative_attention_bias.weight", [buckets, H], normal(1 / D)), rows),
    );
  };

  /** x + sublayer(norm(x)), whose output a method may change. */
  const sublayer = (
    m: ModelScope,
    { layer, name, x }: { readonly layer: number; readonly name: string; readonly x: Value },
    body: (u: Value) => Value,
  ): Value =>
    within(m, `layer.${layer}`, () => {
      const u = norm(m, "layer_norm", x);
      const kind = name === "DenseReluDense" ? "mlp" : "attention";
      return add(x, branch(m, kind, { name, h: within(m, name, () => body(u)), x: u }));
    });

  const selfAttention = (m: ModelScope, x: Value, distances: Value): Value =>
    sublayer(m, { layer: 0, name: "SelfAttention", x }, (u) => {
      const inputs = { q: map(m, "q", u, [D, H * E]), ...keys(m, u), bias: distances };
      return map(m, "o", m.sequence.attend(inputs, heads), [H * E, D]);
    });

  const crossAttention = (m: ModelScope, x: Value): Value =>
    sublayer(m, { layer: 1, name: "EncDecAttention", x }, (u) => {
      const q = map(m, "q", u, [D, H * E]);
      return map(m, "o", m.sequence.source!.attend(q, (states) => keys(m, states), heads), [H * E, D]);
    });

  const mlp = (m: ModelScope, x: Value, layer: number): Value =>
    sublayer(m, { layer, name: "DenseReluDense", x }, (u) => {
      const half = (name: string) => map(m, name, u, [D, F]);
      const halves = () =>
        stackedLinears(m, u, ["wi_0", "wi_1"].map((name) => ({ name, In: D, Out: F }))) ??
          { gate: half("wi_0"), up: half("wi_1") };
      const h = form.gate ? gate(form.gate, halves()) : activation(form.act, half("wi"));
      return map(m, "wo", h, [F, D]);
    });

  const table = (m: ModelScope) => weight(m, "shared.weight", [V, D], normal(1));

  const half = (m: ModelScope, name: "encoder" | "decoder", tokens: Value): Value => {
    let x = embedding(table(m), tokens);
    return within(m, name, () => {
      const distances = bias(m, name === "encoder");
      for (let i = 0; i < (name === "encoder" ? layers : decoderLayers); i++) {
        x = within(m, `block.${i}`, () => {
          const h = selfAttention(m, x, distances);
          return name === "encoder" ? mlp(m, h, 1) : mlp(m, crossAttention(m, h), 2);
        });
      }
      return norm(m, "final_layer_norm", x);
    });
  };

  return {
    type: config.model_type as string,
    V,
    D,
    layers: decoderLayers,
    positions: POSITIONS,
    cache: { K: H, E },
    tied,
    prefix: "",
    causal: true,
    encoder: { states: (m, tokens) => half(m, "encoder", tokens), startId, padId },
    hidden(m, tokens) {
      const x = half(m, "decoder", tokens);
      return scaled ? scale(x, 1 / Math.sqrt(D)) : x;
    },
    head(m) {
      const info: SiteInfo = { path: "lm_head", In: D, Out: V, transposed: false, output: true };
      const name = "lm_head.weight";
      return { info, weight: tiedWeight(m, { name, of: tied ? "shared.weight" : name }, [V, D], normal(1)) };
    },
  };
}

/** A plain feed-forward with an activation, or a gated one. */
type FeedForward =
  | { readonly act: ActivationName; readonly gate?: undefined }
  | { readonly gate: GateName };

/** `feed_forward_proj`: an activation, or `gated-` and one; T5's "gated-gelu" is the approximation by tanh. */
function feedForward(c: ConfigReader): FeedForward {
  const gates = GATE_NAMES.map((name) => `gated-${name}` as const);
  const form = c.choice("feed_forward_proj", [...ACTIVATION_NAMES, ...gates], "relu");
  const act = ACTIVATION_NAMES.find((name) => name === form);
  if (act) return { act };
  const name = GATE_NAMES.find((name) => `gated-${name}` === form)!;
  return { gate: name === "gelu" ? "gelu_new" : name };
}
