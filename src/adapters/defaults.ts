// Modules that LoRA adapts when none are named: PEFT's table (utils/constants.py) for the families that we load.

/** `model_type` → target modules of LoRA. */
export const LORA_TARGETS: ReadonlyMap<string, readonly string[]> = new Map([
  ["bert", ["query", "value"]],
  ["distilbert", ["q_lin", "v_lin"]],
  ["roberta", ["query", "value"]],
  ["xlm-roberta", ["query", "value"]],
  ["gpt2", ["c_attn"]],
  ["llama", ["q_proj", "v_proj"]],
  ["qwen3", ["q_proj", "v_proj"]],
]);
