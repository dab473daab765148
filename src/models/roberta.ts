// RoBERTa (arXiv:1907.11692), as transformers' modeling_roberta.py: BERT's layers, positions that count real tokens from
// padding_idx + 1, and a head of two layers on the first token.
import type { Value } from "../graph/graph.ts";
import { linear } from "../nn/linear.ts";
import { type ModelScope, within } from "../nn/scope.ts";
import { tanh } from "../ops/activations.ts";
import { add } from "../ops/elementwise.ts";
import { embedding } from "../ops/embedding.ts";
import type { Architecture, Head } from "./architecture.ts";
import { bertLayers, bertSizes, encoder, square, tokenVectors, vocabularyHead } from "./bert.ts";
import { type Json, readConfig } from "./config.ts";
import { classify, TOKEN_HEADS } from "./heads.ts";

/** RoBERTa, or XLM-RoBERTa, from its config.json. */
export function roberta(config: Json): Architecture {
  const c = readConfig(config);
  const sizes = bertSizes(c);
  const { D } = sizes;
  const pad = c.count("pad_token_id", { fallback: 1, min: 0 });
  const P = c.count("max_position_embeddings", { fallback: 514 });
  const types = c.count("type_vocab_size", { fallback: 1 });
  if (P <= pad + 1) c.problem("max_position_embeddings", `must exceed pad_token_id + 1 = ${pad + 1}: received ${P}`);
  c.finish();
  const head: Head = {
    modules: ["classifier"],
    reads: "first",
    logits: (m, first, classes) =>
      within(m, "classifier", () => classify(m, "out_proj", tanh(linear(m, "dense", first, square(D))), { classes })),
  };
  return {
    ...encoder(c.choice("model_type", ["roberta", "xlm-roberta"], "roberta"), sizes, "roberta."),
    positions: P - pad - 1,
    tokenTypes: types,
    positionIds: (ids) => {
      let seen = 0;
      return ids.map((id) => id === pad ? pad : pad + ++seen);
    },
    hidden: (m: ModelScope, tokens: Value, places) =>
      within(m, "roberta", () => {
        const sum = tokenVectors(m, tokens, places, { ...sizes, types });
        const x = add(sum.x, embedding(sum.table("position_embeddings", P), places!.position_ids!));
        return bertLayers(m, sum.norm(x), sizes);
      }),
    heads: {
      ...TOKEN_HEADS,
      "sequence-classification": head,
      // The activation of this head is the exact GELU whatever that of the layers is.
      "masked-lm": vocabularyHead({ ...sizes, act: "gelu" }, {
        path: "lm_head",
        dense: "dense",
        norm: "layer_norm",
        decoder: "decoder",
        bias: "bias",
        table: "roberta.embeddings.word_embeddings",
      }),
    },
  };
}
