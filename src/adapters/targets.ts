// Which modules an adapter touches: PEFT's matching rules (tuners_utils.py: check_target_module_exists,
// _maybe_include_all_linear_layers), on module paths such as "model.layers.3.self_attn.q_proj".
import { printable, UsageError } from "../core/errors.ts";
import type { SiteInfo } from "../nn/scope.ts";
import { isSaved } from "./full.ts";
import { fullMatch } from "./pattern.ts";

/** Names (suffixes or full paths) or one regular expression. */
export type ModuleNames = string | readonly string[];

/** The fields of an adapter's configuration that select modules. */
export interface TargetRules {
  /** Suffixes, a regular expression, or `"all-linear"`. */
  readonly targetModules: ModuleNames;
  /** Modules that stay as they are, though they are targets. */
  readonly excludeModules?: ModuleNames | null;
  /** Layer numbers; only suffix matches are restricted. */
  readonly layersToTransform?: number | readonly number[] | null;
  /** Names that precede the layer number, such as `"layers"`. */
  readonly layersPattern?: string | readonly string[] | null;
  /** Modules that are trained in full, and so never adapted. */
  readonly modulesToSave?: readonly string[];
}

/**
 * A function that tells whether a site is a target.
 *
 * @throws {UsageError} `lora/layers` if layers are given beside a string, or `layersPattern` without layers.
 */
export function targetMatcher(rules: TargetRules): (site: SiteInfo) => boolean {
  const { targetModules, excludeModules } = rules;
  const byLayer = isGiven(rules.layersToTransform);
  checkLayers(rules, byLayer);
  const named = nameMatcher(excludeModules ?? []), saved = rules.modulesToSave ?? [];
  const excluded = (path: string) => named(path) || isSaved(saved, path);
  const inLayer = byLayer ? layerMatcher(rules) : () => true;
  if (isAllLinear(targetModules)) return ({ path, output, kind }) => isLinear(kind) && !output && !excluded(path);
  if (typeof targetModules === "string") {
    const matches = fullMatch(targetModules);
    return ({ path }) => !excluded(path) && matches(path);
  }
  return ({ path }) =>
    !excluded(path) &&
    (targetModules.includes(path) || (targetModules.some((name) => path.endsWith(`.${name}`)) && inLayer(path)));
}

/** Whether `names` stands for every linear map but the output projection. */
export function isAllLinear(names: ModuleNames): boolean {
  return typeof names === "string" && names.toLowerCase() === "all-linear";
}

function isLinear(kind: SiteInfo["kind"]): boolean {
  return kind === undefined || kind === "linear";
}

/** PEFT takes an empty list for no restriction. */
function isGiven(value: number | string | readonly unknown[] | null | undefined): boolean {
  return value !== undefined && value !== null && !(Array.isArray(value) && value.length === 0);
}

function checkLayers({ targetModules, layersPattern }: TargetRules, byLayer: boolean): void {
  if (byLayer && typeof targetModules === "string") {
    throw new UsageError(
      "lora/layers",
      `Cannot use layers_to_transform with "${printable(targetModules)}": give target_modules as a list`,
    );
  }
  if (!byLayer && isGiven(layersPattern)) {
    throw new UsageError("lora/layers", "Cannot use layers_pattern without layers_to_transform: give both or none");
  }
}

function nameMatcher(names: ModuleNames): (path: string) => boolean {
  if (typeof names === "string") return fullMatch(names);
  return (path) => names.some((name) => path === name || path.endsWith(`.${name}`));
}

function layerMatcher({ layersToTransform, layersPattern }: TargetRules): (path: string) => boolean {
  const wanted = typeof layersToTransform === "number" ? [layersToTransform] : layersToTransform ?? [];
  const names = typeof layersPattern === "string" ? [layersPattern] : layersPattern ?? [];
  const places = names.length > 0
    ? names.map((name) => new RegExp(`^.*?\\.${name.replace(/[^\w]/g, "\\$&")}\\.(\\d+)\\.`))
    : [/^.*?\.[^.]*\.(\d+)\./];
  return (path) => {
    const index = places.map((place) => place.exec(path)?.[1]).find((found) => found !== undefined);
    return index !== undefined && wanted.includes(Number(index));
  };
}

/**
 * The targets among `sites`.
 *
 * @throws {UsageError} `lora/no-target` listing the names that this model has, with their sizes.
 */
export function matchTargets(rules: TargetRules, sites: readonly SiteInfo[]): SiteInfo[] {
  const matches = targetMatcher(rules);
  const found = sites.filter(matches);
  if (found.length > 0) return found;
  const names = new Map(sites.map(({ path, In, Out }) => [path.split(".").at(-1)!, `[${Out}, ${In}]`]));
  throw new UsageError(
    "lora/no-target",
    `Cannot adapt any module as target_modules ${
      printable(JSON.stringify(rules.targetModules))
    } matches none of ${sites.length}`,
    { hint: `This model has: ${[...names].map(([name, shape]) => `${name} ${shape}`).join(", ")}.` },
  );
}

/** Names in a list that match no site: worth a warning, since the others do. */
export function unmatchedNames({ targetModules }: TargetRules, sites: readonly SiteInfo[]): string[] {
  if (typeof targetModules === "string") return [];
  return targetModules.filter((name) => !sites.some(({ path }) => path === name || path.endsWith(`.${name}`)));
}

/** The last segments of `sites`, each once: how PEFT shortens "all-linear" when it saves. */
export function suffixes(sites: readonly SiteInfo[]): string[] {
  return [...new Set(sites.map(({ path }) => path.split(".").at(-1)!))].sort();
}
