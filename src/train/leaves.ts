// Where the tensors of a program come from: first recorded, to learn what a model has; then resident.
import { type Shape, size } from "../core/dims.ts";
import { randomKey } from "../core/random.ts";
import type { AdapterInit, FrozenOptions, Init, LeafSource, SiteInfo } from "../nn/scope.ts";
import { decays } from "../optim/decay.ts";
import type { FlatTensor } from "../optim/flat.ts";
import { rateGroup } from "../optim/lora_plus.ts";
import { scalarsLeaf } from "../optim/norm.ts";

/** A tensor by its name. */
export interface TensorSpec {
  readonly name: string;
  readonly shape: Shape;
  readonly init: Init;
}

/** A tensor of an adapter. */
export interface AdapterTensorSpec extends Omit<TensorSpec, "init"> {
  readonly init: AdapterInit;
  /** Set where it is not trained. */
  readonly frozen?: FrozenOptions;
}

/** What a model and its adapter are made of. */
export interface Inventory {
  readonly weights: Map<string, TensorSpec>;
  readonly params: Map<string, AdapterTensorSpec>;
  /** Linear maps. */
  readonly sites: Map<string, SiteInfo>;
  /** Linear maps, tables of token vectors and norms. */
  readonly modules: Map<string, SiteInfo>;
  /** Tensors that had better lie one below the other, by the first one. */
  readonly stacks: Map<string, readonly string[]>;
  /** Weights that all of their readers can unpack. */
  readonly packable: Set<string>;
}

/** A source that only takes notes; the weights of the model are frozen, or all of them are parameters. */
export function recordingLeaves(
  role: "weight" | "param" = "weight",
): { readonly leaves: LeafSource; readonly inventory: Inventory } {
  const inventory: Inventory = {
    weights: new Map(),
    params: new Map(),
    sites: new Map(),
    modules: new Map(),
    stacks: new Map(),
    packable: new Set(),
  };
  const leaves: LeafSource = {
    weight(graph, name, shape, init) {
      inventory.weights.set(name, { name, shape, init });
      return graph.leaf(role, name, shape);
    },
    param(graph, name, shape, init) {
      inventory.params.set(name, { name, shape, init });
      return graph.leaf("param", name, shape);
    },
    frozen(graph, name, shape, init, options = {}) {
      inventory.params.set(name, { name, shape, init, frozen: options });
      return graph.leaf("weight", name, shape);
    },
    constant: (graph, name, shape) => graph.leaf("weight", name, shape),
    indices: (graph, name, length) => graph.leaf("weight", name, [length], { dtype: "u32" }),
    scalars: scalarsLeaf,
    stream: (path) => randomKey(0, path)[0],
    together: (names) => void inventory.stacks.set(names[0]!, names),
    site(site) {
      inventory.modules.set(site.path, site);
      if ((site.kind ?? "linear") === "linear") inventory.sites.set(site.path, site);
    },
  };
  return { leaves, inventory };
}

/** Tensors in the order of flat storage, where those with the same settings are neighbours. */
export function flatTensors(tensors: Iterable<Pick<TensorSpec, "name" | "shape">>): FlatTensor[] {
  const list = [...tensors].map(({ name, shape }) => ({ name, shape, decay: decays(name) }));
  return list.sort((a, b) => rateGroup(a) - rateGroup(b)); // stable
}

/** Elements of all tensors. */
export function countElements(tensors: Iterable<Pick<TensorSpec, "shape">>): number {
  let sum = 0;
  for (const { shape } of tensors) sum += size(shape);
  return sum;
}

/** The tensors of an adapter that are in its file. */
export function savedTensors(tensors: ReadonlyMap<string, AdapterTensorSpec>): Map<string, AdapterTensorSpec> {
  return new Map([...tensors].filter(([, { frozen }]) => !frozen?.derived));
}
