// Methods with their defaults on every family of decoders: fresh adapters change nothing, merged ones are the adapted
// model, and a prefix is seen through windows and caps by generation as by the forward pass.
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import {
  adalora,
  type AdapterConfig,
  type Batch,
  bottleneck,
  generateIds,
  ia3,
  lnTuning,
  loadModel,
  lora,
  type Model,
  prefixTuning,
  vera,
} from "../../mod.ts";
import { resolveAdapter } from "../../src/adapters/mod.ts";
import { architectureOf } from "../../src/models/mod.ts";
import { taskOf } from "../../src/objectives/tasks.ts";
import { baseFacts } from "../../src/train/base_facts.ts";
import { takeInventory } from "../../src/train/load.ts";
import { gpuTest } from "../device.ts";
import { DECODERS } from "../models/families.ts";
import { GPT2, LLAMA, worstDifference, writeModel } from "../models/folder.ts";
import { withFolder } from "../temp_folder.ts";
import { disturb } from "./disturb.ts";

const BATCH: Batch = { input_ids: [[3, 5, 9, 4, 7, 8, 20, 31, 2, 6, 11]] };

const METHODS: Readonly<Record<string, AdapterConfig>> = {
  LoRA: lora({ rank: 2 }),
  DoRA: lora({ rank: 2, dora: true, targetModules: "all-linear" }),
  AdaLoRA: adalora({ initialRank: 3, targetRank: 2 }),
  IA3: ia3(),
  VeRA: vera({ rank: 4 }),
  norms: lnTuning(),
  bottleneck: bottleneck({ placement: "houlsby" }),
};

for (const [family, config] of Object.entries(DECODERS)) {
  gpuTest(`methods on ${family}`, (device) =>
    withFolder(async (folder) => {
      await writeModel(folder, config);
      const model = await loadModel(device, folder);
      const base = await logits(model, BATCH);
      for (const [name, method] of Object.entries(METHODS)) {
        await model.addAdapter(method, { name });
        assert(worstDifference(await logits(model, BATCH), base) < (name === "DoRA" ? 1e-5 : 1e-30), name);
        if (name === "bottleneck") continue;
        await disturb(model, 0.05);
        const adapted = await logits(model, BATCH);
        assertNotEquals(adapted, base, name);
        await model.merge();
        const worst = worstDifference(await logits(model, BATCH), adapted);
        assert(worst < 2e-5, `${name}: ${worst}`);
        await model.unmerge();
      }
      await model.addAdapter(prefixTuning({ virtualTokens: 3 }), { name: "prefix" });
      const [prompt] = BATCH.input_ids;
      const [written] = await generateIds(model, [prompt!], { maxNewTokens: 6, ignoreEos: true });
      const text = [...prompt!, ...written!];
      const data = await logits(model, { input_ids: [text] }), V = data.length / text.length;
      for (let t = prompt!.length; t < text.length; t++) {
        const scores = data.subarray((t - 1) * V, t * V);
        assertEquals(text[t], scores.indexOf(Math.max(...scores)), `token ${t}`);
      }
      model.destroy();
    }));
}

const ENCODER = {
  ...{ vocab_size: 29, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 4 },
  intermediate_size: 20,
};
const DISTILBERT = { vocab_size: 29, dim: 16, n_layers: 1, n_heads: 4, hidden_dim: 20, max_position_embeddings: 24 };
const T5 = { vocab_size: 29, d_model: 16, d_kv: 4, d_ff: 20, num_layers: 1, num_heads: 4, decoder_start_token_id: 0 };

Deno.test("defaults name modules that the families have", () => {
  const configs: Readonly<Record<string, unknown>>[] = [
    ...[GPT2, LLAMA, ...Object.values(DECODERS)],
    ...["bert", "roberta"].map((model_type) => ({ ...ENCODER, model_type, max_position_embeddings: 24 })),
    { ...DISTILBERT, model_type: "distilbert" },
    { ...T5, model_type: "t5", architectures: ["T5ForConditionalGeneration"] },
  ];
  for (const config of configs) {
    const architecture = architectureOf(config), { type } = architecture;
    const facts = baseFacts({
      architecture,
      config,
      inventory: takeInventory(architecture, taskOf(config, architecture)),
    });
    const names = facts.modules.map(({ path }) => path);
    // PEFT has no usual norms for encoders, and no usual targets of IA3 for DistilBERT.
    const methods = [
      lora(),
      ...(type === "distilbert" ? [] : [ia3()]),
      ...(/bert/.test(type) ? [] : [lnTuning()]),
    ];
    for (const method of methods) {
      const { targetModules } = resolveAdapter(method, facts) as { readonly targetModules: readonly string[] };
      for (const name of targetModules) assert(names.some((path) => path.endsWith(`.${name}`)), `${type}: ${name}`);
    }
  }
});

async function logits(model: Model, batch: Batch): Promise<Float32Array> {
  return (await model.forward(batch)).logits.data;
}
