// What a method's settings leave to the model: its usual targets, and "all-linear" by the names that it has.
import { UsageError } from "../core/errors.ts";
import type { SiteInfo } from "../nn/scope.ts";
import { LORA_TARGETS } from "./defaults.ts";
import { isAllLinear, matchTargets, type ModuleNames, suffixes, type TargetRules } from "./targets.ts";

/** What a method may know about the model. */
export interface Base {
  /** `model_type`. */
  readonly type: string;
  /** Every module that a method may change. */
  readonly modules: readonly SiteInfo[];
}

/**
 * Settings whose targets name modules of this model; the family's usual ones where there were none.
 *
 * @throws {UsageError} `lora/no-target` if there are none, or none matches.
 */
export function resolveTargets<C extends TargetRules>(
  config: C,
  { type, modules }: Base,
  usual: ReadonlyMap<string, ModuleNames> = LORA_TARGETS,
): C {
  const targetModules = config.targetModules.length > 0 ? config.targetModules : usual.get(type);
  if (targetModules === undefined) {
    throw new UsageError("lora/no-target", `Cannot choose target modules for a ${type} model: give target_modules`);
  }
  const found = matchTargets({ ...config, targetModules }, modules.filter(({ kind }) => kind !== "norm"));
  // As PEFT does, so that the saved file names modules.
  return { ...config, targetModules: isAllLinear(targetModules) ? suffixes(found) : targetModules };
}
