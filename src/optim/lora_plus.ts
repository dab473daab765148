// LoRA+ (arXiv:2402.12354): B learns faster than A by a ratio, as PEFT's create_loraplus_optimizer groups the tensors.
import type { Shape } from "../core/dims.ts";
import type { FlatLayout, FlatTensor } from "./flat.ts";
import { withSettings } from "./flat.ts";

/** Options of LoRA+. */
export interface LoraPlus {
  /** Learning rate of B and of vectors by that of A, above 0; 16 in the paper. */
  readonly ratio: number;
  /** Learning rate of adapters of embeddings at the peak (1e-6). */
  readonly embeddingRate?: number;
}

const RATE_A = 0, RATE_B = 1, RATE_EMBEDDING = 2;

/** Which of the rates a tensor has: 0 for A and whatever else is trained, 1 for B and vectors, 2 for embeddings. */
export function rateGroup({ name, shape }: { readonly name: string; readonly shape: Shape }): number {
  if (/\.lora_embedding_[AB]$/.test(name)) return RATE_EMBEDDING;
  return name.includes("lora_B") || shape.length === 1 ? RATE_B : RATE_A;
}

/** The layout with the rates of LoRA+ by group, for a peak of `learningRate`. */
export function withLoraPlus(
  layout: FlatLayout,
  { ratio, embeddingRate = 1e-6 }: LoraPlus,
  learningRate: number,
): FlatLayout {
  const scales = [1, ratio, learningRate > 0 ? embeddingRate / learningRate : 0];
  return withSettings(layout, (tensor: FlatTensor) => ({
    decay: tensor.decay ?? true,
    lrScale: scales[rateGroup(tensor)]!,
  }));
}
