// LoRA's settings, and their form in adapter_config.json as PEFT reads and writes it (peft/tuners/lora/config.py).
import { ConfigError } from "../core/errors.ts";
import type { ModuleNames, TargetRules } from "./targets.ts";

/** Settings of LoRA, complete. */
export interface LoraConfig extends TargetRules {
  readonly type: "LORA";
  /** R, the width of the bottleneck. */
  readonly rank: number;
  /** Numerator of the scale. */
  readonly alpha: number;
  /** Share of the adapter's input that is dropped in training. */
  readonly dropout: number;
  /** Scale by alpha / √R (arXiv:2312.03732). */
  readonly rslora: boolean;
  /** Module pattern → rank. */
  readonly rankPattern: Readonly<Record<string, number>>;
  /** Module pattern → alpha. */
  readonly alphaPattern: Readonly<Record<string, number>>;
  /** Kaiming-uniform A and zero B; `"gaussian"`: normal A; `false`: both random. */
  readonly init: boolean | "gaussian";
  readonly excludeModules: ModuleNames | null;
  readonly layersToTransform: number | readonly number[] | null;
  readonly layersPattern: string | readonly string[] | null;
  /** Fields of the file that Graft does not know; kept when it is written again. */
  readonly unknown: Readonly<Record<string, unknown>>;
}

/** Settings of {@linkcode lora}; all but the targets have PEFT's defaults. */
export type LoraOptions = Partial<Omit<LoraConfig, "type">>;

/**
 * LoRA with PEFT's defaults: rank 8, alpha 8, no dropout. Without target modules the model's own are taken.
 *
 * @throws {ConfigError} `adapter/<field>` listing every setting that is wrong.
 *
 * @example Usage
 * ```ts
 * import { lora } from "@graft/graft";
 *
 * const method = lora({ rank: 8, alpha: 16, targetModules: ["q_proj", "v_proj"] });
 * console.log(method.rank, method.alpha);
 * ```
 */
export function lora(options: LoraOptions = {}): LoraConfig {
  const config: LoraConfig = {
    type: "LORA",
    rank: 8,
    alpha: 8,
    dropout: 0,
    rslora: false,
    rankPattern: {},
    alphaPattern: {},
    init: true,
    targetModules: [],
    excludeModules: null,
    layersToTransform: null,
    layersPattern: null,
    unknown: {},
    ...options,
  };
  const wrong: [field: string, text: string][] = [];
  const rank = (field: string, value: unknown) => {
    if (!(typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 65536)) {
      wrong.push([field, `must be a whole number above 0: received ${JSON.stringify(value)}`]);
    }
  };
  const real = (field: string, value: unknown) => {
    if (typeof value !== "number" || !Number.isFinite(value)) {
      wrong.push([field, `must be a number: received ${JSON.stringify(value)}`]);
    }
  };
  rank("r", config.rank);
  real("lora_alpha", config.alpha);
  for (const [key, value] of Object.entries(config.rankPattern)) rank(`rank_pattern.${key}`, value);
  for (const [key, value] of Object.entries(config.alphaPattern)) real(`alpha_pattern.${key}`, value);
  if (!(config.dropout >= 0 && config.dropout < 1)) {
    wrong.push(["lora_dropout", `must be in [0, 1): received ${JSON.stringify(config.dropout)}`]);
  }
  throwWrong(wrong);
  return config;
}

// Fields whose other values would change the adapter's meaning; anything but these values is refused.
const FIXED: Readonly<Record<string, readonly unknown[]>> = {
  bias: ["none"],
  use_dora: [false],
  lora_bias: [false],
  modules_to_save: [null],
  trainable_token_indices: [null],
  target_parameters: [null],
  layer_replication: [null],
  alora_invocation_tokens: [null],
  use_qalora: [false],
  use_bdlora: [null, false],
  ensure_weight_tying: [false],
};

const KNOWN = new Set([
  ...[
    "peft_type",
    "r",
    "lora_alpha",
    "lora_dropout",
    "use_rslora",
    "rank_pattern",
    "alpha_pattern",
    "init_lora_weights",
  ],
  ...["target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "fan_in_fan_out", "inference_mode"],
  ...["base_model_name_or_path", "task_type", "auto_mapping", "revision", "peft_version", "loftq_config"],
  ...["megatron_config", "megatron_core", "qalora_group_size", "runtime_config"],
  ...[
    "eva_config",
    "corda_config",
    "arrow_config",
    "kasa_config",
    "lora_ga_config",
    "velora_config",
    "monteclora_config",
  ],
  ...Object.keys(FIXED),
]);

/** Names of the fields of an adapter_config.json that LoRA does not know. */
export function unknownFields(json: Readonly<Record<string, unknown>>): string[] {
  return Object.keys(json).filter((key) => !KNOWN.has(key));
}

/**
 * LoRA from adapter_config.json; missing fields take PEFT's defaults.
 *
 * @throws {ConfigError} `adapter/<field>` listing every field that is wrong or not supported.
 */
export function loraFromJson(json: Readonly<Record<string, unknown>>): LoraConfig {
  const wrong: [field: string, text: string][] = [];
  for (const [field, allowed] of Object.entries(FIXED)) {
    const value = json[field];
    if (value !== undefined && !allowed.includes(value) && !(Array.isArray(value) && value.length === 0)) {
      wrong.push([field, `is not supported with this value: received ${JSON.stringify(value)}`]);
    }
  }
  const init = json.init_lora_weights ?? true;
  if (typeof init !== "boolean" && init !== "gaussian") {
    wrong.push(["init_lora_weights", `must be true, false or "gaussian": received ${JSON.stringify(init)}`]);
  }
  const names = (field: string): ModuleNames | null => {
    const value = json[field] ?? null;
    if (
      value === null || typeof value === "string" || (Array.isArray(value) && value.every((v) => typeof v === "string"))
    ) return value;
    wrong.push([field, `must be a string or a list of strings: received ${JSON.stringify(value)}`]);
    return null;
  };
  const layers = json.layers_to_transform ?? null;
  const whole = (v: unknown): v is number => typeof v === "number" && Number.isInteger(v);
  if (!(layers === null || whole(layers) || (Array.isArray(layers) && layers.every(whole)))) {
    wrong.push(["layers_to_transform", `must be a layer number or a list of them: received ${JSON.stringify(layers)}`]);
  }
  const targets = names("target_modules"),
    excludeModules = names("exclude_modules"),
    layersPattern = names("layers_pattern");
  throwWrong(wrong);
  return lora({
    rank: (json.r ?? 8) as number,
    alpha: (json.lora_alpha ?? 8) as number,
    dropout: (json.lora_dropout ?? 0) as number,
    rslora: json.use_rslora === true,
    rankPattern: (json.rank_pattern ?? {}) as Record<string, number>,
    alphaPattern: (json.alpha_pattern ?? {}) as Record<string, number>,
    init: init as boolean | "gaussian",
    targetModules: targets ?? [],
    excludeModules,
    layersToTransform: layers as number | readonly number[] | null,
    layersPattern,
    unknown: Object.fromEntries(unknownFields(json).map((key) => [key, json[key]])),
  });
}

/** What adapter_config.json says beside the method's own settings. */
export interface AdapterContext {
  readonly baseModel: string | null;
  readonly taskType: string | null;
  /** Whether the targets are stored [In, Out] (GPT-2). */
  readonly fanInFanOut: boolean;
}

/** The fields of adapter_config.json, without those that a PEFT of a year ago would not know. */
export function loraToJson(
  config: LoraConfig,
  { baseModel, taskType, fanInFanOut }: AdapterContext,
): Record<string, unknown> {
  return {
    ...config.unknown,
    alpha_pattern: config.alphaPattern,
    auto_mapping: null,
    base_model_name_or_path: baseModel,
    bias: "none",
    exclude_modules: config.excludeModules,
    fan_in_fan_out: fanInFanOut,
    inference_mode: true,
    init_lora_weights: config.init,
    layers_pattern: config.layersPattern,
    layers_to_transform: config.layersToTransform,
    loftq_config: {},
    lora_alpha: config.alpha,
    lora_bias: false,
    lora_dropout: config.dropout,
    megatron_config: null,
    megatron_core: "megatron.core",
    modules_to_save: null,
    peft_type: "LORA",
    r: config.rank,
    rank_pattern: config.rankPattern,
    revision: null,
    target_modules: config.targetModules,
    task_type: taskType,
    trainable_token_indices: null,
    use_dora: false,
    use_rslora: config.rslora,
  };
}

function throwWrong(wrong: readonly [field: string, text: string][]): void {
  const [first] = wrong;
  if (!first) return;
  throw new ConfigError(
    `adapter/${first[0]}`,
    "these LoRA settings",
    wrong.map(([field, text]) => `"${field}" ${text}`),
  );
}
