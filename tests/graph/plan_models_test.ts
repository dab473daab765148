// Plans of whole training steps against the most that is alive at once, and against what the rule of buffers forces
// (rule_bound.ts): made without a device, as compiling makes them.
import process from "node:process";
import { assert, assertEquals } from "@std/assert";
import { lora } from "../../src/adapters/lora_config.ts";
import { fuse } from "../../src/graph/fuse.ts";
import { plan } from "../../src/graph/plan.ts";
import { recompute } from "../../src/graph/recompute.ts";
import { guaranteed, type Target } from "../../src/graph/target.ts";
import { architectureOf } from "../../src/models/mod.ts";
import { taskOf } from "../../src/objectives/tasks.ts";
import { traceStep } from "../../src/train/trace.ts";
import { ruleBound } from "./rule_bound.ts";
import { verify } from "./verify_plan.ts";

const llama = { model_type: "llama", hidden_act: "silu", tie_word_embeddings: true };

const models = {
  "stories260K": {
    config: {
      ...llama,
      ...{ vocab_size: 512, hidden_size: 64, intermediate_size: 172, num_hidden_layers: 5, num_attention_heads: 8 },
      num_key_value_heads: 4,
    },
    targetModules: ["q_proj", "v_proj"],
  },
  "the bundled base": {
    config: {
      ...llama,
      ...{ vocab_size: 1536, hidden_size: 128, intermediate_size: 352, num_hidden_layers: 4, num_attention_heads: 4 },
      num_key_value_heads: 2,
    },
    targetModules: "all-linear",
  },
  "the shared benchmark": {
    config: { model_type: "gpt2", vocab_size: 1024, n_embd: 128, n_layer: 4, n_head: 4, n_positions: 128 },
    targetModules: ["c_attn"],
  },
  "GPT-2 124M": {
    config: { model_type: "gpt2", vocab_size: 50257, n_embd: 768, n_layer: 12, n_head: 12, n_positions: 1024 },
    targetModules: ["c_attn"],
  },
} as const;

const cases = [
  { name: "stories260K", B: 8, T: 128 },
  { name: "the bundled base", B: 8, T: 256 },
  { name: "the shared benchmark", B: 8, T: 128 },
  { name: "GPT-2 124M", B: 1, T: 128 },
  { name: "GPT-2 124M", B: 1, T: 512 },
] as const;

const methods = [
  { method: "LoRA", again: false },
  { method: "all weights", again: false },
  { method: "LoRA", again: true },
] as const;

for (const { name, B, T } of cases) {
  for (const kind of ["software", "gpu"] as const) {
    for (const { method, again } of methods) {
      Deno.test(`plan: ${name} [${B}x${T}], ${method}${again ? ", layers computed again" : ""}, class ${kind}`, () => {
        const { config, targetModules } = models[name];
        const large = { maxBinding: 2 ** 30, maxBuffer: 2 ** 31, workgroupBytes: 32768 };
        const target: Target = { ...guaranteed, ...large, kind, subgroup: kind === "software" ? 8 : 0 };
        const adapter = method === "LoRA" ? lora({ rank: 8, alpha: 16, dropout: 0.1, targetModules }) : undefined;
        const architecture = architectureOf(config), task = taskOf(config, architecture);
        const listing = recompute(
          fuse(traceStep(architecture, { task, adapter, B, T, recompute: again, target }).graph),
        );
        const total = verify(listing);
        const { lowerBytes, naiveBytes } = plan(listing);
        const least = ruleBound(listing);
        const mib = (n: number) => `${(n / 2 ** 20).toFixed(2)} MiB`, over = (n: number) => total / n - 1;
        const percent = (n: number) => `${(100 * over(n)).toFixed(1)} % above ${mib(n)}`;
        const kernels = new Map(listing.nodes.map((node) => [node, node.op.kernels(node, target)]));
        const dispatches = kernels.values().reduce((sum, list) => sum + list.length, 0);
        const times = Array.from({ length: 3 }, () => {
          const before = process.cpuUsage();
          const again = plan(listing, { kernelsOf: (node) => kernels.get(node)! });
          const { user, system } = process.cpuUsage(before);
          assertEquals(again.bufferBytes.reduce((a, b) => a + b, 0), total, "plans of one graph differ");
          return (user + system) / 1000;
        });
        console.log(
          `${mib(total)}, ${percent(lowerBytes)} alive, ${percent(least)} with the rule; ` +
            `${mib(naiveBytes)} unshared; ${dispatches} dispatches; ${Math.min(...times).toFixed(0)} ms`,
        );
        assert(lowerBytes <= least && least <= total, `${least} bytes are no bound between ${lowerBytes} and ${total}`);
        assert(over(least) <= 0.05, `${total} bytes are ${percent(least)}`);
        assert(Math.min(...times) < 250, `planning took ${times} ms`);
      });
    }
  }
}
