// The models of the families "step" and "generate": real folders where they exist, random weights of their shape else.
import { createModel, type GraftDevice, loadModel, type Model } from "../mod.ts";
import { size } from "../src/core/dims.ts";
import type { TensorSpec } from "../src/train/leaves.ts";
import { GPT2_CONFIG, QWEN3_CONFIG, SMOLLM2_CONFIG, STORIES_CONFIG } from "./configs.ts";
import { normals } from "./random.ts";

/** A model and a batch to measure. */
export interface BenchModel {
  readonly name: string;
  /** Rows and tokens of a training batch. */
  readonly B: number;
  readonly T: number;
  /** Updates queued without a wait, on a software driver and on a GPU. */
  readonly steps: readonly [software: number, gpu: number];
  /** Milliseconds that a LoRA step may take on an H100 in f32: a row of the table of `--h100-table`. */
  readonly target?: number;
  /** Compute layers again in the backward pass. */
  readonly recompute?: boolean;
  /** Whether a software driver would take minutes. */
  readonly large?: boolean;
  open(device: GraftDevice): Promise<Model>;
}

/** The bundled base. */
export const BASE = new URL("../examples/assets/base", import.meta.url).pathname;
/** A small real model, where it is at hand. */
export const STORIES = new URL("../../shared/models/stories260K-hf", import.meta.url).pathname;

const random = (config: Readonly<Record<string, unknown>>) => (device: GraftDevice) =>
  createModel(device, config, { initial: sampled });

const stories = { B: 8, T: 128, steps: [8, 40] } as const;
const base: BenchModel = {
  ...{ name: "bundled base", B: 8, T: 256, steps: [4, 40] },
  open: (device) => loadModel(device, BASE),
};
const gpt2 = { name: "GPT-2 124M, random", open: random(GPT2_CONFIG) } as const;

/** What `--quick` measures. */
export const quickModel: BenchModel = {
  ...{ name: "stories260K, random", B: 2, T: 32, steps: [2, 2] },
  open: random(STORIES_CONFIG),
};

/** The same with layers that are computed again. */
export const quickRecomputed: BenchModel = { ...quickModel, name: `${quickModel.name}, recomputed`, recompute: true };

/** All models, smallest first. */
export const benchModels: readonly BenchModel[] = [
  { ...stories, name: "stories260K, random", target: 3, open: random(STORIES_CONFIG) },
  { ...stories, name: "stories260K", open: (device) => loadModel(device, STORIES) },
  base,
  { ...base, name: "bundled base, recomputed", recompute: true },
  { ...gpt2, B: 1, T: 128, steps: [2, 20], target: 5 },
  { ...gpt2, B: 8, T: 512, steps: [2, 20], target: 60, large: true },
  {
    ...{ name: "SmolLM2-135M, random", B: 8, T: 512, steps: [2, 20], target: 80, large: true },
    open: random(SMOLLM2_CONFIG),
  },
  {
    ...{ name: "Qwen3-0.6B, random", B: 4, T: 512, steps: [2, 20], target: 150, large: true },
    open: random(QWEN3_CONFIG),
  },
];

/** Name and batch of a model: what `--only` looks into. */
export function labelOf({ name, B, T }: BenchModel): string {
  return `${name} ${B}x${T}`;
}

/** What {@linkcode chooseModels} needs to know. */
export interface Choice {
  readonly quick: boolean;
  readonly device: Pick<GraftDevice, "software">;
  readonly only?: readonly string[];
  /** A line for people: what is left out, and why. */
  readonly say: (text: string) => void;
}

/** Those of `models` that are measured here; what a software driver would need minutes for only by its name. */
export function chooseModels(
  { quick, device: { software }, only, say }: Choice,
  models: readonly BenchModel[] = benchModels,
): BenchModel[] {
  if (quick) return models.some(({ recompute }) => recompute) ? [quickModel, quickRecomputed] : [quickModel];
  return models.filter((model) => {
    const label = labelOf(model);
    if (only && !only.some((part) => label.includes(part))) return false;
    if (model.name === "stories260K" && !exists(`${STORIES}/model.safetensors`)) {
      say(`${label}: skipped, no ../shared`);
      return false;
    }
    if (model.large && software && !only) {
      say(`${label}: skipped, it takes minutes on a software driver; --only ${JSON.stringify(label)} runs it`);
      return false;
    }
    return true;
  });
}

/** Whether there is a file or folder at `path`. */
export function exists(path: string): boolean {
  try {
    return Deno.statSync(path) !== undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** A prime, so that repeated numbers do not make rows equal. */
const SAMPLE = normals(65521, 1, 1);

/** Values of the right size in a fraction of the time that drawing half a billion numbers takes. */
function sampled({ shape, init }: TensorSpec): Float32Array<ArrayBuffer> {
  const values = new Float32Array(size(shape));
  if (init.kind === "zeros") return values;
  if (init.kind === "ones") return values.fill(1);
  const scale = init.kind === "normal" ? init.std : init.bound / Math.sqrt(3);
  for (let i = 0; i < values.length; i++) values[i] = scale * SAMPLE[i % SAMPLE.length]!;
  return values;
}

/** Models on which DoRA is compared with LoRA. */
export const doraModels: readonly BenchModel[] = [base, { ...gpt2, B: 4, T: 256, steps: [2, 20], large: true }];
