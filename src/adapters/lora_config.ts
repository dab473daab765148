// LoRA's settings, and their form in adapter_config.json as PEFT reads and writes it (peft/tuners/lora/config.py).
import { ConfigError, printable } from "../core/errors.ts";
import type { AdapterContext } from "./fields.ts";
import { BIAS_RULES, type BiasRule } from "./full.ts";
import { isLoraInit, isPrincipal, type LoraInit } from "./lora_init.ts";
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
  /** Train the length of every row of the weights too (DoRA, arXiv:2402.09353). */
  readonly dora: boolean;
  /** Module pattern → rank. */
  readonly rankPattern: Readonly<Record<string, number>>;
  /** Module pattern → alpha. */
  readonly alphaPattern: Readonly<Record<string, number>>;
  /**
   * How A and B start: uniform A and zero B; `"gaussian"`: normal A; `false`: both random; `"orthogonal"`: both random
   * with B·A = 0; `"pissa"`, `"pissa_niter_4"`, `"olora"`: from the base's weights.
   */
  readonly init: LoraInit;
  /** Modules that stay as they are, though they are targets. */
  readonly excludeModules: ModuleNames | null;
  /** Layer numbers; null for all. */
  readonly layersToTransform: number | readonly number[] | null;
  /** Names that precede the layer number, such as `"layers"`. */
  readonly layersPattern: string | readonly string[] | null;
  /** Biases of the base that are trained too: none, all, or those of the adapted modules. */
  readonly bias: BiasRule;
  /** Modules of the base that are trained in full, such as a new head; by the ends of their paths. */
  readonly modulesToSave: readonly string[];
  /** Give B a bias of its own. */
  readonly loraBias: boolean;
  /** Tokens whose vectors are trained by themselves: of the input table, or by the names of tables. */
  readonly trainableTokens: readonly number[] | Readonly<Record<string, readonly number[]>> | null;
  /** The same by the paths of the model's tables. */
  readonly tokenTables?: Readonly<Record<string, readonly number[]>>;
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
    dora: false,
    rankPattern: {},
    alphaPattern: {},
    init: true,
    targetModules: [],
    excludeModules: null,
    layersToTransform: null,
    layersPattern: null,
    bias: "none",
    modulesToSave: [],
    loraBias: false,
    trainableTokens: null,
    unknown: {},
    ...options,
  };
  throwWrong(problemsOf(config));
  return config;
}

type Problem = readonly [field: string, text: string];

/** What is wrong with settings whose values may come from a file. */
function problemsOf(config: LoraConfig): Problem[] {
  const wrong: Problem[] = [];
  const check = (field: string, value: unknown, what: string, ok: boolean) => {
    if (!ok) wrong.push([field, `must be ${what}: received ${JSON.stringify(value) ?? "nothing"}`]);
  };
  const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);
  const isWhole = (value: unknown): value is number => isNumber(value) && Number.isInteger(value) && value >= 0;
  const rank = (field: string, value: unknown) =>
    check(field, value, "a whole number above 0", isWhole(value) && value >= 1 && value <= 65536);
  const alpha = (field: string, value: unknown) => check(field, value, "a number", isNumber(value));
  const numbers = (field: string, value: unknown, one: (field: string, value: unknown) => void) => {
    const ok = typeof value === "object" && value !== null && !Array.isArray(value);
    check(field, value, "an object of numbers", ok);
    if (ok) Object.entries(value).forEach(([key, number]) => one(`${field}.${printable(key)}`, number));
  };
  const texts = (field: string, value: unknown) =>
    check(field, value, "a string or a list of strings", (Array.isArray(value) ? value : [value]).every(isText));
  rank("r", config.rank);
  alpha("lora_alpha", config.alpha);
  const { dropout, rslora, init, layersToTransform: layers } = config;
  check("lora_dropout", dropout, "in [0, 1)", isNumber(dropout) && dropout >= 0 && dropout < 1);
  check("use_rslora", rslora, "true or false", typeof rslora === "boolean");
  check("use_dora", config.dora, "true or false", typeof config.dora === "boolean");
  numbers("rank_pattern", config.rankPattern, rank);
  numbers("alpha_pattern", config.alphaPattern, alpha);
  check("init_lora_weights", init, INITS, isLoraInit(init));
  if (isPrincipal(init) && config.dora) {
    wrong.push([
      "init_lora_weights",
      `cannot be ${JSON.stringify(init)} with use_dora: the base would not be its start`,
    ]);
  }
  const odd = [config.rank, ...Object.values(config.rankPattern ?? {})].find((r) => r % 2 !== 0);
  if (init === "orthogonal" && odd !== undefined) {
    wrong.push(["init_lora_weights", `can be "orthogonal" with even ranks only: received ${odd}`]);
  }
  texts("target_modules", config.targetModules);
  texts("exclude_modules", config.excludeModules ?? []);
  texts("layers_pattern", config.layersPattern ?? []);
  const isLayers = layers === null || (Array.isArray(layers) ? layers : [layers]).every(isWhole);
  check("bias", config.bias, '"none", "all" or "lora_only"', BIAS_RULES.includes(config.bias));
  const saved: unknown = config.modulesToSave;
  check("modules_to_save", saved, "a list of names", Array.isArray(saved) && saved.every(isText));
  check("lora_bias", config.loraBias, "true or false", typeof config.loraBias === "boolean");
  if (config.loraBias && (config.dora || typeof init !== "boolean")) {
    wrong.push(["lora_bias", "cannot be true with use_dora, or unless init_lora_weights is true or false"]);
  }
  const tokens: unknown = config.trainableTokens,
    lists = Array.isArray(tokens) ? [tokens] : Object.values(tokens ?? {});
  const areTokens = typeof tokens === "object" && lists.every((list) => isTokens(list));
  check("trainable_token_indices", tokens, "a list of different tokens, or lists by module", areTokens);
  check("layers_to_transform", layers, "a layer number or a list of them", isLayers);
  return wrong;
}

const INITS = 'true, false, "gaussian", "orthogonal", "pissa", "pissa_niter_<N>" or "olora"';

// What these make of the base is in the file; how they came about means nothing to who loads it.
const FINISHED_INITS: readonly unknown[] = ["eva", "mica"];

function isTokens(list: unknown): boolean {
  const isToken = (value: unknown) => typeof value === "number" && Number.isInteger(value) && value >= 0;
  return Array.isArray(list) && list.length > 0 && list.every(isToken) && new Set(list).size === list.length;
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

// Fields whose other values would change the adapter's meaning; anything but these values is refused.
const FIXED: Readonly<Record<string, readonly unknown[]>> = {
  target_parameters: [null],
  layer_replication: [null],
  alora_invocation_tokens: [null],
  use_qalora: [false],
  use_bdlora: [null, false],
  ensure_weight_tying: [false],
  arrow_config: [null],
  kasa_config: [null],
  velora_config: [null],
  monteclora_config: [null],
};

const KNOWN = new Set([
  ..."peft_type r lora_alpha lora_dropout use_rslora rank_pattern alpha_pattern init_lora_weights".split(" "),
  ..."target_modules exclude_modules layers_to_transform layers_pattern fan_in_fan_out inference_mode".split(" "),
  ..."bias modules_to_save use_dora lora_bias trainable_token_indices".split(" "),
  ..."base_model_name_or_path task_type auto_mapping revision peft_version loftq_config megatron_config".split(" "),
  ..."megatron_core qalora_group_size runtime_config eva_config corda_config lora_ga_config".split(" "),
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
  const wrong: Problem[] = [];
  for (const [field, allowed] of Object.entries(FIXED)) {
    const value = json[field];
    if (value !== undefined && !allowed.includes(value) && !(Array.isArray(value) && value.length === 0)) {
      wrong.push([field, `is not supported with this value: received ${JSON.stringify(value)}`]);
    }
  }
  const config = {
    type: "LORA",
    rank: json.r ?? 8,
    alpha: json.lora_alpha ?? 8,
    dropout: json.lora_dropout ?? 0,
    rslora: json.use_rslora ?? false,
    dora: json.use_dora ?? false,
    rankPattern: json.rank_pattern ?? {},
    alphaPattern: json.alpha_pattern ?? {},
    init: FINISHED_INITS.includes(json.init_lora_weights) ? true : json.init_lora_weights ?? true,
    targetModules: json.target_modules ?? [],
    excludeModules: json.exclude_modules ?? null,
    layersToTransform: json.layers_to_transform ?? null,
    layersPattern: json.layers_pattern ?? null,
    bias: json.bias ?? "none",
    modulesToSave: json.modules_to_save ?? [],
    loraBias: json.lora_bias ?? false,
    trainableTokens: json.trainable_token_indices ?? null,
    unknown: Object.fromEntries(unknownFields(json).map((key) => [key, json[key]])),
  } as LoraConfig; // every field is checked on the next line
  throwWrong([...wrong, ...problemsOf(config)]);
  return config;
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
    bias: config.bias,
    exclude_modules: config.excludeModules,
    fan_in_fan_out: fanInFanOut,
    inference_mode: true,
    init_lora_weights: config.init,
    layers_pattern: config.layersPattern,
    layers_to_transform: config.layersToTransform,
    loftq_config: {},
    lora_alpha: config.alpha,
    lora_bias: config.loraBias,
    lora_dropout: config.dropout,
    megatron_config: null,
    megatron_core: "megatron.core",
    modules_to_save: config.modulesToSave.length > 0 ? config.modulesToSave : null,
    peft_type: "LORA",
    r: config.rank,
    rank_pattern: config.rankPattern,
    revision: null,
    target_modules: config.targetModules,
    task_type: taskType,
    trainable_token_indices: config.trainableTokens,
    use_dora: config.dora,
    use_rslora: config.rslora,
  };
}

function throwWrong(wrong: readonly Problem[]): void {
  const [first] = wrong;
  if (!first) return;
  throw new ConfigError(
    `adapter/${first[0]}`,
    "these LoRA settings",
    wrong.map(([field, text]) => `"${field}" ${printable(text)}`),
  );
}
