// Configurations of causal language models that tests go through: one row for each thing that a family may do.
import { GPT2, LLAMA } from "./folder.ts";

type Config = Readonly<Record<string, unknown>>;

const llama3 = { rope_type: "llama3", factor: 4, low_freq_factor: 1, high_freq_factor: 4 };
const QWEN3 = { ...LLAMA, model_type: "qwen3", head_dim: 12 };

/** A Gemma 2 whose caps bite: scores reach several times the smaller, logits the larger. */
const GEMMA2 = {
  ...{ ...LLAMA, model_type: "gemma2", head_dim: 12, sliding_window: 7, num_hidden_layers: 3 },
  ...{ query_pre_attn_scalar: 10, attn_logit_softcapping: 2, final_logit_softcapping: 5 },
};

const longrope = {
  type: "longrope",
  short_factor: [1, 1.1, 1.3, 2],
  long_factor: [1, 2, 4, 12],
};

/** A Phi-3 in its first context: 64 positions, of which 48 are new. */
const PHI3 = { ...LLAMA, model_type: "phi3", original_max_position_embeddings: 64, max_position_embeddings: 256 };

/** Decoders with the features that matter for caches and gradients: one or two rows a family. */
export const DECODERS: Readonly<Record<string, Config>> = {
  "mistral, windows of 7": { ...LLAMA, model_type: "mistral", sliding_window: 7 },
  "qwen2, windows of 5 from the second layer on": {
    ...{ ...LLAMA, model_type: "qwen2", use_sliding_window: true, sliding_window: 5, max_window_layers: 1 },
  },
  "qwen3, a window in the first layer": {
    ...{ ...QWEN3, use_sliding_window: true, sliding_window: 6 },
    layer_types: ["sliding_attention", "full_attention"],
  },
  "gemma, heads wider than D/H": { ...LLAMA, model_type: "gemma", head_dim: 12 },
  "gemma2, windows of 7 and caps that bite": GEMMA2,
  "phi3, windows of 9 and longrope": { ...PHI3, sliding_window: 9, rope_scaling: longrope },
};

/** All rows. */
export const FAMILIES: Readonly<Record<string, Config>> = {
  "llama, grouped queries": LLAMA,
  "llama, one key head, all biases": { ...LLAMA, num_key_value_heads: 1, attention_bias: true, mlp_bias: true },
  "llama, heads wider than D/H, as many key heads": { ...LLAMA, head_dim: 12, num_key_value_heads: 4 },
  "llama, tied": { ...LLAMA, tie_word_embeddings: true },
  "llama 3.2's form": {
    ...{ ...LLAMA, head_dim: 16, rope_theta: 500, tie_word_embeddings: true, pretraining_tp: 1 },
    rope_scaling: { ...llama3, original_max_position_embeddings: 32 },
  },
  "llama, linear rope in transformers 5's form": {
    ...LLAMA,
    rope_parameters: { rope_type: "linear", factor: 2.5, rope_theta: 300 },
  },
  "smollm2's form": {
    ...{ ...LLAMA, hidden_size: 30, num_attention_heads: 3, num_key_value_heads: 1, tie_word_embeddings: true },
    ...{ rope_theta: 100000, rope_interleaved: false, rope_scaling: null, is_llama_config: true },
  },
  ...DECODERS,
  "mistral without windows": { ...LLAMA, model_type: "mistral", sliding_window: null, head_dim: null },
  "mistral, the default window, eight key heads": {
    ...LLAMA,
    model_type: "mistral",
    num_attention_heads: 8,
    num_key_value_heads: undefined,
  },
  "qwen2, windows off": { ...LLAMA, model_type: "qwen2", sliding_window: 5, tie_word_embeddings: true },
  "qwen2, windows by layer": {
    ...{ ...LLAMA, model_type: "qwen2", use_sliding_window: true, sliding_window: 5 },
    layer_types: ["sliding_attention", "full_attention"],
  },
  "qwen3, heads wider than D/H": QWEN3,
  "qwen3, one key head, biases, tied": {
    ...{ ...QWEN3, head_dim: 8, num_key_value_heads: 1 },
    ...{ attention_bias: true, tie_word_embeddings: true },
  },
  "gemma, first configurations": { ...LLAMA, model_type: "gemma", head_dim: 10, hidden_act: "gelu" },
  "gemma, exact gelu, biases, untied": {
    ...{ ...LLAMA, model_type: "gemma", head_dim: 8, attention_bias: true, num_key_value_heads: 1 },
    ...{ hidden_activation: "gelu", tie_word_embeddings: false },
  },
  "gemma2, default caps and windows": { ...LLAMA, model_type: "gemma2", head_dim: 8 },
  "gemma2 without caps, windows by layer": {
    ...{ ...GEMMA2, num_hidden_layers: 2, attn_logit_softcapping: null, final_logit_softcapping: null },
    layer_types: ["full_attention", "sliding_attention"],
  },
  "phi3": { ...PHI3, original_max_position_embeddings: 4096, max_position_embeddings: 4096 },
  "phi3, a long text": {
    ...{ ...PHI3, original_max_position_embeddings: 32, rope_scaling: { ...longrope, type: "su" } },
    ...{ num_key_value_heads: 4, hidden_act: "gelu_new" },
  },
  "phi4-mini's form, heads that turn in part": {
    ...{ ...PHI3, partial_rotary_factor: 0.75, head_dim: null, tie_word_embeddings: true },
    rope_parameters: {
      ...{ rope_type: "longrope", short_factor: [1, 1.5, 2], long_factor: [1, 3, 9], rope_theta: 300 },
      ...{ partial_rotary_factor: 0.75, attention_factor: 1.2 },
    },
  },
  "gpt2": GPT2,
  "gpt2, untied, exact gelu, narrow feed-forward": {
    ...GPT2,
    tie_word_embeddings: false,
    activation_function: "gelu",
    n_inner: 36,
  },
  "gpt2, relu, scores by layer": { ...GPT2, activation_function: "relu", scale_attn_by_inverse_layer_idx: true },
  "gpt2, unscaled scores": { ...GPT2, scale_attn_weights: false },
};
