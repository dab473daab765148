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
  readonly adapters: Map<string, AdapterState>;
  /** The adapter in use. */
  active: string | undefined;
  /** The adapter that was in use when all were disabled. */
  disabled: string | undefined;
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

/** What rows are padded with: RoBERTa counts its positions by it. */
export function padIdOf({ tokenizerOrNone, config: { pad_token_id: id } }: ModelState): number {
  return tokenizerOrNone?.padId ?? (typeof id === "number" && id >= 0 ? id : 0);
}

/** The adapter in use, unless it is merged into the weights. */
export function activeAdapter({ adapters, active, merged }: ModelState): AdapterState | undefined {
  return active === undefined || merged ? undefined : adapters.get(active);
}

/** What the adapter in use does, as in evaluation. */
export function methodInUse(state: ModelState): Adapter | undefined {
  const adapter = activeAdapter(state);
  return adapter ? buildAdapter(adapter.config, "eval") : undefined;
}
