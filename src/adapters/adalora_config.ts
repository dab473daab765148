// AdaLoRA's settings and their form in adapter_config.json (peft/tuners/adalora/config.py).
import {
  type ConfigFile,
  configFile,
  count,
  countOrNull,
  type Field,
  type FieldsOf,
  flag,
  oneOf,
  real,
  share,
} from "./fields.ts";
import { LAYERED_FIELDS, type LayeredConfig } from "./targeted.ts";

/** Settings of AdaLoRA, complete. */
export interface AdaloraConfig extends LayeredConfig {
  readonly type: "ADALORA";
  /** Mean rank of a target at the end. */
  readonly targetRank: number;
  /** Rank of every target at the start. */
  readonly initialRank: number;
  /** Updates before the budget falls. */
  readonly warmupSteps: number;
  /** Updates at the end with the ranks that are left. */
  readonly finalSteps: number;
  /** Updates from one allocation to the next. */
  readonly interval: number;
  /** Decay of the mean of sensitivities. */
  readonly beta1: number;
  /** Decay of the mean of their uncertainties. */
  readonly beta2: number;
  /** Weight of the term that keeps singular vectors orthogonal. */
  readonly orthogonality: number;
  /** Updates of the run; null: those that it has. */
  readonly totalSteps: number | null;
  /** Numerator of the scale, over the initial rank. */
  readonly alpha: number;
  /** Share of the adapter's input that is dropped in training. */
  readonly dropout: number;
  /** Biases of the base that are trained too: none, all, or those of the adapted modules. */
  readonly bias: "none" | "all" | "lora_only";
  /** Start as the base. */
  readonly init: boolean;
  /** `<path>.lora_E` → which of the singular values are left; null before the first allocation. */
  readonly rankPattern: Readonly<Record<string, readonly boolean[]>> | null;
}

function between(json: string, value: number): Field<number> {
  const ok = (x: unknown) => typeof x === "number" && x > 0 && x < 1;
  return { json, default: value, must: "between 0 and 1", ok };
}

const rankPattern: Field<AdaloraConfig["rankPattern"]> = {
  json: "rank_pattern",
  default: null,
  must: "null or lists of true and false by name",
  ok: (x) =>
    x === null || typeof x === "object" && !Array.isArray(x) &&
      Object.values(x).every((list) => Array.isArray(list) && list.every((kept) => typeof kept === "boolean")),
};

const FIELDS: FieldsOf<AdaloraConfig> = {
  targetRank: count("target_r", 8),
  initialRank: count("init_r", 12),
  warmupSteps: count("tinit", 0, 0),
  finalSteps: count("tfinal", 0, 0),
  interval: count("deltaT", 1),
  beta1: between("beta1", 0.85),
  beta2: between("beta2", 0.85),
  orthogonality: {
    ...real("orth_reg_weight", 0.5),
    must: "above 0",
    ok: (x) => typeof x === "number" && Number.isFinite(x) && x > 0,
  },
  totalSteps: countOrNull("total_step"),
  alpha: real("lora_alpha", 8),
  dropout: share("lora_dropout"),
  ...LAYERED_FIELDS,
  bias: oneOf("bias", ["none", "all", "lora_only"], "none"),
  init: flag("init_lora_weights", true),
  rankPattern,
};

// AdaLoRA's class in PEFT inherits LoRA's fields, most of which it does not use.
const IGNORED = [
  ..."r use_rslora use_dora lora_bias alpha_pattern loftq_config megatron_config megatron_core runtime_config".split(
    " ",
  ),
  ..."trainable_token_indices target_parameters layer_replication alora_invocation_tokens use_qalora".split(" "),
  ..."qalora_group_size use_bdlora ensure_weight_tying eva_config corda_config lora_ga_config arrow_config".split(" "),
  ..."kasa_config velora_config monteclora_config".split(" "),
];

const file: ConfigFile<AdaloraConfig> = configFile("ADALORA", FIELDS, {
  title: "AdaLoRA",
  fanInFanOut: true,
  ignored: IGNORED,
  problems: ({ targetRank, initialRank, totalSteps, warmupSteps, finalSteps }) => [
    ...(targetRank > initialRank ? [["target_r", `must be at most init_r ${initialRank}`] as const] : []),
    ...(totalSteps !== null && warmupSteps >= totalSteps - finalSteps
      ? [["total_step", `must be above tinit + tfinal = ${warmupSteps + finalSteps}: received ${totalSteps}`] as const]
      : []),
  ],
});

/** Settings of {@linkcode adalora}. */
export type AdaloraOptions = Partial<Omit<AdaloraConfig, "type">>;

/** The file. PEFT refuses one without the number of steps. */
export const adaloraFile: ConfigFile<AdaloraConfig> = {
  ...file,
  toJson(config, context) {
    const { totalSteps, warmupSteps, finalSteps } = config;
    return file.toJson({ ...config, totalSteps: totalSteps ?? warmupSteps + finalSteps + 1 }, context);
  },
};

/**
 * AdaLoRA (arXiv:2303.10512) with PEFT's defaults: singular values that matter least are set to zero while it is
 * trained, until `targetRank` of `initialRank` are left in the mean.
 *
 * @throws {ConfigError} `adapter/<field>` listing every setting that is wrong.
 */
export function adalora(options: AdaloraOptions = {}): AdaloraConfig {
  return adaloraFile.create(options);
}
