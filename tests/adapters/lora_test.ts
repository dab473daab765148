// LoRA on both families: what every method promises.
import { lora } from "../../mod.ts";
import { adapterSuite } from "./suite.ts";

for (
  const [name, targetModules] of [
    ["llama-lora", ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]],
    ["gpt2-lora", ["c_attn"]],
  ] as const
) {
  const config = lora({ rank: 4, alpha: 8, targetModules });
  adapterSuite({ name, config, withDropout: { ...config, dropout: 0.3 }, startsAsBase: true, merges: true });
}
