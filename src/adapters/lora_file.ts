// The file of a LoRA adapter that starts with a part of the base's weights (PiSSA, OLoRA): a plain LoRA of twice the rank
// that is right on the base as it is, as PEFT's path_initial_model_for_weight_conversion makes it.
//
//   s·(B·A − B₀·A₀) = s·[B, −B₀]·[A; A₀]        r and alpha twice as large (rsLoRA: alpha √2 times), so that s stays
import type { AdapterTensor, FileForm } from "./file_form.ts";
import { PREFIX } from "./full.ts";
import type { LoraConfig } from "./lora_config.ts";
import { isPrincipal } from "./lora_init.ts";

/** Names of A₀ and B₀ of the module at `path`. They are not saved as such. */
export function startNames(path: string): { readonly a: string; readonly b: string } {
  return { a: `${PREFIX}${path}.lora_A0`, b: `${PREFIX}${path}.lora_B0` };
}

/** Settings and tensors as they are saved. */
export function loraFileForm(
  config: LoraConfig,
  tensors: ReadonlyMap<string, AdapterTensor>,
): FileForm<LoraConfig> {
  if (!isPrincipal(config.init)) return { config, tensors };
  const alpha = config.rslora ? Math.SQRT2 : 2;
  const times = (patterns: Readonly<Record<string, number>>, factor: number) =>
    Object.fromEntries(Object.entries(patterns).map(([key, value]) => [key, value * factor]));
  const saved = new Map<string, AdapterTensor>();
  for (const [name, tensor] of tensors) {
    const [, path, factor] = /^base_model\.model\.(.+)\.lora_([AB])\.weight$/.exec(name) ?? [];
    if (path === undefined) {
      if (!/\.lora_[AB]0$/.test(name)) saved.set(name, tensor);
    } else {
      const { a, b } = startNames(path);
      saved.set(name, factor === "A" ? below(tensor, tensors.get(a)!) : beside(tensor, tensors.get(b)!));
    }
  }
  return {
    config: {
      ...config,
      init: true,
      rank: 2 * config.rank,
      alpha: alpha * config.alpha,
      rankPattern: times(config.rankPattern, 2),
      alphaPattern: times(config.alphaPattern, alpha),
    },
    tensors: saved,
  };
}

/** [A; A₀]. */
function below({ shape: [R = 0, In = 0], data }: AdapterTensor, start: AdapterTensor): AdapterTensor {
  const joined = new Float32Array(2 * data.length);
  joined.set(data);
  joined.set(start.data, data.length);
  return { shape: [2 * R, In], data: joined };
}

/** [B, −B₀]. */
function beside({ shape: [Out = 0, R = 0], data }: AdapterTensor, start: AdapterTensor): AdapterTensor {
  const joined = new Float32Array(2 * data.length);
  for (let o = 0; o < Out; o++) {
    for (let r = 0; r < R; r++) {
      joined[2 * o * R + r] = data[o * R + r]!;
      joined[(2 * o + 1) * R + r] = -start.data[o * R + r]!;
    }
  }
  return { shape: [Out, 2 * R], data: joined };
}
