// DistilBERT (arXiv:1910.01108), as transformers' modeling_distilbert.py: half of BERT's layers under other names, without
// sentence vectors and pooler.
import type { Value } from "../graph/graph.ts";
import { activation, ACTIVATION_NAMES } from "../nn/activation.ts";
import { branch } from "../nn/branch.ts";
import { embed } from "../nn/embed.ts";
import { linear } from "../nn/linear.ts";
import { layerNorm } from "../nn/norm.ts";
import { type ModelScope, weight, within } from "../nn/scope.ts";
import { relu } from "../ops/activations.ts";
import { add } from "../ops/elementwise.ts";
import type { Architecture, Head } from "./architecture.ts";
import { attendSelf, encoder, square, vocabularyHead } from "./bert.ts";
import { type Json, readConfig } from "./config.ts";
import { classify, TOKEN_HEADS } from "./heads.ts";

/** DistilBERT from its config.json. */
export function distilbert(config: Json): Architecture {
  const c = readConfig(config);
  const V = c.count("vocab_size"), D = c.count("dim"), F = c.count("hidden_dim"), H = c.count("n_heads");
  const layers = c.count("n_layers", { max: 10_000 }), P = c.count("max_position_embeddings", { fallback: 512 });
  const act = c.choice("activation", ACTIVATION_NAMES, "gelu"), tied = c.flag("tie_word_embeddings", true);
  if (D % H !== 0) c.problem("dim", `must be a multiple of n_heads = ${H}: received ${D}`);
  c.finish();
  const eps = 1e-12, E = D / H, heads = { H, K: H, E, scale: 1 / Math.sqrt(E) };

  const layer = (m: ModelScope, x: Value): Value => {
    const attended = within(m, "attention", () => {
      return linear(m, "out_lin", attendSelf(m, x, { names: ["q_lin", "k_lin", "v_lin"], D, heads }), square(D));
    });
    const h = layerNorm(m, "sa_layer_norm", add(branch(m, "attention", { name: "attention", h: attended, x }), x), {
      ...{ D, eps },
    });
    const y = within(m, "ffn", () => {
      const u = activation(act, linear(m, "lin1", h, { In: D, Out: F, bias: true }));
      return linear(m, "lin2", u, { In: F, Out: D, bias: true });
    });
    return layerNorm(m, "output_layer_norm", add(branch(m, "mlp", { name: "ffn", h: y, x: h }), h), { D, eps });
  };
  const head: Head = {
    modules: ["classifier", "pre_classifier"],
    reads: "first",
    logits: (m, first, classes) =>
      classify(m, "classifier", relu(linear(m, "pre_classifier", first, square(D))), { classes }),
  };
  return {
    ...encoder("distilbert", { V, D, H, layers, tied }),
    positions: P,
    hidden: (m, tokens) =>
      within(m, "distilbert", () => {
        let x = within(m, "embeddings", () => {
          const words = embed(m, "word_embeddings", tokens, { V, D });
          const placed = m.sequence.addPositions(words, weight(m, "position_embeddings.weight", [P, D]));
          return layerNorm(m, "LayerNorm", placed, { D, eps });
        });
        for (let i = 0; i < layers; i++) x = within(m, "transformer", () => within(m, `layer.${i}`, () => layer(m, x)));
        return x;
      }),
    heads: {
      ...TOKEN_HEADS,
      "sequence-classification": head,
      "masked-lm": vocabularyHead({ V, D, F, H, layers, eps, act, tied }, {
        path: "",
        dense: "vocab_transform",
        norm: "vocab_layer_norm",
        decoder: "vocab_projector",
        bias: "vocab_projector.bias",
        table: "distilbert.embeddings.word_embeddings",
      }),
    },
  };
}
