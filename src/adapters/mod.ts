// Fine-tuning methods by `peft_type`.
import { CheckpointError, printable } from "../core/errors.ts";
import type { Adapter } from "../nn/adapter.ts";
import { loraAdapter, type Mode } from "./lora.ts";
import { type AdapterContext, type LoraConfig, loraFromJson, loraToJson } from "./lora_config.ts";

/** Settings of any method. */
export type AdapterConfig = LoraConfig;

interface Method<C extends AdapterConfig> {
  readonly build: (config: C, mode: Mode) => Adapter;
  readonly fromJson: (json: Readonly<Record<string, unknown>>) => C;
  readonly toJson: (config: C, context: AdapterContext) => Record<string, unknown>;
}

/** One line for each method. */
export const methods = {
  LORA: { build: loraAdapter, fromJson: loraFromJson, toJson: loraToJson },
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

/** The method with these settings, as it acts in training or in evaluation. */
export function buildAdapter(config: AdapterConfig, mode: Mode): Adapter {
  return methods[config.type].build(config, mode);
}

/** The fields of adapter_config.json. */
export function adapterToJson(config: AdapterConfig, context: AdapterContext): Record<string, unknown> {
  return methods[config.type].toJson(config, context);
}
