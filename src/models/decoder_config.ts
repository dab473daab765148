// What config.json says of decoders of Llama's kin, and what transformers assumes where it says nothing.
import type { GateName } from "../nn/activation.ts";
import type { RopeScaling } from "../ops/rope_scaling.ts";
import { type ConfigReader, type Json, readConfig } from "./config.ts";
import { ropeSettings } from "./rope_config.ts";

/** What configurations of a family may leave out; Llama's by default. */
export interface DecoderDefaults {
  /** Width of a head; hidden_size / num_attention_heads by default. */
  readonly headDim?: number;
  /** Heads of keys and values; as many as of queries by default, and where the configuration says null. */
  readonly keyHeads?: number;
  /** max_position_embeddings (2048). */
  readonly positions?: number;
  /** rms_norm_eps (1e-6). */
  readonly eps?: number;
  /** tie_word_embeddings (false). */
  readonly tied?: boolean;
}

/** What the layers of a family do otherwise than Llama's without biases. */
export interface DecoderTraits {
  /** Biases of q, k and v. */
  readonly qkvBias?: boolean;
  /** Bias of what follows the attention. */
  readonly outBias?: boolean;
  /** Biases of the feed-forward. */
  readonly mlpBias?: boolean;
  /** The activation that gates the feed-forward (silu). */
  readonly activation?: GateName;
  /** Whether every head of q and k passes an RMS norm before the rotary embedding. */
  readonly headNorm?: boolean;
  /** Whether weights of norms are stored as offsets from one. */
  readonly offsetNorms?: boolean;
  /** Whether attention and feed-forward end in norms too, before the residual is added. */
  readonly outerNorms?: boolean;
  /** Whether q, k and v are one map (qkv_proj), and gate and up another (gate_up_proj). */
  readonly packed?: boolean;
  /** Whether a part of the columns of a head may turn (partial_rotary_factor). */
  readonly partialRotary?: boolean;
  /** Factor on the token vectors (1). */
  readonly embeddingScale?: number;
  /** Factor on the scores (1 / sqrt(E)). */
  readonly scoreScale?: number;
  /** Bound of the scores. */
  readonly scoreSoftcap?: number | undefined;
  /** Bound of the logits. */
  readonly logitSoftcap?: number | undefined;
  /** How many positions a row of a layer sees; all by default. */
  readonly window?: (layer: number) => number | undefined;
}

/** A family of decoders. */
export interface DecoderFamily {
  /** `model_type` in config.json. */
  readonly type: string;
  readonly defaults?: DecoderDefaults;
  /** Read what only this family has. */
  readonly traits?: (c: ConfigReader, sizes: { readonly D: number; readonly layers: number }) => DecoderTraits;
}

/** Sizes and numbers of a decoder. */
export interface DecoderConfig {
  readonly V: number;
  readonly D: number;
  readonly F: number;
  readonly layers: number;
  readonly H: number;
  readonly K: number;
  readonly E: number;
  readonly positions: number;
  readonly eps: number;
  readonly tied: boolean;
  readonly traits: DecoderTraits;
  readonly rotary: {
    /** Columns of a head that turn, the first ones. */
    readonly columns: number;
    readonly theta: number;
    readonly scaling: RopeScaling;
  };
}

/**
 * Read a config.json.
 *
 * @throws {ConfigError} listing every problem.
 */
export function readDecoder(config: Json, { defaults = {}, traits: readTraits }: DecoderFamily): DecoderConfig {
  const c = readConfig(config);
  const V = c.count("vocab_size"), D = c.count("hidden_size"), F = c.count("intermediate_size");
  const layers = c.count("num_hidden_layers", { max: 10_000 }), H = c.count("num_attention_heads");
  const keyHeads = c.isNull("num_key_value_heads") ? H : defaults.keyHeads ?? H;
  const K = c.count("num_key_value_heads", { fallback: keyHeads });
  const E = c.count("head_dim", { fallback: defaults.headDim ?? Math.floor(D / H) });
  const positions = c.count("max_position_embeddings", { fallback: defaults.positions ?? 2048 });
  const eps = c.number("rms_norm_eps", defaults.eps ?? 1e-6);
  const tied = c.flag("tie_word_embeddings", defaults.tied ?? false);
  if (H % K !== 0) c.problem("num_key_value_heads", `must divide num_attention_heads = ${H}: received ${K}`);
  if ((config.head_dim ?? defaults.headDim ?? null) === null && D % H !== 0) {
    c.problem("hidden_size", `must be a multiple of num_attention_heads = ${H}: received ${D}`);
  }
  const traits = readTraits?.(c, { D, layers }) ?? {};
  const { share, ...rope } = ropeSettings(config, c, E);
  const columns = Math.floor(E * share);
  if (share !== 1 && !traits.partialRotary) c.problem("partial_rotary_factor", `must be 1: received ${share}`);
  if (columns % 2 !== 0) {
    const [field, of] = share === 1 ? ["head_dim", ""] : ["partial_rotary_factor", `of ${columns} columns `];
    c.problem(field, `must be even for rotary embedding: received ${of}${share === 1 ? E : share}`);
  }
  c.finish();
  return { V, D, F, layers, H, K, E, positions, eps, tied, traits, rotary: { columns, ...rope } };
}
