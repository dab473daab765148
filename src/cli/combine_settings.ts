// Settings of commands that take several adapters, and those adapters on a model.
import { COMBINATIONS, needsDensity } from "../adapters/combine.ts";
import type { Model } from "../train/model.ts";
import { refuse } from "./arguments.ts";
import { pathProblems } from "./paths.ts";
import { choice, count, list, paths, real, required, type Settings } from "./settings.ts";

/** The fields. */
export const combineFields = {
  adapter: required(paths("folder of an adapter; may be given several times", { placeholder: "DIR" })),
  weights: list("factors of the adapters, in order (1 each)", { placeholder: "X,Y" }),
  combination: choice("how LoRA adapters become one (cat: exactly their weighted sum)", COMBINATIONS),
  density: real("share of the elements that ties, DARE and magnitude_prune keep", { above: 0, max: 1 }),
  majoritySign: choice("whose sign wins in ties", ["total", "frequency"], { default: "total" }),
  combinedRank: count("rank of the svd combinations (the largest of the adapters)", { min: 1, max: 65536 }),
  combineSeed: count("seed of DARE", { default: 42, min: 0, max: 2 ** 32 - 1 }),
};

/** The settings. */
export type CombineSettings = Settings<typeof combineFields>;

/**
 * Check that all folders exist and that the options fit together.
 *
 * @throws {UsageError} `usage/adapters` with all that is wrong.
 */
export async function checkCombination(settings: CombineSettings): Promise<void> {
  const { adapter, weights, combination, density } = settings;
  const problems: string[] = [];
  for (const folder of adapter) problems.push(...await pathProblems("--adapter", folder, "folder"));
  if (weights.length > 0 && weights.length !== adapter.length) {
    problems.push(`--weights must have one for each of ${adapter.length} adapters: received ${weights.length}`);
  }
  const wrong = weights.filter((weight) => weight.trim() === "" || !Number.isFinite(Number(weight)));
  if (wrong.length > 0) problems.push(`--weights must be numbers: received ${wrong.join(", ")}`);
  if (combination !== undefined && needsDensity(combination) && density === undefined) {
    problems.push(`--combination ${combination} needs --density, such as 0.5`);
  }
  refuse("usage/adapters", problems);
}

/** Load the adapters, and combine them where that is asked for. Returns the names of those to fold in, in order. */
export async function loadCombination(
  model: Model,
  settings: CombineSettings,
  { warn, always }: { readonly warn: (text: string) => void; readonly always: boolean },
): Promise<readonly string[]> {
  const { adapter, weights, combination, density, majoritySign, combinedRank: rank, combineSeed: seed } = settings;
  const names: string[] = [];
  for (const [i, folder] of adapter.entries()) {
    const last = folder.replace(/[\\/]+$/, "").split(/[\\/]/).at(-1)!;
    const name = names.includes(last) || last === "combined" ? `${last} (${i + 1})` : last;
    await model.loadAdapter(folder, { name, warn });
    names.push(name);
  }
  if (!always && combination === undefined && weights.length === 0) return names;
  await model.combineAdapters(names, {
    name: "combined",
    ...(weights.length > 0 ? { weights: weights.map(Number) } : {}),
    ...(combination === undefined ? {} : { combination }),
    ...(density === undefined ? {} : { density }),
    ...(rank === undefined ? {} : { rank }),
    ...{ majoritySign, seed },
  });
  return ["combined"];
}
