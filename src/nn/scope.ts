// What a model is built with: the graph, the place in the checkpoint, the adapter, and how rows map to positions.
import type { Shape } from "../core/dims.ts";
import type { Graph, Value } from "../graph/graph.ts";
import type { Adapter } from "./adapter.ts";
import type { Sequence } from "./sequence.ts";

/** How a fresh tensor starts. */
export type Init =
  | { readonly kind: "zeros" }
  | { readonly kind: "ones" }
  /** U(-bound, bound). */
  | { readonly kind: "uniform"; readonly bound: number }
  /** N(0, std²). */
  | { readonly kind: "normal"; readonly std: number };

/** How a fresh tensor of an adapter starts. */
export type AdapterInit =
  | Init
  | { readonly kind: "constant"; readonly value: number }
  /** A weight of the base, or what `make` makes of it. */
  | {
    readonly kind: "base";
    readonly weight: string;
    readonly make?: (weight: Float32Array<ArrayBuffer>, made: MadeFrom) => Float32Array<ArrayBuffer>;
  };

/** What a tensor may be made from beside a weight. */
export interface MadeFrom {
  /** The values of a tensor of the adapter that comes before this one. */
  readonly tensor: (name: string) => Float32Array<ArrayBuffer>;
  /** Seed of the adapter. */
  readonly seed: number;
}

/** Options of {@linkcode LeafSource.frozen}. */
export interface FrozenOptions {
  /** Seed of its own: the tensor is the same whatever the seed of the adapter. */
  readonly seed?: number;
  /** Whether it follows from the base and the other tensors, so that it is not saved. */
  readonly derived?: boolean;
}

/** Where the tensors of a program come from: recorded, frozen, or trained in flat storage. */
export interface LeafSource {
  /** A tensor of the checkpoint; `init` is for training from nothing. */
  weight(graph: Graph, name: string, shape: Shape, init: Init): Value;
  /** A tensor of the adapter, under the name that PEFT saves. */
  param(graph: Graph, name: string, shape: Shape, init: AdapterInit): Value;
  /** A tensor of the adapter that is never trained. */
  frozen(graph: Graph, name: string, shape: Shape, init: AdapterInit, options?: FrozenOptions): Value;
  /** A table computed from the configuration, such as rotary angles. */
  constant(graph: Graph, name: string, shape: Shape, make: () => Float32Array<ArrayBuffer>): Value;
  /** Row numbers u32[length] computed from the configuration, such as the buckets of distances. */
  indices(graph: Graph, name: string, length: number, make: () => Uint32Array<ArrayBuffer>): Value;
  /** The input of per-step numbers (seed, step, rates): u32 words, see core/scalars.ts. */
  scalars(graph: Graph): Value;
  /** A number of its own for the random choices made at `path`. */
  stream(path: string): number;
  /**
   * Tensors that lie one below the other as one of `shape`: of the checkpoint ("weight") or of the adapter ("param").
   * Undefined where they do not.
   */
  stack?(graph: Graph, kind: "weight" | "param", names: readonly string[], shape: Shape): Value | undefined;
  /** Told of tensors of the checkpoint that had better lie so. */
  together?(names: readonly string[]): void;
  /** Told of every module that the model has and a method may change. */
  site?(site: SiteInfo): void;
}

/** What a module does: a linear map, a table of token vectors, or a normalization. */
export type SiteKind = "linear" | "embedding" | "norm";

/** A module by its checkpoint path. */
export interface SiteInfo {
  /** Such as `"model.layers.3.self_attn.q_proj"`. */
  readonly path: string;
  readonly In: number;
  readonly Out: number;
  /** Whether W is stored [In, Out] (GPT-2's Conv1D). */
  readonly transposed: boolean;
  /** Whether this is the projection onto the vocabulary. */
  readonly output: boolean;
  /** A linear map without. */
  readonly kind?: SiteKind;
}

/** All that a model's functions need beside their inputs. */
export interface ModelScope {
  readonly graph: Graph;
  readonly adapter: Adapter | undefined;
  readonly sequence: Sequence;
  readonly leaves: LeafSource;
}

/** Run `body` one level deeper in the checkpoint: the path names weights, profiles and errors alike. */
export function within<T>(m: ModelScope, name: string, body: () => T): T {
  return m.graph.scope(name, body);
}

/** The full name of `name` in the checkpoint. */
export function pathOf({ graph }: ModelScope, name: string): string {
  return graph.scopePath === "" ? name : `${graph.scopePath}.${name}`;
}

/** A tensor of the checkpoint, by its name below the current path: frozen, or the method's own where it trains all of it. */
export function weight(m: ModelScope, name: string, shape: Shape, init: Init = { kind: "normal", std: 0.02 }): Value {
  const full = pathOf(m, name);
  return trainedInFull(m, full, full, shape) ?? m.leaves.weight(m.graph, full, shape, init);
}

/** The weight `name` of a module that shares the tensor `of` of the checkpoint; both are full names. */
export function tiedWeight(
  m: ModelScope,
  { name, of }: { readonly name: string; readonly of: string },
  shape: Shape,
  init: Init = { kind: "normal", std: 0.02 },
): Value {
  const own = trainedInFull(m, name, of, shape);
  if (own) return own;
  const shared = m.leaves.weight(m.graph, of, shape, init);
  return name === of ? shared : m.adapter?.tied?.(m, { name, of }, shared) ?? shared;
}

function trainedInFull(m: ModelScope, name: string, of: string, shape: Shape): Value | undefined {
  const saved = m.adapter?.trains?.(name);
  return saved === undefined ? undefined : m.leaves.param(m.graph, saved, shape, { kind: "base", weight: of });
}
