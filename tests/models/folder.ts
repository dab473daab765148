// Model folders for tests: the committed fixtures, and folders with random weights of any configuration.
import type { Batch } from "../../src/data/batch.ts";
import type { Dataset } from "../../src/data/dataset.ts";
import { normal, randomKey } from "../../src/core/random.ts";
import { saveModelFolder, type SaveModelOptions } from "../../src/io/hf_save.ts";
import { architectureOf } from "../../src/models/mod.ts";
import { taskOf } from "../../src/objectives/tasks.ts";
import { takeInventory } from "../../src/train/load.ts";

/** Path of a committed reference case, such as `fixture("llama-lora")`. */
export function fixture(name: string): string {
  return new URL(`../fixtures/${name}`, import.meta.url).pathname;
}

/** A Llama of two layers that tests change. */
export const LLAMA = {
  model_type: "llama",
  vocab_size: 61,
  hidden_size: 32,
  intermediate_size: 40,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 40,
  rms_norm_eps: 1e-5,
  torch_dtype: "float32",
};

/** A GPT-2 of two layers that tests change. */
export const GPT2 = {
  model_type: "gpt2",
  vocab_size: 61,
  n_embd: 32,
  n_layer: 2,
  n_head: 4,
  n_positions: 40,
  layer_norm_epsilon: 1e-5,
  activation_function: "gelu_new",
  torch_dtype: "float32",
};

/** A BERT of two layers that tests change. */
export const BERT = {
  model_type: "bert",
  architectures: ["BertForSequenceClassification"],
  vocab_size: 61,
  hidden_size: 24,
  intermediate_size: 40,
  num_hidden_layers: 2,
  num_attention_heads: 3,
  max_position_embeddings: 40,
  type_vocab_size: 2,
  hidden_act: "gelu",
  layer_norm_eps: 1e-12,
  pad_token_id: 0,
  torch_dtype: "float32",
};

/** A RoBERTa of two layers: padding is token 1, so positions begin at 2. */
export const ROBERTA = {
  ...BERT,
  model_type: "roberta",
  architectures: ["RobertaForSequenceClassification"],
  type_vocab_size: 1,
  layer_norm_eps: 1e-5,
  pad_token_id: 1,
};

/** A DistilBERT of two layers. */
export const DISTILBERT = {
  model_type: "distilbert",
  architectures: ["DistilBertForSequenceClassification"],
  vocab_size: 61,
  dim: 24,
  hidden_dim: 40,
  n_layers: 2,
  n_heads: 3,
  max_position_embeddings: 40,
  activation: "gelu",
  pad_token_id: 0,
  torch_dtype: "float32",
};

/** A T5 of two layers a half, tied, with plain feed-forwards. */
export const T5 = {
  model_type: "t5",
  architectures: ["T5ForConditionalGeneration"],
  vocab_size: 61,
  d_model: 32,
  d_kv: 8,
  d_ff: 40,
  num_layers: 2,
  num_heads: 4,
  feed_forward_proj: "relu",
  relative_attention_num_buckets: 8,
  relative_attention_max_distance: 9,
  layer_norm_epsilon: 1e-6,
  decoder_start_token_id: 0,
  pad_token_id: 0,
  eos_token_id: 1,
  torch_dtype: "float32",
};

/** Weights by name. */
export type Weights = Map<string, { readonly shape: readonly number[]; readonly data: Float32Array<ArrayBuffer> }>;

/** Random weights, biases too, large enough that every part of the model matters: N(0, 0.25²), norms around 1. */
export function randomWeights(config: Readonly<Record<string, unknown>>, seed = 1): Weights {
  const architecture = architectureOf(config);
  const { weights } = takeInventory(architecture, taskOf(config, architecture));
  return new Map([...weights.values()].map(({ name, shape, init }) => {
    const key = randomKey(seed, name);
    const length = shape.reduce((a, b) => a * b, 1);
    const centre = init.kind === "ones" ? 1 : 0;
    const data = Float32Array.from({ length }, (_, i) => centre + 0.25 * normal(key, i));
    return [name, { shape, data }] as const;
  }));
}

/** Save weights as a model folder. */
export async function writeModel(
  path: string,
  config: Readonly<Record<string, unknown>>,
  weights: Weights = randomWeights(config),
  options: Partial<SaveModelOptions> = {},
): Promise<void> {
  const tensors = [...weights].map(([name, { shape, data }]) => ({ name, shape, data }));
  await saveModelFolder(path, { config, tensors, ...options });
}

/** The bits of an array, so that NaN and -0 are compared too. */
export function bits(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

/** Largest |a - b|. */
export function worstDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let worst = 0;
  for (let i = 0; i < a.length; i++) worst = Math.max(worst, Math.abs(a[i]! - b[i]!));
  return worst;
}

function tokenLabels(row: number | readonly number[] | undefined, length: number): Int32Array {
  if (typeof row !== "object") throw new TypeError(`labels of tokens are lists: received ${row}`);
  return Int32Array.from(row.slice(0, length));
}

/** The rows of batches, without their padding, as a data set. */
export function datasetOf(batches: readonly Batch[]): Pick<Dataset, "examples"> {
  const examples = batches.flatMap(({ input_ids, labels, attention_mask: mask }) =>
    input_ids.map((ids, b) => {
      const length = mask ? mask[b]!.lastIndexOf(1) + 1 : ids.length;
      return { ids: Uint32Array.from(ids.slice(0, length)), labels: tokenLabels(labels![b], length) };
    })
  );
  return { examples };
}
