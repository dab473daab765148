// AdaLoRA's budget of ranks, on the GPU: sensitivities are watched after every update, and those triplets of singular
// vectors and values that mattered least lose their value (shaders/allocation.ts). What changes from step to step is one
// word of the scalars.
import {
  ALLOCATE,
  ALLOCATION_LANES,
  importance as importanceShader,
  maskRanks,
  scores as scoresShader,
  TRIPLET_WORDS,
} from "../../shaders/allocation.ts";
import { size } from "../core/dims.ts";
import { UsageError } from "../core/errors.ts";
import type { Graph, Op, V0, Value, Values } from "../graph/graph.ts";
import { checkSettings, type Optimizer, update } from "./optimizer.ts";
import { type FlatLayout, flatPages } from "./flat.ts";
import { scalarsLeaf, statsLeaf } from "./norm.ts";

/** Names of the factors of one module. */
export interface RankModule {
  /** A[R, In]. */
  readonly a: string;
  /** B[Out, R]. */
  readonly b: string;
  /** E[R, 1]. */
  readonly e: string;
}

/** What an allocation depends on. */
export interface RankBudget {
  /** Ranks of all modules at first, and at the end. */
  readonly first: number;
  readonly last: number;
  /** Updates before the budget falls, of the whole run, and at its end without another allocation. */
  readonly warmup: number;
  readonly total: number;
  readonly final: number;
  /** Updates from one allocation to the next. */
  readonly interval: number;
}

/** The word of the scalars for update `step`, counted from 0, as PEFT's update_and_allocate decides. */
export function allocateWord(step: number, { first, last, warmup, total, final, interval }: RankBudget): number {
  const end = total - final;
  if (step > end) return ALLOCATE.NONE + ALLOCATE.STAYS + ALLOCATE.AGAIN;
  const stays = step === end ? ALLOCATE.STAYS : 0;
  const warm = step <= warmup;
  const left = warm ? first : Math.floor((first - last) * (1 - (step - warmup) / (end - warmup)) ** 3 + last);
  const allocates = stays > 0 || !warm && step % interval === 0;
  return stays + (allocates ? first - left : ALLOCATE.NONE);
}

/** The optimizer that only watches: its states are the means of sensitivity and of its uncertainty. */
export function importance({ beta1, beta2 }: { readonly beta1: number; readonly beta2: number }): Optimizer {
  checkSettings("AdaLoRA's importance", { beta1: [beta1, "[0, 1)"], beta2: [beta2, "[0, 1)"] });
  return {
    name: "importance",
    stateNames: ["exp_avg_ipt", "exp_avg_unc"],
    weightDecay: 0,
    shader: (sweep) => importanceShader({ beta1, beta2 }, sweep),
    corrections: () => ({ c1: 1, c2: 1 }),
  };
}

/** Where the triplets of all modules are; see TRIPLET_WORDS. */
export interface Triplets {
  /** The page that holds all of them. */
  readonly page: number;
  readonly table: Uint32Array<ArrayBuffer>;
  /** Longest row or column. */
  readonly longest: number;
}

/**
 * The triplets of modules in flat storage.
 *
 * @throws {UsageError} `adalora/size` if the factors do not lie in one binding.
 */
export function tripletsOf(layout: FlatLayout, modules: readonly RankModule[]): Triplets {
  const words: number[] = [];
  const pages = new Set<number>();
  let longest = 0;
  for (const names of modules) {
    const a = layout.tensors.get(names.a)!, b = layout.tensors.get(names.b)!, e = layout.tensors.get(names.e)!;
    [a, b, e].forEach(({ place }) => pages.add(place.page));
    const [R = 0, In = 0] = a.shape, [Out = 0] = b.shape;
    longest = Math.max(longest, In, Out);
    for (let r = 0; r < R; r++) {
      words.push(a.place.offset + r * In, In, b.place.offset + r, Out, R, e.place.offset + r);
    }
  }
  const [page = 0, ...more] = pages;
  if (more.length > 0) {
    throw new UsageError(
      "adalora/size",
      "Cannot allocate ranks as the factors do not fit into one binding of this device: adapt fewer modules",
    );
  }
  return { page, table: Uint32Array.from(words), longest };
}

const scoresOp: Op<{ readonly longest: number }, Values, V0> = {
  name: "rank_scores",
  infer: () => [],
  kernels: ({ inputs, attrs: { longest } }) => {
    const [table, ipt, unc, scores] = inputs as readonly [Value, Value, Value, Value];
    const M = size(scores.shape);
    return [{
      name: "rank_scores",
      wgsl: scoresShader(M),
      read: [table, ipt, unc],
      write: [scores],
      workgroups: Math.ceil(M / ALLOCATION_LANES),
      trips: longest,
    }];
  },
};

const maskOp: Op<null, Values, V0> = {
  name: "rank_mask",
  infer: () => [],
  kernels: ({ inputs }) => {
    const [table, scores, stats, scalars, page, kept] = inputs as readonly [Value, Value, Value, Value, Value, Value];
    const M = size(scores.shape);
    return [{
      name: "rank_mask",
      wgsl: maskRanks(M),
      read: [table, scores, stats, scalars],
      write: [page, kept],
      workgroups: Math.ceil(M / ALLOCATION_LANES),
      trips: M,
    }];
  },
};

/** Name of the state u32[M] that says which triplets are left. */
export function keptName({ name }: FlatLayout): string {
  return `${name} kept.0`;
}

/** Options of {@linkcode allocateRanks}. */
export interface AllocateOptions {
  readonly triplets: Triplets;
  /** The leaf of {@linkcode Triplets.table}. */
  readonly table: Value;
  readonly watcher: Optimizer;
  /** The pages of gradients. */
  readonly gradients: readonly Value[];
}

/** Append, behind the update, the sensitivities and the allocation that the word of the scalars asks for. */
export function allocateRanks(
  graph: Graph,
  layout: FlatLayout,
  { triplets: { page, table: { length }, longest }, table, watcher, gradients }: AllocateOptions,
): void {
  update(graph, layout, { optimizer: watcher, gradients });
  const M = length / TRIPLET_WORDS;
  const at = (kind: string) => flatPages(graph, layout, kind)[page]!;
  const scores = graph.leaf("state", `${layout.name} scores.0`, [M]);
  const kept = graph.leaf("state", keptName(layout), [M], { dtype: "u32" });
  graph.add(scoresOp, [table, at("exp_avg_ipt"), at("exp_avg_unc"), scores], { longest });
  graph.add(maskOp, [table, scores, statsLeaf(graph), scalarsLeaf(graph), at("params"), kept], null);
}
