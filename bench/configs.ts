// config.json of the models that are measured with random weights: what each publisher's file says about its shape.

/** karpathy/tinyllamas, stories260K. */
export const STORIES_CONFIG = {
  model_type: "llama",
  vocab_size: 512,
  hidden_size: 64,
  intermediate_size: 172,
  num_hidden_layers: 5,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  max_position_embeddings: 512,
  hidden_act: "silu",
  rms_norm_eps: 1e-5,
  tie_word_embeddings: true,
} as const;

/** openai-community/gpt2. */
export const GPT2_CONFIG = {
  model_type: "gpt2",
  vocab_size: 50257,
  n_embd: 768,
  n_layer: 12,
  n_head: 12,
  n_positions: 1024,
  activation_function: "gelu_new",
} as const;

/** HuggingFaceTB/SmolLM2-135M. */
export const SMOLLM2_CONFIG = {
  model_type: "llama",
  vocab_size: 49152,
  hidden_size: 576,
  intermediate_size: 1536,
  num_hidden_layers: 30,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  max_position_embeddings: 8192,
  hidden_act: "silu",
  rms_norm_eps: 1e-5,
  rope_theta: 100000,
  tie_word_embeddings: true,
} as const;

/** Qwen/Qwen3-0.6B. */
export const QWEN3_CONFIG = {
  model_type: "qwen3",
  vocab_size: 151936,
  hidden_size: 1024,
  intermediate_size: 3072,
  num_hidden_layers: 28,
  num_attention_heads: 16,
  num_key_value_heads: 8,
  head_dim: 128,
  max_position_embeddings: 40960,
  hidden_act: "silu",
  rms_norm_eps: 1e-6,
  rope_theta: 1000000,
  attention_bias: false,
  tie_word_embeddings: true,
} as const;
