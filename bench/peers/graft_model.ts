// The shared benchmark of ../shared/peers in Graft: its weights, batches and steps, each step with its loss read back.
//
// The peers' labels cover the last position too ([B, T + 1] tokens a batch), which a Hugging Face batch of T tokens
// cannot say. So the arranged batches go to the same programs that `train` queues, one at a time.
import { createModel, type GraftDevice, lora, type Model } from "../../mod.ts";
import { adamw } from "../../src/optim/mod.ts";
import type { Arranged } from "../../src/objectives/task.ts";
import { writeFlat, writeStored } from "../../src/train/tensors.ts";
import { updates } from "../updates.ts";

/** What is trained. */
export type PeersMode = "lora" | "full";

/** layout.json: sizes, settings and where each tensor is in the weight files. */
export interface PeersLayout {
  readonly L: number;
  readonly D: number;
  readonly H: number;
  readonly F: number;
  readonly V: number;
  readonly T: number;
  readonly B: number;
  readonly r: number;
  readonly alpha: number;
  readonly adamw: {
    readonly lr: number;
    readonly b1: number;
    readonly b2: number;
    readonly eps: number;
    readonly wd: number;
  };
  readonly layout: readonly {
    readonly name: string;
    readonly shape: readonly number[];
    readonly offset: number;
  }[];
}

/** Losses of the first steps that every framework agrees on, by step (../shared/peers/README.md). */
export const publishedLosses: Readonly<Record<PeersMode, ReadonlyMap<number, number>>> = {
  lora: new Map([
    ...[[0, 9.1927], [1, 9.2228], [2, 9.2041], [5, 9.1655], [10, 9.0585], [15, 8.9346], [20, 8.7937]] as const,
    ...[[24, 8.4363], [29, 7.9784], [39, 7.5229]] as const,
  ]),
  full: new Map([
    ...[[0, 6.9534], [1, 6.7344], [2, 6.4970], [5, 6.0816], [10, 5.5738], [15, 5.1893], [20, 4.6556]] as const,
    ...[[24, 4.4174], [29, 3.9568], [39, 3.1802]] as const,
  ]),
};

/** A model of the benchmark and what it is trained on. */
export interface PeersRun {
  readonly model: Model;
  readonly layout: PeersLayout;
  readonly batches: readonly Arranged[];
}

/**
 * Build the benchmark from the files in `folder` (../shared/peers/common): LoRA on base.bin and task B, or all weights
 * from init.bin and task A. init.bin is made by the folder's gen.py.
 */
export async function loadPeers(device: GraftDevice, folder: string, mode: PeersMode): Promise<PeersRun> {
  const layout: PeersLayout = JSON.parse(await Deno.readTextFile(`${folder}/layout.json`));
  const { L, D, H, F, V, T, B, r, alpha } = layout;
  const model = await createModel(device, {
    model_type: "gpt2",
    vocab_size: V,
    n_embd: D,
    n_layer: L,
    n_head: H,
    n_inner: F,
    n_positions: T,
    activation_function: "gelu_new",
  });
  const weights = await floats(`${folder}/${mode === "lora" ? "base" : "init"}.bin`);
  for (const { name, shape, offset } of layout.layout) {
    const length = shape.reduce((a, b) => a * b, 1);
    const words = new Uint32Array(weights.slice(offset, offset + length).buffer);
    await writeStored(model.state, `transformer.${checkpointName(name)}`, { format: undefined, words });
  }
  if (mode === "lora") {
    await model.addAdapter(lora({ rank: r, alpha, targetModules: ["c_attn"] }));
    const factors = await floats(`${folder}/loraA.bin`);
    const tensors = Array.from({ length: L }, (_, i) =>
      [
        `base_model.model.transformer.h.${i}.attn.c_attn.lora_A.weight`,
        transposed(factors.subarray(i * D * r, (i + 1) * D * r), D, r),
      ] as const);
    await writeFlat(model.state, model.state.adapters.get("default")!.layout, tensors);
  } else await model.unfreeze();
  const tokens = await Deno.readFile(`${folder}/tokens${mode === "lora" ? "B" : "A"}.i32`);
  return { model, layout, batches: arrange(new Int32Array(tokens.buffer), { B, T }) };
}

const PARTS: readonly (readonly [part: string, name: string])[] = [
  ["ln1_", "ln_1."],
  ["qkv_", "attn.c_attn."],
  ["o_", "attn.c_proj."],
  ["ln2_", "ln_2."],
  ["fc_", "mlp.c_fc."],
  ["pr_", "mlp.c_proj."],
  ["lnf_", "ln_f."],
];

/** `"h0.qkv_w"` → `"h.0.attn.c_attn.weight"`: GPT-2's Conv1D stores [in, out] too. */
export function checkpointName(name: string): string {
  if (name === "wte" || name === "wpe") return `${name}.weight`;
  const [, layer, part] = /^(?:h(\d+)\.)?(\w+)$/.exec(name) ?? [];
  const known = PARTS.find(([prefix]) => part?.startsWith(prefix));
  if (!known) throw new TypeError(`Cannot place the tensor "${name}" of layout.json: GPT-2 has none of that name`);
  return `${layer === undefined ? "" : `h.${layer}.`}${known[1]}${part!.endsWith("b") ? "bias" : "weight"}`;
}

async function floats(path: string): Promise<Float32Array<ArrayBuffer>> {
  return new Float32Array((await Deno.readFile(path)).buffer);
}

/** x[rows, columns] → x[columns, rows]. */
function transposed(x: Float32Array, rows: number, columns: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: rows * columns }, (_, i) => x[(i % rows) * columns + Math.floor(i / rows)]!);
}

/** tokens[batches, B, T + 1] → inputs of T positions and the token after each. */
function arrange(tokens: Int32Array, { B, T }: { readonly B: number; readonly T: number }): Arranged[] {
  const words = B * (T + 1);
  return Array.from({ length: tokens.length / words }, (_, k) => {
    const inputs = new Uint32Array(B * T), labels = new Int32Array(B * T);
    for (let b = 0; b < B; b++) {
      const row = tokens.subarray(k * words + b * (T + 1), k * words + (b + 1) * (T + 1));
      inputs.set(row.subarray(0, T), b * T);
      labels.set(row.subarray(1), b * T);
    }
    const shape = [B * T];
    return {
      ...{ B, T, items: B * T },
      inputs: { input_ids: { shape, dtype: "u32", data: inputs }, labels: { shape, dtype: "u32", data: labels } },
    };
  });
}

/** What {@linkcode runPeers} measured. */
export interface PeersResult {
  readonly losses: readonly number[];
  /** Milliseconds of each step: upload, step, loss read back. */
  readonly ms: readonly number[];
  readonly dispatches: number;
}

/**
 * Run the first `steps` steps of the benchmark as every peer does. Several runs take their steps in turns, so that a
 * busy machine slows all of them alike.
 */
export async function runPeers(runs: readonly PeersRun[], steps: number): Promise<PeersResult[]> {
  const all = runs.map(({ model, layout: { adamw: { lr, b1, b2, eps, wd } }, batches }) => {
    const optimizer = adamw({ beta1: b1, beta2: b2, eps, weightDecay: wd });
    const losses: number[] = [], ms: number[] = [];
    return { training: updates(model, { optimizer, lr, maxNorm: 0, decayAll: true }), batches, losses, ms };
  });
  try {
    for (let step = 0; step < steps; step++) {
      for (const { training, batches, losses, ms } of all) {
        const start = performance.now();
        await training.queue(batches[step % batches.length]!, step);
        losses.push(await training.loss(step));
        ms.push(performance.now() - start);
      }
    }
    return all.map(({ training, losses, ms }) => ({
      losses,
      ms,
      dispatches: training.programs().reduce((sum, { dispatches }) => sum + dispatches.length, 0),
    }));
  } finally {
    for (const { training } of all) training.end();
  }
}
