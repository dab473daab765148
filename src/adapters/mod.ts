// Fine-tuning methods by `peft_type`.
import { CheckpointError, printable } from "../core/errors.ts";
import type { Adapter } from "../nn/adapter.ts";
import { adaloraAdapter } from "./adalora.ts";
import { type AdaloraConfig, adaloraFile } from "./adalora_config.ts";
import { adaloraFileForm, adaloraFromFile } from "./adalora_file.ts";
import { bitfitAdapter, resolveBitfit } from "./bitfit.ts";
import { type BitfitConfig, bitfitFile } from "./bitfit_config.ts";
import { bottleneckAdapter } from "./bottleneck.ts";
import { type BottleneckConfig, bottleneckFile } from "./bottleneck_config.ts";
import type { AdapterContext } from "./fields.ts";
import type { FileForm } from "./file_form.ts";
import { ia3Adapter, resolveIa3 } from "./ia3.ts";
import { type Ia3Config, ia3File } from "./ia3_config.ts";
import { lnTuningAdapter, resolveLnTuning } from "./ln_tuning.ts";
import { type LnTuningConfig, lnTuningFile } from "./ln_tuning_config.ts";
import { loraAdapter, type Mode, resolveLora } from "./lora.ts";
import { type LoraConfig, loraFromJson, loraToJson } from "./lora_config.ts";
import { loraFileForm } from "./lora_file.ts";
import { pTuningAdapter, resolvePTuning } from "./p_tuning.ts";
import { type PTuningConfig, pTuningFile } from "./p_tuning_config.ts";
import { prefixTuningAdapter, resolvePrefixTuning } from "./prefix_tuning.ts";
import { type PrefixTuningConfig, prefixTuningFile } from "./prefix_tuning_config.ts";
import { promptTuningAdapter, resolvePromptTuning } from "./prompt_tuning.ts";
import { type PromptTuningConfig, promptTuningFile } from "./prompt_tuning_config.ts";
import { type Base, resolveTargets } from "./resolve.ts";
import { resolveVera, veraAdapter } from "./vera.ts";
import { type VeraConfig, veraFile } from "./vera_config.ts";

/** Settings of any method. */
export type AdapterConfig =
  | LoraConfig
  | AdaloraConfig
  | Ia3Config
  | VeraConfig
  | LnTuningConfig
  | BitfitConfig
  | PromptTuningConfig
  | PTuningConfig
  | PrefixTuningConfig
  | BottleneckConfig;

interface Method<C extends AdapterConfig> {
  readonly build: (config: C, mode: Mode) => Adapter;
  /** Fill in what depends on the model, and refuse what it cannot have. */
  readonly resolve: (config: C, base: Base) => C;
  readonly fromJson: (json: Readonly<Record<string, unknown>>) => C;
  readonly toJson: (config: C, context: AdapterContext) => Record<string, unknown>;
  /** What is saved, where that is not what is trained. */
  readonly fileForm?: (config: C, tensors: FileForm<C>["tensors"]) => FileForm<C>;
  /** What is trained, from what is saved. */
  readonly fromFile?: (config: C, tensors: FileForm<C>["tensors"]) => FileForm<C>["tensors"];
}

/** One line for each method. */
export const methods = {
  LORA: {
    ...{ build: loraAdapter, resolve: resolveLora, fromJson: loraFromJson, toJson: loraToJson },
    fileForm: loraFileForm,
  },
  ADALORA: {
    ...{ build: adaloraAdapter, resolve: (config, base) => resolveTargets(config, base), ...adaloraFile },
    ...{ fileForm: adaloraFileForm, fromFile: adaloraFromFile },
  },
  IA3: { build: ia3Adapter, resolve: resolveIa3, ...ia3File },
  VERA: { build: veraAdapter, resolve: resolveVera, ...veraFile },
  LN_TUNING: { build: lnTuningAdapter, resolve: resolveLnTuning, ...lnTuningFile },
  GRAFT_BITFIT: { build: bitfitAdapter, resolve: resolveBitfit, ...bitfitFile },
  PROMPT_TUNING: { build: promptTuningAdapter, resolve: resolvePromptTuning, ...promptTuningFile },
  P_TUNING: { build: pTuningAdapter, resolve: resolvePTuning, ...pTuningFile },
  PREFIX_TUNING: { build: prefixTuningAdapter, resolve: resolvePrefixTuning, ...prefixTuningFile },
  GRAFT_BOTTLENECK: { build: bottleneckAdapter, resolve: (config) => config, ...bottleneckFile },
} as const satisfies { [T in AdapterConfig["type"]]: Method<Extract<AdapterConfig, { type: T }>> };

// A config and its method belong together by `type`, which a lookup by a union cannot tell.
function methodOf({ type }: AdapterConfig): Method<AdapterConfig> {
  return methods[type] as unknown as Method<AdapterConfig>;
}

/**
 * The settings in an adapter_config.json.
 *
 * @throws {CheckpointError} `adapter/peft_type` if the method is unknown, with the known ones.
 */
export function adapterFromJson(json: Readonly<Record<string, unknown>>): AdapterConfig {
  const type = json.peft_type;
  if (typeof type === "string" && Object.hasOwn(methods, type)) {
    return methods[type as keyof typeof methods].fromJson(json);
  }
  throw new CheckpointError(
    "adapter/peft_type",
    `Cannot load an adapter of type ${printable(JSON.stringify(type) ?? "undefined")}: supported are ${
      Object.keys(methods).join(", ")
    }`,
  );
}

/**
 * The settings with what depends on the model filled in.
 *
 * @throws {UsageError} `lora/no-target` where the method finds nothing to change, `adapter/base` where it was made for
 * another model.
 */
export function resolveAdapter(config: AdapterConfig, base: Base): AdapterConfig {
  return methodOf(config).resolve(config, base);
}

/** The method with these settings, as it acts in training or in evaluation. */
export function buildAdapter(config: AdapterConfig, mode: Mode): Adapter {
  return methodOf(config).build(config, mode);
}

/** Settings and tensors as they are saved; those that follow from the base may be among the given ones. */
export function adapterFileForm(
  config: AdapterConfig,
  tensors: FileForm<AdapterConfig>["tensors"],
): FileForm<AdapterConfig> {
  return methodOf(config).fileForm?.(config, tensors) ?? { config, tensors };
}

/** The tensors that are trained, from those of a file. */
export function adapterFromFile(
  config: AdapterConfig,
  tensors: FileForm<AdapterConfig>["tensors"],
): FileForm<AdapterConfig>["tensors"] {
  return methodOf(config).fromFile?.(config, tensors) ?? tensors;
}

/** The fields of adapter_config.json. */
export function adapterToJson(config: AdapterConfig, context: AdapterContext): Record<string, unknown> {
  return methodOf(config).toJson(config, context);
}
