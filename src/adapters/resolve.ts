// What a method's settings leave to the model: its usual targets, and "all-linear" by the names that it has.
import { UsageError } from "../core/errors.ts";
import type { SiteInfo, SiteKind } from "../nn/scope.ts";
import { LORA_TARGETS } from "./defaults.ts";
import { isAllLinear, matchTargets, type ModuleNames, suffixes, type TargetRules } from "./targets.ts";

/** What a method may know about the model. */
export interface Base {
  /** `model_type`. */
  readonly type: string;
  /** Every module that a method may change. */
  readonly modules: readonly SiteInfo[];
  /** Names of the weights. */
  readonly weights: readonly string[];
  readonly D: number;
  readonly layers: number;
  /** Heads of the keys and values, and their width. */
  readonly cache: { readonly K: number; readonly E: number };
  /** Whether an encoder reads one sequence and a decoder writes another. */
  readonly encoderDecoder: boolean;
  /** Heads of the queries. */
  readonly heads: number;
  /** Tokens of a text; undefined without a tokenizer. */
  readonly encode?: ((text: string) => number[]) | undefined;
}

/** What {@linkcode resolveTargets} chooses from. */
export interface TargetChoice {
  /** Targets of a family where none are named; LoRA's by default. */
  readonly usual?: ReadonlyMap<string, ModuleNames>;
  /** Kinds of modules that can be targets; linear maps by default. */
  readonly kinds?: readonly SiteKind[];
}

/**
 * Settings whose targets name modules of this model; the family's usual ones where there were none.
 *
 * @throws {UsageError} `lora/no-target` if there are none, or none matches.
 */
export function resolveTargets<C extends TargetRules>(
  config: C,
  { type, modules }: Pick<Base, "type" | "modules">,
  { usual = LORA_TARGETS, kinds = ["linear"] }: TargetChoice = {},
): C {
  const targetModules = config.targetModules.length > 0 ? config.targetModules : usual.get(type);
  if (targetModules === undefined) {
    throw new UsageError("lora/no-target", `Cannot choose target modules for a ${type} model: give target_modules`);
  }
  const sites = modules.filter(({ kind = "linear" }) => kinds.includes(kind));
  const found = matchTargets({ ...config, targetModules }, sites);
  // As PEFT does, so that the saved file names modules.
  return { ...config, targetModules: isAllLinear(targetModules) ? suffixes(found) : targetModules };
}
