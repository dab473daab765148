// Low-rank adaptation (arXiv:2106.09685), with rsLoRA's scaling (arXiv:2312.03732), as PEFT computes it.
//
//   y  = x·Wᵀ + s·(dropout(x)·Aᵀ)·Bᵀ     A[R, In] ~ U(±1/√In),  B[Out, R] = 0,  s = alpha / R  (rsLoRA: alpha / √R)
//   W' = W + s·B·A                       (transposed where W is stored [In, Out])
import type { Value } from "../graph/graph.ts";
import type { Adapter, LinearSite } from "../nn/adapter.ts";
import type { Init, SiteInfo } from "../nn/scope.ts";
import { dropout } from "../ops/dropout.ts";
import { add } from "../ops/elementwise.ts";
import { loraLinear } from "../ops/lora_linear.ts";
import { matmul } from "../ops/matmul.ts";
import { doraMerge, doraSite } from "./dora.ts";
import { PREFIX, trainedName } from "./full.ts";
import type { LoraConfig } from "./lora_config.ts";
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

/** How A starts, for a given `init_lora_weights`; B starts at zero except with `false`. */
function inits(config: LoraConfig, In: number, R: number): { readonly a: Init; readonly b: Init } {
  const kaiming = (fan: number): Init => ({ kind: "uniform", bound: 1 / Math.sqrt(fan) });
  if (config.init === "gaussian") return { a: { kind: "normal", std: 1 / R }, b: { kind: "zeros" } };
  return { a: kaiming(In), b: config.init ? { kind: "zeros" } : kaiming(R) };
}

/** LoRA as a method: what it does at each linear map. */
export function loraAdapter(config: LoraConfig, mode: Mode): Adapter {
  const matches = targetMatcher(config);
  const factors = ({ m, path, In, Out }: LinearSite) => {
    const { R, scale } = loraSite(config, path);
    const { a, b } = inits(config, In, R);
    return {
      a: m.leaves.param(m.graph, `${PREFIX}${path}.lora_A.weight`, [R, In], a),
      b: m.leaves.param(m.graph, `${PREFIX}${path}.lora_B.weight`, [Out, R], b),
      scale,
    };
  };
  const adapts = (site: SiteInfo) => site.kind !== "norm" && site.kind !== "embedding" && matches(site);
  return {
    type: "LORA",
    adapts,
    trains: trainedName(config, (path) => matches({ path, In: 0, Out: 0, transposed: false, output: false })),
    linear(site, x) {
      const { a, b, scale } = factors(site);
      const { m: { graph, leaves }, transposed, bias } = site;
      const p = mode === "train" ? config.dropout : 0;
      const dropped = p > 0 ? dropout(x, leaves.scalars(graph), { p, stream: leaves.stream(site.path) }) : x;
      if (config.dora) return doraSite(site, { a, b, scale }, x, dropped);
      if (!site.plain) return add(site.base(x), lowRank(dropped, a, b, scale));
      return loraLinear(x, dropped, site.weight, a, b, { transposed, scale, ...(bias ? { bias } : {}) });
    },
    merge(site) {
      const { a, b, scale } = factors(site);
      const delta = site.transposed
        ? matmul(a, b, { ta: true, tb: true, alpha: scale }) // [In, Out]
        : matmul(b, a, { alpha: scale }); //                     [Out, In]
      const weight = add(site.weight, delta);
      return config.dora ? doraMerge(site, { a, b, scale }, weight) : { weight };
    },
  };
}

/** s·(x·Aᵀ)·Bᵀ, where the base is not a plain product that could do it too. */
function lowRank(x: Value, a: Value, b: Value, scale: number): Value {
  return matmul(matmul(x, a, { tb: true }), b, { tb: true, alpha: scale });
}
