// Fine-tuning methods by `peft_type`.
import { CheckpointError, printable } from "../core/errors.ts";
import type { Adapter } from "../nn/adapter.ts";
import { loraAdapter, type Mode } from "./lora.ts";
import { type AdapterContext, type LoraConfig, loraFromJson, loraToJson } from "./lora_config.ts";
import { type Base, resolveTargets } from "./resolve.ts";

/** Settings of any method. */
export type AdapterConfig = LoraConfig;

interface Method<C extends AdapterConfig> {
  readonly build: (config: C, mode: Mode) => Adapter;
  /** Fill in what depends on the model, and refuse what it cannot have. */
  readonly resolve: (config: C, base: Base) => C;
  readonly fromJson: (json: Readonly<Record<string, unknown>>) => C;
  readonly toJson: (config: C, context: AdapterContext) => Record<string, unknown>;
}

/** One line for each method. */
export const methods = {
  LORA: { build: loraAdapter, resolve: resolveTargets, fromJson: loraFromJson, toJson: loraToJson },
} as const satisfies { [T in AdapterConfig["type"]]: Method<Extract<AdapterConfig, { type: T }>> };

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
 * @throws {UsageError} `lora/no-target` where the method finds nothing to change.
 */
export function resolveAdapter(config: AdapterConfig, base: Base): AdapterConfig {
  return methods[config.type].resolve(config, base);
}

/** The method with these settings, as it acts in training or in evaluation. */
export function buildAdapter(config: AdapterConfig, mode: Mode): Adapter {
  return methods[config.type].build(config, mode);
}

/** The fields of adapter_config.json. */
export function adapterToJson(config: AdapterConfig, context: AdapterContext): Record<string, unknown> {
  return methods[config.type].toJson(config, context);
}
