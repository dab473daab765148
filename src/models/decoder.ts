// Decoders of Llama's kin: RMS norms, rotary embedding, grouped queries, gated feed-forward. What a family does otherwise
// are traits (decoder_config.ts); each family is a file of its own.
import type { Value } from "../graph/graph.ts";
import { branch } from "../nn/branch.ts";
import { embed } from "../nn/embed.ts";
import { linear } from "../nn/linear.ts";
import { gatedMlp } from "../nn/mlp.ts";
import { frozenHeadNorms, rmsNorm } from "../nn/norm.ts";
import { type ModelScope, type SiteInfo, tiedWeight, within } from "../nn/scope.ts";
import type { Heads, RotaryTables } from "../nn/sequence.ts";
import { stackedLinears } from "../nn/stacked_linears.ts";
import { add, scale } from "../ops/elementwise.ts";
import { headNorm as headNormOp } from "../ops/head_norm.ts";
import { longer } from "../ops/rope_scaling.ts";
import { ropeTables } from "../ops/rope_tables.ts";
import type { Architecture } from "./architecture.ts";
import type { Json } from "./config.ts";
import { type DecoderConfig, type DecoderFamily, readDecoder } from "./decoder_config.ts";
import { linearHead } from "./heads.ts";

/** A decoder from its config.json. */
export function decoder(config: Json, family: DecoderFamily): Architecture {
  const read = readDecoder(config, family);
  const { V, D, K, E, layers, positions, tied, traits, rotary: { scaling } } = read;
  const { embeddingScale = 1, logitSoftcap } = traits;
  return {
    type: family.type,
    V,
    D,
    layers,
    positions,
    ...longer(scaling, positions) ? { firstContext: scaling.original_max_position_embeddings! } : {},
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
        const vectors = embed(m, "embed_tokens", tokens, { V, D });
        let x = embeddingScale === 1 ? vectors : scale(vectors, embeddingScale);
        for (let i = 0; i < layers; i++) x = within(m, `layers.${i}`, () => layer(m, x, i, read));
        return norm(m, "norm", x, read);
      }),
    head(m) {
      const info: SiteInfo = { path: "lm_head", In: D, Out: V, transposed: false, output: true };
      const name = "lm_head.weight", of = tied ? "model.embed_tokens.weight" : name;
      return { info, weight: tiedWeight(m, { name, of }, [V, D]), softcap: logitSoftcap };
    },
  };
}

function layer(m: ModelScope, x: Value, index: number, c: DecoderConfig): Value {
  const { D, F, traits } = c;
  const { activation = "silu", mlpBias: bias = false, packed = false, outerNorms = false } = traits;
  const outer = (name: string, y: Value) => outerNorms ? norm(m, name, y, c) : y;
  const u = norm(m, "input_layernorm", x, c);
  const attended = outer("post_attention_layernorm", within(m, "self_attn", () => attention(m, u, index, c)));
  const h = add(x, branch(m, "attention", { name: "self_attn", h: attended, x: u }));
  const w = norm(m, outerNorms ? "pre_feedforward_layernorm" : "post_attention_layernorm", h, c);
  const fed = outer("post_feedforward_layernorm", gatedMlp(m, w, { D, F, bias, activation, packed }));
  return add(h, branch(m, "mlp", { name: "mlp", h: fed, x: w }));
}

function attention(m: ModelScope, u: Value, index: number, c: DecoderConfig): Value {
  const { D, H, K, E, eps, traits, rotary: { columns } } = c;
  const { qkvBias: bias = false, outBias = false, headNorm = false } = traits;
  const tables = rotaryTables(m, c);
  const turn = (x: Value, heads: number, turned = heads) => m.sequence.rotate(x, tables, { heads, turned, E, columns });
  const attended = () => {
    const qkv = joinedMaps(m, u, c);
    if (qkv) return m.sequence.attendPacked(turn(qkv, H + 2 * K, H + K), headsOf(index, c));
    const q = linear(m, "q_proj", u, { In: D, Out: H * E, bias });
    const k = linear(m, "k_proj", u, { In: D, Out: K * E, bias });
    const v = linear(m, "v_proj", u, { In: D, Out: K * E, bias });
    const normed = (name: string, x: Value) => headNorm ? rmsNorm(m, name, x, { D: E, eps }) : x;
    return m.sequence.attend(
      { q: turn(normed("q_norm", q), H), k: turn(normed("k_norm", k), K), v },
      headsOf(index, c),
    );
  };
  return linear(m, "o_proj", attended(), { In: H * E, Out: D, bias: outBias });
}

/** Queries, keys and values [N, (H + 2·K)·E], where one product makes them. */
function joinedMaps(m: ModelScope, u: Value, { D, H, K, E, eps, traits }: DecoderConfig): Value | undefined {
  const { qkvBias: bias = false, packed = false, headNorm = false } = traits;
  if (packed) return linear(m, "qkv_proj", u, { In: D, Out: (H + 2 * K) * E, bias });
  const norms = headNorm ? frozenHeadNorms(m, E) : undefined;
  if (headNorm && !norms) return undefined;
  const maps = [["q_proj", H], ["k_proj", K], ["v_proj", K]] as const;
  const qkv = stackedLinears(m, u, maps.map(([name, heads]) => ({ name, In: D, Out: heads * E, bias })));
  return qkv && norms ? headNormOp(qkv, ...norms, { H, K, E, eps }) : qkv;
}

function headsOf(index: number, { H, K, E, traits }: DecoderConfig): Heads {
  const { scoreScale = 1 / Math.sqrt(E), scoreSoftcap, window: windowOf } = traits;
  const window = windowOf?.(index);
  return {
    ...{ H, K, E, scale: scoreScale },
    ...window === undefined ? {} : { window },
    ...scoreSoftcap === undefined ? {} : { softcap: scoreSoftcap },
  };
}

function norm(
  m: ModelScope,
  name: string,
  x: Value,
  { D, eps, traits: { offsetNorms = false } }: DecoderConfig,
): Value {
  return rmsNorm(m, name, x, { D, eps, offset: offsetNorms });
}

function rotaryTables(m: ModelScope, { rotary: { columns, theta, scaling } }: DecoderConfig): RotaryTables {
  const { length, context = length } = m.sequence;
  const name = `${length}${longer(scaling, context) ? " long" : ""}`;
  const tables = () => ropeTables({ positions: length, E: columns, theta, scaling, length: context });
  const shape = [length, columns / 2];
  return {
    cos: m.leaves.constant(m.graph, `rope.cos.${name}`, shape, () => tables().cos),
    sin: m.leaves.constant(m.graph, `rope.sin.${name}`, shape, () => tables().sin),
  };
}
