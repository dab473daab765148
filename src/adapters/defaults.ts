// What methods do when they are told nothing: the modules that they change, as PEFT's tables have them
// (utils/constants.py), and the learning rates with which they learn.

/** `model_type` → target modules of LoRA, DoRA and VeRA. */
export const LORA_TARGETS: ReadonlyMap<string, readonly string[]> = new Map([
  ["bert", ["query", "value"]],
  ["distilbert", ["q_lin", "v_lin"]],
  ["roberta", ["query", "value"]],
  ["xlm-roberta", ["query", "value"]],
  ["gpt2", ["c_attn"]],
  ["llama", ["q_proj", "v_proj"]],
  ["mistral", ["q_proj", "v_proj"]],
  ["qwen2", ["q_proj", "v_proj"]],
  ["qwen3", ["q_proj", "v_proj"]],
  ["gemma", ["q_proj", "v_proj"]],
  ["gemma2", ["q_proj", "v_proj"]],
  ["phi3", ["qkv_proj"]],
  ["t5", ["q", "v"]],
  ["mt5", ["q", "v"]],
]);

/** `model_type` → target modules of IA3, and those of them in feed-forward layers. */
export const IA3_TARGETS: ReadonlyMap<
  string,
  { readonly targets: readonly string[]; readonly feedforward: readonly string[] }
> = new Map([
  ["gpt2", { targets: ["c_attn", "mlp.c_proj"], feedforward: ["mlp.c_proj"] }],
  ["llama", { targets: ["k_proj", "v_proj", "down_proj"], feedforward: ["down_proj"] }],
  ["mistral", { targets: ["k_proj", "v_proj", "down_proj"], feedforward: ["down_proj"] }],
  ["qwen2", { targets: ["q_proj", "v_proj", "down_proj"], feedforward: ["down_proj"] }],
  ["qwen3", { targets: ["q_proj", "v_proj", "down_proj"], feedforward: ["down_proj"] }],
  ["gemma", { targets: ["q_proj", "v_proj", "down_proj"], feedforward: ["down_proj"] }],
  ["gemma2", { targets: ["q_proj", "v_proj", "down_proj"], feedforward: ["down_proj"] }],
  ["phi3", { targets: ["qkv_proj", "down_proj"], feedforward: ["down_proj"] }], // PEFT has none
  ["bert", { targets: ["key", "value", "output.dense"], feedforward: ["output.dense"] }],
  ["roberta", { targets: ["key", "value", "output.dense"], feedforward: ["output.dense"] }],
  ["t5", { targets: ["k", "v", "wo"], feedforward: ["wo"] }],
  ["mt5", { targets: ["k", "v", "wi_1"], feedforward: ["wi_1"] }],
]);

/** `model_type` → norms that LayerNorm tuning trains. */
export const LN_TARGETS: ReadonlyMap<string, readonly string[]> = new Map([
  ["gpt2", ["ln_1", "ln_2", "ln_f"]],
  ["llama", ["input_layernorm", "post_attention_layernorm", "norm"]],
  ["mistral", ["input_layernorm", "post_attention_layernorm", "norm"]],
  ["qwen2", ["post_attention_layernorm"]],
  ["qwen3", ["post_attention_layernorm"]],
  ["gemma", ["input_layernorm", "post_attention_layernorm", "norm"]],
  [
    "gemma2",
    [
      "input_layernorm",
      "post_attention_layernorm",
      "pre_feedforward_layernorm",
      "post_feedforward_layernorm",
      "norm",
    ],
  ],
  ["phi3", ["input_layernorm", "post_attention_layernorm", "norm"]], // PEFT has none
  ["t5", ["layer_norm", "final_layer_norm"]],
]);

/**
 * Peak learning rates by the names of methods on the command line, for models of usual width; `defaultRate` says what
 * narrower ones get. What few numbers a method has must move far; vectors in front start at the size of token vectors.
 */
export const LEARNING_RATES = {
  "lora": 2e-4,
  "dora": 2e-4,
  "adalora": 2e-3,
  "vera": 4e-3,
  "ia3": 5e-3,
  "ln-tuning": 1e-3,
  "bitfit": 1e-3,
  "prompt-tuning": 5e-3,
  "p-tuning": 2e-4,
  "prefix-tuning": 1e-2,
  "bottleneck": 5e-4,
  "full": 2e-5,
} as const;
