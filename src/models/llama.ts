// Llama (arXiv:2302.13971, 2307.09288, Llama 3), as transformers' modeling_llama.py: RMS norms, rotary embedding with
// its scaling rules, grouped queries, gated feed-forward, optional biases, output projection tied or not.
import type { Value } from "../graph/graph.ts";
import { branch } from "../nn/branch.ts";
import { embed } from "../nn/embed.ts";
import { linear } from "../nn/linear.ts";
import { gatedMlp } from "../nn/mlp.ts";
import { rmsNorm } from "../nn/norm.ts";
import { type ModelScope, type SiteInfo, tiedWeight, within } from "../nn/scope.ts";
import type { RotaryTables } from "../nn/sequence.ts";
import { add } from "../ops/elementwise.ts";
import { ropeTables } from "../ops/rope_tables.ts";
import type { Architecture } from "./architecture.ts";
import { type ConfigReader, type Json, readConfig } from "./config.ts";
import { linearHead } from "./heads.ts";
import { ropeSettings } from "./rope_config.ts";

/** What a relative of Llama has of its own. */
export interface LlamaFamily {
  /** `model_type` in config.json. */
  readonly type: string;
  /** Width of a head where the config does not say; hidden_size / num_attention_heads by default. */
  readonly headDim?: number;
  /** Whether every head of q and k passes an RMS norm before the rotary embedding. */
  readonly headNorm?: boolean;
  /** Notes what else of the config cannot be honored. */
  readonly check?: (c: ConfigReader) => void;
}

/** Llama from its config.json. */
export function llama(config: Json): Architecture {
  return llamaLike(config, { type: "llama" });
}

/** A model built like Llama, from its config.json. */
export function llamaLike(config: Json, family: LlamaFamily): Architecture {
  const c = readConfig(config);
  const V = c.count("vocab_size"), D = c.count("hidden_size"), F = c.count("intermediate_size");
  const layers = c.count("num_hidden_layers", { max: 10_000 }), H = c.count("num_attention_heads");
  const K = c.count("num_key_value_heads", { fallback: H });
  const E = c.count("head_dim", { fallback: family.headDim ?? Math.floor(D / H) });
  const positions = c.count("max_position_embeddings", { fallback: 2048 });
  const eps = c.number("rms_norm_eps", 1e-6);
  const bias = c.flag("attention_bias", false), mlpBias = c.flag("mlp_bias", false);
  const tied = c.flag("tie_word_embeddings", false);
  c.choice("hidden_act", ["silu", "swish"], "silu");
  if (H % K !== 0) c.problem("num_key_value_heads", `must divide num_attention_heads = ${H}: received ${K}`);
  if ((config.head_dim ?? family.headDim ?? null) === null && D % H !== 0) {
    c.problem("hidden_size", `must be a multiple of num_attention_heads = ${H}: received ${D}`);
  }
  if (E % 2 !== 0) c.problem("head_dim", `must be even for rotary embedding: received ${E}`);
  family.check?.(c);
  const { theta, scaling } = ropeSettings(config, c);
  c.finish();
  const heads = { H, K, E, scale: 1 / Math.sqrt(E) };

  const rotary = (m: ModelScope): RotaryTables => {
    const { length } = m.sequence;
    const shape = [length, E / 2];
    const tables = () => ropeTables({ positions: length, E, theta, scaling });
    return {
      cos: m.leaves.constant(m.graph, `rope.cos.${length}`, shape, () => tables().cos),
      sin: m.leaves.constant(m.graph, `rope.sin.${length}`, shape, () => tables().sin),
    };
  };

  const headNorm = (m: ModelScope, name: string, x: Value) => family.headNorm ? rmsNorm(m, name, x, { D: E, eps }) : x;

  const block = (m: ModelScope, x: Value): Value => {
    const u = rmsNorm(m, "input_layernorm", x, { D, eps });
    const attended = within(m, "self_attn", () => {
      const q = linear(m, "q_proj", u, { In: D, Out: H * E, bias });
      const k = linear(m, "k_proj", u, { In: D, Out: K * E, bias });
      const v = linear(m, "v_proj", u, { In: D, Out: K * E, bias });
      const tables = rotary(m);
      const turned = {
        q: m.sequence.rotate(headNorm(m, "q_norm", q), tables, { heads: H, E }),
        k: m.sequence.rotate(headNorm(m, "k_norm", k), tables, { heads: K, E }),
        v,
      };
      return linear(m, "o_proj", m.sequence.attend(turned, heads), { In: H * E, Out: D, bias });
    });
    const h = add(x, branch(m, "attention", { name: "self_attn", h: attended, x: u }));
    const w = rmsNorm(m, "post_attention_layernorm", h, { D, eps });
    return add(h, branch(m, "mlp", { name: "mlp", h: gatedMlp(m, w, { D, F, bias: mlpBias }), x: w }));
  };

  return {
    type: family.type,
    V,
    D,
    layers,
    positions,
    cache: { K, E },
    tied,
    prefix: "model.",
    causal: true,
    heads: {
      "sequence-classification": linearHead({ name: "score", bias: false, reads: "last" }),
      "token-classification": linearHead({ name: "score", bias: true, reads: "each" }),
    },
    hidden: (m, tokens) =>
      within(m, "model", () => {
        let x = embed(m, "embed_tokens", tokens, { V, D });
        for (let i = 0; i < layers; i++) x = within(m, `layers.${i}`, () => block(m, x));
        return rmsNorm(m, "norm", x, { D, eps });
      }),
    head(m) {
      const info: SiteInfo = { path: "lm_head", In: D, Out: V, transposed: false, output: true };
      const name = "lm_head.weight", of = tied ? "model.embed_tokens.weight" : name;
      return { info, weight: tiedWeight(m, { name, of }, [V, D]) };
    },
  };
}
