// Low-rank adaptation (arXiv:2106.09685), with rsLoRA's scaling (arXiv:2312.03732), as PEFT computes it.
//
//   y  = x·Wᵀ + s·(dropout(x)·Aᵀ)·Bᵀ     A[R, In] ~ U(±1/√In),  B[Out, R] = 0,  s = alpha / R  (rsLoRA: alpha / √R)
//   W' = W + s·B·A                       (transposed where W is stored [In, Out])
import type { Value } from "../graph/graph.ts";
import type { Adapter, LinearSite } from "../nn/adapter.ts";
import type { AdapterInit, SiteInfo } from "../nn/scope.ts";
import { dropout } from "../ops/dropout.ts";
import { add } from "../ops/elementwise.ts";
import { loraLinear } from "../ops/lora_linear.ts";
import { matmul } from "../ops/matmul.ts";
import { doraMerge, doraSite } from "./dora.ts";
import { PREFIX, trainedName } from "./full.ts";
import type { LoraConfig } from "./lora_config.ts";
import { startNames } from "./lora_file.ts";
import { factorInits, isPrincipal, principalInits } from "./lora_init.ts";
import { suffixMatch } from "./pattern.ts";
import { type Base, resolveTargets } from "./resolve.ts";
import { targetMatcher } from "./targets.ts";

/** The settings with the targets of this model. */
export function resolveLora(config: LoraConfig, base: Base): LoraConfig {
  return resolveTargets(config, base, { kinds: ["linear", "embedding"] });
}

/** Whether the method acts as in training (dropout) or as in evaluation. */
export type Mode = "train" | "eval";

/** Rank, alpha and scale of one target. */
export interface LoraSite {
  readonly R: number;
  readonly alpha: number;
  readonly scale: number;
}

/** Rank and scale of the module at `path`: the first pattern that matches replaces r or lora_alpha. */
export function loraSite({ rank, alpha, rankPattern, alphaPattern, rslora }: LoraConfig, path: string): LoraSite {
  const pick = (patterns: Readonly<Record<string, number>>, fallback: number) =>
    Object.entries(patterns).find(([key]) => suffixMatch(key)(path))?.[1] ?? fallback;
  const R = pick(rankPattern, rank), a = pick(alphaPattern, alpha);
  return { R, alpha: a, scale: rslora ? a / Math.sqrt(R) : a / R };
}

interface Factors {
  readonly a: Value;
  readonly b: Value;
  readonly scale: number;
  /** What they started as, where that is taken away again. */
  readonly start?: { readonly a: Value; readonly b: Value };
}

/** The factors of one target. */
function factorsOf(config: LoraConfig, { m, path, In, Out, transposed, weight }: LinearSite): Factors {
  const { R, scale } = loraSite(config, path);
  const { leaves, graph } = m, { init } = config;
  const site = { path, In, Out, R, scale, transposed, weight: weight.name };
  const names = { a: `${PREFIX}${path}.lora_A.weight`, b: `${PREFIX}${path}.lora_B.weight` };
  if (!isPrincipal(init)) {
    const { a, b } = factorInits(init, site);
    return { a: leaves.param(graph, names.a, [R, In], a), b: leaves.param(graph, names.b, [Out, R], b), scale };
  }
  const starts = startNames(path);
  const first = principalInits(init, site, starts.b);
  const start = {
    b: leaves.frozen(graph, starts.b, [Out, R], first.b, { derived: true }),
    a: leaves.frozen(graph, starts.a, [R, In], first.a, { derived: true }),
  };
  const copy = (from: string): AdapterInit => ({
    kind: "base",
    weight: weight.name,
    make: (_, { tensor }) => tensor(from).slice(),
  });
  return {
    a: leaves.param(graph, names.a, [R, In], copy(starts.a)),
    b: leaves.param(graph, names.b, [Out, R], copy(starts.b)),
    ...{ scale, start },
  };
}

/** LoRA as a method: what it does at each linear map. */
export function loraAdapter(config: LoraConfig, mode: Mode): Adapter {
  const matches = targetMatcher(config);
  const factors = (site: LinearSite) => factorsOf(config, site);
  const adapts = (site: SiteInfo) => site.kind !== "norm" && site.kind !== "embedding" && matches(site);
  return {
    type: "LORA",
    adapts,
    trains: trainedName(config, (path) => matches({ path, In: 0, Out: 0, transposed: false, output: false })),
    linear(site, x) {
      const { a, b, scale, start } = factors(site);
      const { m: { graph, leaves }, transposed, bias } = site;
      const p = mode === "train" ? config.dropout : 0;
      const dropped = p > 0 ? dropout(x, leaves.scalars(graph), { p, stream: leaves.stream(site.path) }) : x;
      if (config.dora) return doraSite(site, { a, b, scale }, x, dropped);
      const y = site.plain
        ? loraLinear(x, dropped, site.weight, a, b, { transposed, scale, ...(bias ? { bias } : {}) })
        : add(site.base(x), lowRank(dropped, a, b, scale));
      return start ? add(y, lowRank(x, start.a, start.b, -scale)) : y;
    },
    merge(site) {
      const { a, b, scale, start } = factors(site);
      const sum = add(site.weight, product(site, a, b, scale));
      const weight = start ? add(sum, product(site, start.a, start.b, -scale)) : sum;
      return config.dora ? doraMerge(site, { a, b, scale }, weight) : { weight };
    },
  };
}

/** s·B·A, stored like the site's weight. */
function product({ transposed }: LinearSite, a: Value, b: Value, scale: number): Value {
  return transposed
    ? matmul(a, b, { ta: true, tb: true, alpha: scale }) // [In, Out]
    : matmul(b, a, { alpha: scale }); //                     [Out, In]
}

/** s·(x·Aᵀ)·Bᵀ, where the base is not a plain product that could do it too. */
function lowRank(x: Value, a: Value, b: Value, scale: number): Value {
  return matmul(matmul(x, a, { tb: true }), b, { tb: true, alpha: scale });
}
