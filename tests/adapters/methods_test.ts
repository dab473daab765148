// Methods with reference cases: what every method promises.
import { ia3, lnTuning, lora, prefixTuning, promptTuning, vera } from "../../mod.ts";
import { adapterSuite } from "./suite.ts";

const [dora, columns] = ["llama", "gpt2"].map((family) => {
  const targetModules = family === "gpt2"
    ? ["c_attn"]
    : [..."qkvo"].map((x) => `${x}_proj`).concat("gate_proj", "up_proj", "down_proj");
  return lora({ rank: 4, alpha: 8, dora: true, targetModules });
});
adapterSuite({
  name: "llama-dora",
  config: dora!,
  withDropout: { ...dora!, dropout: 0.3 },
  startsAsBase: "almost",
  merges: true,
});
adapterSuite({ name: "gpt2-dora", config: columns!, startsAsBase: "almost", merges: true });

const rescaled = ia3({ targetModules: ["c_attn", "mlp.c_proj"], feedforwardModules: ["mlp.c_proj"] });
adapterSuite({ name: "gpt2-ia3", config: rescaled, startsAsBase: true, merges: true });
const factors = ia3({ targetModules: ["k_proj", "v_proj", "down_proj"], feedforwardModules: ["down_proj"] });
adapterSuite({ name: "llama-ia3", config: factors, startsAsBase: true, merges: true });

const shared = vera({ rank: 8, targetModules: ["q_proj", "o_proj"] });
adapterSuite({
  name: "llama-vera",
  config: shared,
  withDropout: { ...shared, dropout: 0.3 },
  startsAsBase: true,
  merges: true,
  isFrozen: (key) => key.startsWith("base_model.vera_"),
});

const norms = lnTuning({ targetModules: ["ln_1", "ln_2", "ln_f"] });
adapterSuite({ name: "gpt2-lntuning", config: norms, startsAsBase: true, merges: true });

const prompt = promptTuning({ virtualTokens: 5 });
adapterSuite({ name: "gpt2-prompt", config: prompt, startsAsBase: false, merges: false });
const prefix = prefixTuning({ virtualTokens: 4 });
adapterSuite({ name: "gpt2-prefix", config: prefix, startsAsBase: false, merges: false });
