// Low-rank adaptation (arXiv:2106.09685), with rsLoRA's scaling (arXiv:2312.03732), as PEFT computes it.
//
//   y  = x·Wᵀ + s·(dropout(x)·Aᵀ)·Bᵀ     A[R, In] ~ U(±1/√In),  B[Out, R] = 0,  s = alpha / R  (rsLoRA: alpha / √R)
//   W' = W + s·B·A                       (transposed where W is stored [In, Out])
import { CheckpointError, UsageError } from "../core/errors.ts";
import type { Value } from "../graph/graph.ts";
import type { Adapter, EmbedSite, LinearSite, StackedSite } from "../nn/adapter.ts";
import type { AdapterInit } from "../nn/scope.ts";
import { bias as biasOp } from "../ops/bias.ts";
import { dropout } from "../ops/dropout.ts";
import { add, scale as scaled } from "../ops/elementwise.ts";
import { loraLinear } from "../ops/lora_linear.ts";
import { matmul } from "../ops/matmul.ts";
import { embeddingReplaced, replaceRows } from "../ops/token_rows.ts";
import { doraMerge, doraSite } from "./dora.ts";
import { PREFIX, trainedName } from "./full.ts";
import type { LoraConfig } from "./lora_config.ts";
import { startNames } from "./lora_file.ts";
import { factorInits, isPrincipal, principalInits } from "./lora_init.ts";
import { type EmbeddingUpdate, embedUpdated, mergedTable, resolveTokens, tokenRows } from "./lora_embedding.ts";
import { suffixMatch } from "./pattern.ts";
import { type Base, resolveTargets } from "./resolve.ts";
import { targetMatcher } from "./targets.ts";

/** The settings with the targets of this model, and the tables of the tokens that are trained by themselves. */
export function resolveLora(config: LoraConfig, base: Base): LoraConfig {
  const resolved = resolveTargets(config, base, { kinds: ["linear", "embedding"] });
  const tokenTables = resolveTokens(resolved, base);
  return tokenTables ? { ...resolved, tokenTables } : resolved;
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

/** The maps of one site with factors that lie like the weights, or undefined where they do not, or differ in more than B. */
function stackedMaps(
  config: LoraConfig,
  { m: { leaves, graph }, sites, base }: StackedSite,
  x: Value,
  adapted: readonly boolean[],
): Value | undefined {
  const mine = sites.filter((_, i) => adapted[i]);
  const [first, ...others] = mine.map(({ path }) => loraSite(config, path));
  if (!first || others.some(({ R, scale }) => R !== first.R || scale !== first.scale)) return undefined;
  const { R, scale } = first, { In } = sites[0]!;
  const stack = base();
  if (!stack) return undefined;
  const { weight, bias } = stack;
  const names = (factor: string) => mine.map(({ path }) => `${PREFIX}${path}.lora_${factor}.weight`);
  const a = leaves.stack?.(graph, "param", names("A"), [mine.length * R, In]);
  const b = leaves.stack?.(graph, "param", names("B"), [mine.reduce((sum, { Out }) => sum + Out, 0), R]);
  if (!a || !b) return undefined;
  const parts = sites.map(({ Out }, i) => ({ Out, adapted: adapted[i]! }));
  return loraLinear(x, x, weight, a, b, { scale, parts, ...(bias ? { bias } : {}) });
}

/** LoRA as a method: what it does at each linear map. */
export function loraAdapter(config: LoraConfig, mode: Mode): Adapter {
  const matches = targetMatcher(config);
  const factors = (site: LinearSite) => factorsOf(config, site);
  const tables = config.tokenTables ?? {};
  const update = ({ path }: EmbedSite): EmbeddingUpdate => {
    const { R, scale } = loraSite(config, path);
    if (config.init === "orthogonal" || isPrincipal(config.init)) {
      throw new UsageError("lora/init", `Cannot start ${path} by "${config.init}" as it is a table of token vectors`, {
        hint: "Leave it out by exclude_modules.",
      });
    }
    return { R, scale, random: config.init === false, dora: config.dora };
  };
  const rowsOf = ({ m, path, weight, In: V, Out: D }: EmbedSite) =>
    tokenRows(m, { path, weight: weight.name, V, D }, tables[path]!);
  return {
    type: "LORA",
    adapts: (site) => site.kind !== "norm" && (matches(site) || Object.hasOwn(tables, site.path)),
    trains: trainedName(config, (path) => matches({ path, In: 0, Out: 0, transposed: false, output: false })),
    linear(site, x) {
      const { a, b, scale, start } = factors(site);
      const { m: { graph, leaves }, transposed } = site;
      const p = mode === "train" ? config.dropout : 0;
      const dropped = p > 0 ? dropout(x, leaves.scalars(graph), { p, stream: leaves.stream(site.path) }) : x;
      if (config.dora) return doraSite(site, { a, b, scale }, x, dropped);
      const own = config.loraBias ? ownBias(site, scale) : undefined;
      const bias = own && site.bias ? add(site.bias, own) : own ?? site.bias;
      const y = site.plain
        ? loraLinear(x, dropped, site.weight, a, b, { transposed, scale, ...(bias ? { bias } : {}) })
        : plusBias(add(site.base(x), lowRank(dropped, a, b, scale)), own);
      return start ? add(y, lowRank(x, start.a, start.b, -scale)) : y;
    },
    stacked(site, x) {
      const plain = !config.dora && !config.loraBias && !isPrincipal(config.init) &&
        (mode === "eval" || config.dropout === 0);
      return plain ? stackedMaps(config, site, x, site.sites.map(matches)) : undefined;
    },
    merge(site) {
      const { a, b, scale, start } = factors(site);
      const sum = add(site.weight, product(site, a, b, scale));
      const weight = start ? add(sum, product(site, start.a, start.b, -scale)) : sum;
      if (config.dora) return { weight: doraMerge(site, { a, b, scale }, weight) };
      if (!config.loraBias) return { weight };
      if (site.bias) return { weight, bias: add(site.bias, ownBias(site, scale)) };
      throw new CheckpointError(
        "merge/method",
        `Cannot merge this LORA adapter as it adds a bias to ${site.path}, which has none`,
        { hint: "Use it beside the base instead: --adapter, or loadAdapter()." },
      );
    },
    embed: (site, tokens) =>
      tables[site.path]
        ? embeddingReplaced(site.weight, tokens, rowsOf(site))
        : embedUpdated(site, update(site), tokens),
    mergeTable: (site) => tables[site.path] ? replaceRows(site.weight, rowsOf(site)) : mergedTable(site, update(site)),
    ...(config.tokenTables
      ? {
        tied(m, { of }, weight) {
          const [V = 0, D = 0] = weight.shape;
          const path = Object.keys(tables).find((table) => `${table}.weight` === of);
          return path ? replaceRows(weight, tokenRows(m, { path, weight: of, V, D }, tables[path]!)) : weight;
        },
      }
      : {}),
  };
}

/** s times the bias of B, zero at first. */
function ownBias({ m: { leaves, graph }, path, Out }: LinearSite, scale: number): Value {
  return scaled(leaves.param(graph, `${PREFIX}${path}.lora_B.bias`, [Out], { kind: "zeros" }), scale);
}

function plusBias(y: Value, bias: Value | undefined): Value {
  return bias ? biasOp(y, bias) : y;
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
