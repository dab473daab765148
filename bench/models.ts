// The models of the families "step" and "generate": real folders where they exist, random weights of their shape else.
import { createModel, type GraftDevice, loadModel, type Model } from "../mod.ts";
import type { Context } from "./kernel.ts";

/** A model to measure. */
export interface BenchModel {
  readonly name: string;
  /** Rows and tokens of a training batch. */
  readonly B: number;
  readonly T: number;
  /** Updates measured on a software driver and on a GPU. */
  readonly steps: readonly [software: number, gpu: number];
  open(device: GraftDevice): Promise<Model>;
}

const BASE = new URL("../examples/assets/base", import.meta.url).pathname;
const STORIES = new URL("../../shared/models/stories260K-hf", import.meta.url).pathname;

const STORIES_CONFIG = {
  model_type: "llama",
  vocab_size: 512,
  hidden_size: 64,
  intermediate_size: 172,
  num_hidden_layers: 5,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  max_position_embeddings: 512,
  hidden_act: "silu",
  rms_norm_eps: 1e-5,
  tie_word_embeddings: true,
};

const GPT2_CONFIG = {
  model_type: "gpt2",
  vocab_size: 50257,
  n_embd: 768,
  n_layer: 12,
  n_head: 12,
  n_positions: 1024,
  activation_function: "gelu_new",
};

function exists(path: string): boolean {
  try {
    return Deno.statSync(path) !== undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** The models, smallest first; says which folders are missing. */
export function benchModels({ quick, device: { software }, say }: Context): BenchModel[] {
  const random = (config: Readonly<Record<string, unknown>>) => (device: GraftDevice) => createModel(device, config);
  const stories: BenchModel = {
    name: "stories260K, random",
    B: 8,
    T: 128,
    steps: [8, 40],
    open: random(STORIES_CONFIG),
  };
  if (quick) return [{ ...stories, B: 2, T: 32, steps: [2, 2] }];
  const models: BenchModel[] = [stories];
  if (exists(`${STORIES}/model.safetensors`)) {
    models.push({ ...stories, name: "stories260K", open: (device) => loadModel(device, STORIES) });
  } else say("stories260K: skipped, no ../shared");
  models.push({ name: "bundled base", B: 8, T: 256, steps: [4, 40], open: (device) => loadModel(device, BASE) });
  models.push({ name: "GPT-2 124M, random", B: 1, T: 128, steps: [2, 20], open: random(GPT2_CONFIG) });
  if (!software) models.push({ name: "GPT-2 124M, random", B: 8, T: 512, steps: [2, 20], open: random(GPT2_CONFIG) });
  return models;
}
