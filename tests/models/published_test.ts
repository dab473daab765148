// Configurations of published checkpoints: they are read, and their tensors have as many elements as the model cards say.
import { assertEquals } from "@std/assert";
import { architectureOf } from "../../src/models/mod.ts";
import { taskOf } from "../../src/objectives/tasks.ts";
import { countElements } from "../../src/train/leaves.ts";
import { takeInventory } from "../../src/train/load.ts";

const qwen = { rms_norm_eps: 1e-6, rope_theta: 1e6, tie_word_embeddings: true, use_sliding_window: false };
const llama3 = {
  ...{ model_type: "llama", vocab_size: 128_256, rms_norm_eps: 1e-5, rope_theta: 500_000, hidden_act: "silu" },
  ...{ max_position_embeddings: 131_072, num_attention_heads: 32, num_key_value_heads: 8, attention_bias: false },
  rope_scaling: {
    ...{ factor: 32, high_freq_factor: 4, low_freq_factor: 1, original_max_position_embeddings: 8192 },
    rope_type: "llama3",
  },
};
const phi3 = {
  ...{ model_type: "phi3", hidden_size: 3072, intermediate_size: 8192, num_hidden_layers: 32, num_attention_heads: 32 },
  ...{ num_key_value_heads: 32, vocab_size: 32_064, rms_norm_eps: 1e-5, original_max_position_embeddings: 4096 },
};
const factors = (length: number) => new Array<number>(length).fill(1.05);

const published: Readonly<Record<string, readonly [number, Readonly<Record<string, unknown>>]>> = {
  "HuggingFaceTB/SmolLM2-135M": [134_515_008, {
    ...{ model_type: "llama", hidden_size: 576, intermediate_size: 1536, num_hidden_layers: 30, vocab_size: 49_152 },
    ...{ num_attention_heads: 9, num_key_value_heads: 3, max_position_embeddings: 8192, rope_theta: 100_000 },
    ...{ rms_norm_eps: 1e-5, tie_word_embeddings: true, rope_interleaved: false, rope_scaling: null, mlp_bias: false },
  }],
  "meta-llama/Llama-3.2-1B": [1_235_814_400, {
    ...{ ...llama3, hidden_size: 2048, intermediate_size: 8192, num_hidden_layers: 16, head_dim: 64 },
    tie_word_embeddings: true,
  }],
  "meta-llama/Llama-3.1-8B": [8_030_261_248, {
    ...{ ...llama3, hidden_size: 4096, intermediate_size: 14_336, num_hidden_layers: 32 },
    rope_scaling: { ...llama3.rope_scaling, factor: 8 },
  }],
  "mistralai/Mistral-7B-v0.1": [7_241_732_096, {
    ...{ model_type: "mistral", hidden_size: 4096, intermediate_size: 14_336, num_hidden_layers: 32 },
    ...{ num_attention_heads: 32, num_key_value_heads: 8, vocab_size: 32_000, sliding_window: 4096 },
    ...{ max_position_embeddings: 32_768, rms_norm_eps: 1e-5, rope_theta: 10_000, tie_word_embeddings: false },
  }],
  "Qwen/Qwen2.5-0.5B": [494_032_768, {
    ...{ ...qwen, model_type: "qwen2", hidden_size: 896, intermediate_size: 4864, num_hidden_layers: 24 },
    ...{ num_attention_heads: 14, num_key_value_heads: 2, vocab_size: 151_936, max_position_embeddings: 32_768 },
    ...{ sliding_window: 32_768, max_window_layers: 24 },
  }],
  "Qwen/Qwen3-0.6B": [596_049_920, {
    ...{ ...qwen, model_type: "qwen3", hidden_size: 1024, intermediate_size: 3072, num_hidden_layers: 28 },
    ...{ num_attention_heads: 16, num_key_value_heads: 8, head_dim: 128, vocab_size: 151_936 },
    ...{ max_position_embeddings: 40_960, max_window_layers: 28, sliding_window: null, rope_scaling: null },
  }],
  "google/gemma-2b": [2_506_172_416, {
    ...{ model_type: "gemma", hidden_size: 2048, intermediate_size: 16_384, num_hidden_layers: 18, head_dim: 256 },
    ...{ num_attention_heads: 8, num_key_value_heads: 1, vocab_size: 256_000, max_position_embeddings: 8192 },
    ...{ hidden_act: "gelu", hidden_activation: null, rms_norm_eps: 1e-6, rope_scaling: null, rope_theta: 10_000 },
  }],
  "google/gemma-2-2b": [2_614_341_888, {
    ...{ model_type: "gemma2", hidden_size: 2304, intermediate_size: 9216, num_hidden_layers: 26, head_dim: 256 },
    ...{ num_attention_heads: 8, num_key_value_heads: 4, vocab_size: 256_000, sliding_window: 4096 },
    ...{
      attn_logit_softcapping: 50,
      final_logit_softcapping: 30,
      query_pre_attn_scalar: 256,
      cache_implementation: "hybrid",
    },
  }],
  "microsoft/Phi-3-mini-4k-instruct": [3_821_079_552, {
    ...{ ...phi3, max_position_embeddings: 4096, sliding_window: 2047, rope_scaling: null, attention_bias: false },
  }],
  "microsoft/Phi-3.5-mini-instruct": [3_821_079_552, {
    ...{ ...phi3, max_position_embeddings: 131_072, sliding_window: 262_144 },
    rope_scaling: { type: "longrope", short_factor: factors(48), long_factor: factors(48) },
  }],
  "microsoft/Phi-4-mini-instruct": [3_836_021_760, {
    ...{ ...phi3, num_attention_heads: 24, num_key_value_heads: 8, vocab_size: 200_064, tie_word_embeddings: true },
    ...{ max_position_embeddings: 131_072, sliding_window: 262_144, partial_rotary_factor: 0.75 },
    rope_scaling: { type: "longrope", short_factor: factors(48), long_factor: factors(48) },
  }],
};

for (const [name, [elements, config]] of Object.entries(published)) {
  Deno.test(`${name}: the configuration is read, with all elements`, () => {
    const architecture = architectureOf(config);
    const { weights } = takeInventory(architecture, taskOf(config, architecture));
    assertEquals(countElements(weights.values()), elements);
  });
}
