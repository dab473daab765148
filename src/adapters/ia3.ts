// IA3 (arXiv:2205.05638): one factor per output of a linear map, or per input of those in feed-forward layers.
//
//   y = l ⊙ (x·Wᵀ + b)        W' = l ⊙ rows of W, b' = l ⊙ b
//   y = (l ⊙ x)·Wᵀ + b        W' = l ⊙ columns of W              (feed-forward)
import { printable, UsageError } from "../core/errors.ts";
import type { Value } from "../graph/graph.ts";
import type { Adapter, LinearSite } from "../nn/adapter.ts";
import type { AdapterInit, SiteInfo } from "../nn/scope.ts";
import { scaleColumns, scaleRows } from "../ops/scale_columns.ts";
import { IA3_TARGETS } from "./defaults.ts";
import { PREFIX, trainedName } from "./full.ts";
import type { Ia3Config } from "./ia3_config.ts";
import { fullMatch } from "./pattern.ts";
import { type Base, resolveTargets } from "./resolve.ts";
import { type ModuleNames, targetMatcher } from "./targets.ts";

/**
 * The settings with the targets of this model.
 *
 * @throws {UsageError} `lora/no-target`; `adapter/feedforward` where feedforward_modules are no targets.
 */
export function resolveIa3(config: Ia3Config, base: Base): Ia3Config {
  const usual = IA3_TARGETS.get(base.type);
  const named = config.targetModules.length > 0;
  const targets = new Map(usual ? [[base.type, usual.targets]] : []);
  const feedforwardModules = named ? config.feedforwardModules : usual?.feedforward ?? [];
  const resolved = resolveTargets({ ...config, feedforwardModules }, base, { usual: targets });
  const { targetModules } = resolved;
  if (Array.isArray(targetModules) && Array.isArray(feedforwardModules)) {
    const missing = feedforwardModules.filter((name) => !targetModules.includes(name));
    if (missing.length > 0) {
      throw new UsageError(
        "adapter/feedforward",
        `Cannot scale the inputs of ${
          printable(missing.join(", "))
        } as feedforward_modules must be among target_modules`,
      );
    }
  }
  return resolved;
}

/** IA3 as a method. */
export function ia3Adapter(config: Ia3Config): Adapter {
  const matches = targetMatcher(config);
  const isFeedforward = endMatcher(config.feedforwardModules);
  const init: AdapterInit = config.init ? { kind: "ones" } : { kind: "normal", std: 1 };
  const factors = ({ m, path, In, Out }: LinearSite): Value => {
    const shape = isFeedforward(path) ? [1, In] : [Out, 1];
    return m.leaves.param(m.graph, `${PREFIX}${path}.ia3_l`, shape, init);
  };
  return {
    type: "IA3",
    adapts: (site: SiteInfo) => (site.kind ?? "linear") === "linear" && matches(site),
    trains: trainedName(config, () => false),
    linear(site, x) {
      const l = factors(site);
      return isFeedforward(site.path) ? site.base(scaleColumns(x, l)) : scaleColumns(site.base(x), l);
    },
    merge(site) {
      const l = factors(site), inputs = isFeedforward(site.path);
      const weight = inputs === site.transposed ? scaleRows(site.weight, l) : scaleColumns(site.weight, l);
      return inputs || !site.bias ? { weight } : { weight, bias: scaleColumns(site.bias, l) };
    },
  };
}

/** PEFT compares the ends of paths here, without a dot boundary. */
function endMatcher(names: ModuleNames): (path: string) => boolean {
  if (typeof names === "string") return fullMatch(names);
  return (path) => names.some((name) => path.endsWith(name));
}
