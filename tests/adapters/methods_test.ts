// Methods with reference cases, as LoRA in lora_test.ts: how they live side by side, dropout, files that do not fit. What
// each computes is compared in parity_test.ts and every_method_test.ts.
import { lora, promptTuning, vera } from "../../mod.ts";
import { adapterSuite } from "./suite.ts";

const dora = lora({ rank: 4, alpha: 8, dora: true, targetModules: ["c_attn"] });
const withDropout = { ...dora, dropout: 0.3 };
adapterSuite({ name: "gpt2-dora", config: dora, withDropout, startsAsBase: "almost", merges: true });

const shared = vera({ rank: 8, targetModules: ["q_proj", "o_proj"] });
adapterSuite({
  name: "llama-vera",
  config: shared,
  withDropout: { ...shared, dropout: 0.3 },
  startsAsBase: true,
  merges: true,
  isFrozen: (key) => key.startsWith("base_model.vera_"),
});

adapterSuite({ name: "gpt2-prompt", config: promptTuning({ virtualTokens: 5 }), startsAsBase: false, merges: false });
