// GPT-2 (Radford et al. 2019), as transformers' modeling_gpt2.py: learned positions, pre-norm blocks, packed qkv,
// weights stored [In, Out] (Conv1D), tanh GELU, output projection tied to the embedding unless the config says not.
import type { Value } from "../graph/graph.ts";
import { ACTIVATION_NAMES } from "../nn/activation.ts";
import { branch } from "../nn/branch.ts";
import { embed } from "../nn/embed.ts";
import { linear } from "../nn/linear.ts";
import { conv1dMlp } from "../nn/mlp.ts";
import { layerNorm } from "../nn/norm.ts";
import { type ModelScope, type SiteInfo, tiedWeight, weight, within } from "../nn/scope.ts";
import { add } from "../ops/elementwise.ts";
import type { Architecture } from "./architecture.ts";
import { type Json, readConfig } from "./config.ts";
import { linearHead, TOKEN_HEADS } from "./heads.ts";

/** GPT-2 from its config.json. */
export function gpt2(config: Json): Architecture {
  const c = readConfig(config);
  const V = c.count("vocab_size"), P = c.count("n_positions", { fallback: 1024 });
  const D = c.count("n_embd"), H = c.count("n_head"), layers = c.count("n_layer", { max: 10_000 });
  const F = c.count("n_inner", { fallback: 4 * D });
  const eps = c.number("layer_norm_epsilon", 1e-5);
  const act = c.choice("activation_function", ACTIVATION_NAMES, "gelu_new");
  const tied = c.flag("tie_word_embeddings", true);
  const scaled = c.flag("scale_attn_weights", true), byLayer = c.flag("scale_attn_by_inverse_layer_idx", false);
  if (D % H !== 0) c.problem("n_embd", `must be a multiple of n_head = ${H}: received ${D}`);
  if (c.flag("add_cross_attention", false)) {
    c.problem("add_cross_attention", "must be false: cross attention is not supported");
  }
  c.finish();
  const E = D / H;
  const std = 0.02 / Math.sqrt(2 * layers);

  const block = (m: ModelScope, i: number, x: Value): Value => {
    const scale = (scaled ? 1 / Math.sqrt(E) : 1) / (byLayer ? i + 1 : 1);
    const u = norm(m, "ln_1", x);
    const attended = within(m, "attn", () => {
      const qkv = linear(m, "c_attn", u, { In: D, Out: 3 * D, bias: true, transposed: true });
      const o = m.sequence.attendPacked(qkv, { H, K: H, E, scale });
      return linear(m, "c_proj", o, { In: D, Out: D, bias: true, transposed: true, init: { kind: "normal", std } });
    });
    const h = add(x, branch(m, "attention", { name: "attn", h: attended, x: u }));
    const w = norm(m, "ln_2", h);
    return add(h, branch(m, "mlp", { name: "mlp", h: conv1dMlp(m, w, { D, F, act, std }), x: w }));
  };
  const norm = (m: ModelScope, name: string, x: Value) => layerNorm(m, name, x, { D, eps });

  return {
    type: "gpt2",
    V,
    D,
    layers,
    positions: P,
    cache: { K: H, E },
    tied,
    prefix: "transformer.",
    causal: true,
    heads: { ...TOKEN_HEADS, "sequence-classification": linearHead({ name: "score", bias: false, reads: "last" }) },
    hidden: (m, tokens) =>
      within(m, "transformer", () => {
        let x = m.sequence.addPositions(embed(m, "wte", tokens, { V, D }), weight(m, "wpe.weight", [P, D]));
        for (let i = 0; i < layers; i++) x = within(m, `h.${i}`, () => block(m, i, x));
        return norm(m, "ln_f", x);
      }),
    head(m) {
      const info: SiteInfo = { path: "lm_head", In: D, Out: V, transposed: false, output: true };
      const name = "lm_head.weight", of = tied ? "transformer.wte.weight" : name;
      return { info, weight: tiedWeight(m, { name, of }, [V, D]) };
    },
  };
}
