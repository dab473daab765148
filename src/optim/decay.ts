// Which tensors weight decay is for: all but biases and the weights of norms, as Hugging Face's Trainer groups them.
// There, LayerNorm is found by its class; here by the name that GPT-2 gives it (`ln_1`, `ln_f`), beside the patterns.

const EXEMPT = /bias|layernorm|rmsnorm|(?:^|\.)norm(?:$|\.)|_norm(?:$|\.)|(?:^|\.)ln_\w+(?:$|\.)/i;

/** Whether weight decay applies to the tensor called `name`, such as `"model.layers.0.mlp.up_proj.weight"`. */
export function decays(name: string): boolean {
  return !EXEMPT.test(name);
}
