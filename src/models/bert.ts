// BERT (arXiv:1810.04805), as transformers' modeling_bert.py: learned positions and sentence vectors, norms behind each
// residual, attention in both directions; heads on the pooled first token, on every token, and over the vocabulary.
//
//   x = LN(word[id] + sentence[type] + position[t]);   h = LN(x + attention(x));   y = LN(h + W₂·act(W₁·h))
import type { Value } from "../graph/graph.ts";
import { activation, ACTIVATION_NAMES, type ActivationName } from "../nn/activation.ts";
import { branch } from "../nn/branch.ts";
import { embed } from "../nn/embed.ts";
import { applySite, linear } from "../nn/linear.ts";
import { layerNorm } from "../nn/norm.ts";
import { type ModelScope, pathOf, type SiteInfo, tiedWeight, weight, within } from "../nn/scope.ts";
import type { Heads } from "../nn/sequence.ts";
import { stackedLinears } from "../nn/stacked_linears.ts";
import { tanh } from "../ops/activations.ts";
import { add } from "../ops/elementwise.ts";
import { embedding } from "../ops/embedding.ts";
import type { Architecture, Head, TokenPlaces } from "./architecture.ts";
import { type ConfigReader, type Json, readConfig } from "./config.ts";
import { classify, TOKEN_HEADS } from "./heads.ts";

/** Sizes that BERT and its relatives share. */
export interface BertSizes {
  readonly V: number;
  readonly D: number;
  readonly F: number;
  readonly H: number;
  readonly layers: number;
  readonly eps: number;
  readonly act: ActivationName;
  readonly tied: boolean;
}

/** BERT from its config.json. */
export function bert(config: Json): Architecture {
  const c = readConfig(config);
  const sizes = bertSizes(c);
  const { D } = sizes;
  const P = c.count("max_position_embeddings", { fallback: 512 });
  const types = c.count("type_vocab_size", { fallback: 2 });
  c.finish();
  const pooled: Head = {
    modules: ["classifier", "bert.pooler"],
    reads: "first",
    logits(m, first, classes) {
      const x = within(m, "bert", () => within(m, "pooler", () => linear(m, "dense", first, square(D))));
      return classify(m, "classifier", tanh(x), { classes });
    },
  };
  return {
    ...encoder("bert", sizes),
    positions: P,
    tokenTypes: types,
    hidden: (m, tokens, places) =>
      within(m, "bert", () => {
        const sum = tokenVectors(m, tokens, places, { ...sizes, types });
        const x = m.sequence.addPositions(sum.x, sum.table("position_embeddings", P));
        return bertLayers(m, sum.norm(x), sizes);
      }),
    heads: {
      ...TOKEN_HEADS,
      "sequence-classification": pooled,
      "masked-lm": vocabularyHead(sizes, {
        path: "cls.predictions",
        dense: "transform.dense",
        norm: "transform.LayerNorm",
        decoder: "decoder",
        bias: "bias",
        table: "bert.embeddings.word_embeddings",
      }),
    },
  };
}

/** Sizes by BERT's names of fields. */
export function bertSizes(c: ConfigReader): BertSizes {
  const V = c.count("vocab_size"), D = c.count("hidden_size"), F = c.count("intermediate_size");
  const H = c.count("num_attention_heads"), layers = c.count("num_hidden_layers", { max: 10_000 });
  const eps = c.number("layer_norm_eps", 1e-12), act = c.choice("hidden_act", ACTIVATION_NAMES, "gelu");
  const tied = c.flag("tie_word_embeddings", true);
  if (D % H !== 0) c.problem("hidden_size", `must be a multiple of num_attention_heads = ${H}: received ${D}`);
  for (const field of ["is_decoder", "add_cross_attention"]) {
    if (c.flag(field, false)) c.problem(field, "must be false: only encoders are supported");
  }
  c.choice("position_embedding_type", ["absolute"], "absolute");
  return { V, D, F, H, layers, eps, act, tied };
}

/** What every encoder says of itself. */
export function encoder(
  type: string,
  { V, D, H, layers, tied }: Omit<BertSizes, "F" | "eps" | "act">,
  prefix = `${type}.`,
): Pick<Architecture, "type" | "V" | "D" | "layers" | "cache" | "tied" | "prefix" | "causal"> {
  return { type, V, D, layers, cache: { K: H, E: D / H }, tied, prefix, causal: false };
}

/** The vectors of tokens and of their sentences [N, D], below the scope of the model. */
export function tokenVectors(
  m: ModelScope,
  tokens: Value,
  { token_type_ids }: TokenPlaces = {},
  { V, D, eps, types }: BertSizes & { readonly types: number },
): { readonly x: Value; table(name: string, rows: number): Value; norm(x: Value): Value } {
  const below = <T>(body: () => T) => within(m, "embeddings", body);
  const table = (name: string, rows: number) => below(() => weight(m, `${name}.weight`, [rows, D]));
  const words = below(() => embed(m, "word_embeddings", tokens, { V, D }));
  return {
    x: token_type_ids ? add(words, embedding(table("token_type_embeddings", types), token_type_ids)) : words,
    table,
    norm: (x) => below(() => layerNorm(m, "LayerNorm", x, { D, eps })),
  };
}

/** All layers, below the scope of the model. */
export function bertLayers(m: ModelScope, x: Value, sizes: BertSizes): Value {
  let y = x;
  for (let i = 0; i < sizes.layers; i++) {
    y = within(m, "encoder", () => within(m, `layer.${i}`, () => bertLayer(m, y, sizes)));
  }
  return y;
}

function bertLayer(m: ModelScope, x: Value, { D, F, H, eps, act }: BertSizes): Value {
  const E = D / H, heads = { H, K: H, E, scale: 1 / Math.sqrt(E) };
  const h = within(m, "attention", () => {
    const names = ["query", "key", "value"] as const;
    const o = within(m, "self", () => attendSelf(m, x, { names, D, heads }));
    return within(m, "output", () => {
      const attended = branch(m, "attention", { name: "dense", h: linear(m, "dense", o, square(D)), x });
      return layerNorm(m, "LayerNorm", add(attended, x), { D, eps });
    });
  });
  const u = within(m, "intermediate", () => activation(act, linear(m, "dense", h, { In: D, Out: F, bias: true })));
  return within(m, "output", () => {
    const y = branch(m, "mlp", { name: "dense", h: linear(m, "dense", u, { In: F, Out: D, bias: true }), x: h });
    return layerNorm(m, "LayerNorm", add(y, h), { D, eps });
  });
}

/** Attention of x[N, D] to itself, by the names of the maps to queries, keys and values. */
export function attendSelf(
  m: ModelScope,
  x: Value,
  { names, D, heads }: { readonly names: readonly [string, string, string]; readonly D: number; readonly heads: Heads },
): Value {
  const qkv = stackedLinears(m, x, names.map((name) => ({ name, ...square(D) })));
  if (qkv) return m.sequence.attendPacked(qkv, heads);
  const [q, k, v] = names.map((name) => linear(m, name, x, square(D)));
  return m.sequence.attend({ q: q!, k: k!, v: v! }, heads);
}

/** Sizes of a linear map D → D with bias. */
export function square(D: number): { readonly In: number; readonly Out: number; readonly bias: true } {
  return { In: D, Out: D, bias: true };
}

/** Paths of a head over the vocabulary. */
export interface VocabularyPaths {
  /** Scope of the others. */
  readonly path: string;
  readonly dense: string;
  readonly norm: string;
  readonly decoder: string;
  readonly bias: string;
  /** Module of the table that the decoder shares. */
  readonly table: string;
}

/** Masked language modelling: y = W·LN(act(dense(h))) + b, with W the table of token vectors where it is tied. */
export function vocabularyHead({ V, D, eps, act, tied }: BertSizes, paths: VocabularyPaths): Head {
  const { path, dense, norm, decoder, bias, table } = paths;
  const full = (name: string) => path === "" ? name : `${path}.${name}`;
  return {
    modules: [dense, norm, decoder, bias].map(full),
    ...(tied ? { shared: [decoder, bias].map(full) } : {}),
    reads: "each",
    logits: (m, x) =>
      within(m, path, () => {
        const h = layerNorm(m, norm, activation(act, linear(m, dense, x, square(D))), { D, eps });
        const info: SiteInfo = { path: pathOf(m, decoder), In: D, Out: V, transposed: false, output: true };
        const name = `${info.path}.weight`;
        const w = tiedWeight(m, { name, of: tied ? `${table}.weight` : name }, [V, D]);
        const b = weight(m, bias, [V], { kind: "zeros" });
        return within(m, decoder, () => applySite(m, info, h, w, b));
      }),
  };
}
