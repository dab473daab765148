// Whether an adapter's file fits this model, and what to say about it: nothing is loaded in part, and nothing silently.
import type { AdapterConfig } from "../adapters/mod.ts";
import { type TargetRules, unmatchedNames } from "../adapters/targets.ts";
import { size } from "../core/dims.ts";
import { ConfigError, printable } from "../core/errors.ts";
import type { AdapterFile } from "../io/adapter_file.ts";
import type { SiteInfo } from "../nn/scope.ts";
import type { AdapterTensorSpec } from "./leaves.ts";

/** Names listed before it says how many more there are. */
const LISTED = 5;

function listed(names: readonly string[]): string {
  const more = names.length > LISTED ? ` and ${names.length - LISTED} more` : "";
  return `${names.slice(0, LISTED).map(printable).join(", ")}${more}`;
}

/** What {@linkcode checkKeys} compares. */
export interface Fit {
  readonly wanted: ReadonlyMap<string, AdapterTensorSpec>;
  readonly found: AdapterFile["tensors"];
  /** What the file names as its base. */
  readonly base: unknown;
}

/**
 * Check that every tensor of a file is used and every target got its own.
 *
 * @throws {ConfigError} `adapter/keys` listing what is missing, surplus, or of another shape.
 */
export function checkKeys(path: string, { wanted, found, base }: Fit): void {
  const missing = [...wanted.keys()].filter((key) => !found.has(key));
  const surplus = [...found.keys()].filter((key) => !wanted.has(key));
  const problems: string[] = [];
  if (missing.length > 0) problems.push(`${missing.length} of ${wanted.size} tensors are missing: ${listed(missing)}`);
  if (surplus.length > 0) {
    problems.push(`${surplus.length} tensors belong to nothing in this model: ${listed(surplus)}`);
  }
  const misfits: string[] = [];
  for (const [key, { shape, data }] of found) {
    const spec = wanted.get(key);
    if (!spec) continue;
    if (String(spec.shape) !== String(shape)) misfits.push(`${key} is [${shape}], this model needs [${spec.shape}]`);
    else if (data.length !== size(shape)) misfits.push(`${key} has ${data.length} values`);
  }
  problems.push(...misfits.slice(0, LISTED));
  if (misfits.length > LISTED) problems.push(`and ${misfits.length - LISTED} more tensors have other shapes`);
  if (problems.length === 0) return;
  const named = typeof base === "string" && base !== "" ? `It was made for ${printable(base)}.` : undefined;
  throw new ConfigError("adapter/keys", "this adapter on this model", problems, {
    path,
    ...(named === undefined ? {} : { hint: named }),
  });
}

/** What is odd about an adapter that fits, one sentence each. */
export function oddities(
  config: AdapterConfig,
  { modules, file }: { readonly modules: readonly SiteInfo[]; readonly file?: AdapterFile },
): string[] {
  const odd: string[] = [];
  if ("targetModules" in config) {
    const names = unmatchedNames(config as TargetRules, modules);
    if (names.length > 0) odd.push(`Of the target modules, ${listed(names)} match nothing in this model; others do.`);
  }
  if (!file) return odd;
  const ends = [...file.tensors].filter(([name]) => /\.lora_B\.weight$|\.lora_embedding_A$|\.lora_E$/.test(name));
  if (
    config.type === "LORA" && !config.dora && ends.length > 0 &&
    ends.every(([, { data }]) => data.every((x) => x === 0))
  ) {
    odd.push("The adapter changes nothing: every B is zero, as before training.");
  }
  return odd;
}
