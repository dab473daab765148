// What a loaded model is: resident weights, adapters in flat storage, and the programs compiled so far.
import { type AdapterConfig, buildAdapter } from "../adapters/mod.ts";
import type { PackedDType } from "../core/dims.ts";
import type { Tokenizer } from "../data/tokenizer.ts";
import type { GraftDevice } from "../gpu/device.ts";
import type { Executable } from "../gpu/executable.ts";
import type { Store } from "../gpu/store.ts";
import type { Value } from "../graph/graph.ts";
import type { Adapter } from "../nn/adapter.ts";
import type { Architecture } from "../models/architecture.ts";
import type { Json } from "../models/config.ts";
import type { Task } from "../objectives/task.ts";
import type { FlatLayout } from "../optim/flat.ts";
import type { AdapterTensorSpec, Inventory } from "./leaves.ts";
import type { Stacks } from "./stacks.ts";

/** An adapter on the model. */
export interface AdapterState {
  readonly name: string;
  readonly config: AdapterConfig;
  /** Tensors by the names that PEFT saves. */
  readonly tensors: ReadonlyMap<string, AdapterTensorSpec>;
  /** Paths of the modules that it adapts. */
  readonly targets: readonly string[];
  /** Storage of those that are trained. */
  readonly layout: FlatLayout;
  /** The adapter that it lies on, which stays as it is. */
  readonly under?: string;
}

/** Which adapter computes which sequence of a batch. */
export interface Route {
  /** The adapter of each sequence; null for the base. */
  readonly names: readonly (string | null)[];
  /** Those that occur, in order. */
  readonly distinct: readonly string[];
  /** What the names of its masks begin with. */
  readonly prefix: string;
}

/** A weight as it lies on the device. */
export interface StoredWeight {
  /** Its format; f32 without. */
  readonly format: PackedDType | undefined;
  readonly words: Uint32Array<ArrayBuffer>;
}

/** A compiled program and the leaves that are written before it runs. */
export interface Program {
  readonly executable: Executable;
  readonly inputs: Readonly<Record<string, Value>>;
  /** What can be read after a run. */
  readonly results: Readonly<Record<string, Value>>;
  /** Names of the adapters whose tensors it reads. */
  readonly adapters: readonly string[];
}

/** A loaded model. */
export interface ModelState {
  readonly device: GraftDevice;
  readonly store: Store;
  readonly architecture: Architecture;
  /** What it is loaded for. */
  readonly task: Task;
  /** config.json. */
  readonly config: Json;
  /** The folder it came from, if it came from one. */
  readonly path: string | undefined;
  /** The tokenizer of the folder; throws where there is none. */
  readonly tokenizer: () => Tokenizer;
  /** The same where its absence is no problem. */
  readonly tokenizerOrNone: Tokenizer | undefined;
  readonly inventory: Inventory;
  /** Modules that the checkpoint did not have, such as a new head. */
  readonly fresh: readonly string[];
  /** Weights that are packed on the device. */
  readonly formats: Map<string, PackedDType>;
  /** Weights that share a buffer. */
  readonly stacks: Stacks;
  readonly adapters: Map<string, AdapterState>;
  /** The adapter in use. */
  active: string | undefined;
  /** The adapter that was in use when all were disabled. */
  disabled: string | undefined;
  /** Set while a batch with an adapter for each sequence is computed. */
  route: Route | undefined;
  /** Layout of the weights where all of them are trained. */
  full: FlatLayout | undefined;
  /** Adapters that are merged into the weights, and the original weights, as they lay on the device. */
  merged:
    | { readonly adapters: readonly string[]; readonly originals: ReadonlyMap<string, StoredWeight> }
    | undefined;
  /** Whether a run is in progress: its gradients, losses and rates live in states that a second one would share. */
  training: boolean;
  /** Compiled programs by what they compute, those used last at the end. */
  readonly programs: Map<string, Program>;
}

/** The buffer of a tensor that the adapter called `adapter` has but does not train. */
export function frozenName(adapter: string, tensor: string): string {
  return `frozen ${tensor} of ${adapter}`;
}

/** How rows become batches of a model: RoBERTa counts its positions by the padding, and not all tell two texts apart. */
export function rowOptions(
  { tokenizerOrNone, config: { pad_token_id: id }, architecture: { tokenTypes = 0 } }: ModelState,
): { readonly padId: number; readonly types: boolean } {
  return { padId: tokenizerOrNone?.padId ?? (typeof id === "number" && id >= 0 ? id : 0), types: tokenTypes > 1 };
}

/** The adapter in use, unless it is merged into the weights, or every sequence has its own. */
export function activeAdapter({ adapters, active, merged, route }: ModelState): AdapterState | undefined {
  return active === undefined || merged || route ? undefined : adapters.get(active);
}

/** An adapter, the one in use by default, behind those that it lies on. */
export function adaptersInUse(state: ModelState, adapter = activeAdapter(state)): AdapterState[] {
  if (!adapter) return [];
  const below = adapter.under === undefined ? undefined : state.adapters.get(adapter.under);
  return below ? [...adaptersInUse(state, below), adapter] : [adapter];
}

/** A text that differs between programs of different adapters. */
export function adapterKey(state: ModelState): string {
  return state.route ? `mixed ${JSON.stringify(state.route.distinct)}` : activeAdapter(state)?.name ?? "";
}

/** What the adapter in use does, as in evaluation. */
export function methodInUse(state: ModelState): Adapter | undefined {
  const adapter = activeAdapter(state);
  return adapter ? buildAdapter(adapter.config, "eval") : undefined;
}
