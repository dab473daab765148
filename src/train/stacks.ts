// Weights of linear maps that share their input lie one below the other in one buffer, so that one product reads them
// all; and so do the tensors that an adapter has for them, in its flat storage.
import { type Shape, size } from "../core/dims.ts";
import type { Words } from "../gpu/buffer.ts";
import { upload } from "../gpu/buffer.ts";
import { put, release, resident, type Store } from "../gpu/store.ts";
import type { Graph, Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import type { FlatLayout, FlatPlace } from "../optim/flat.ts";
import type { Formats } from "./formats.ts";
import type { Inventory } from "./leaves.ts";

/** Parts of a buffer start at multiples of so many words. */
const ALIGNMENT_WORDS = 64;

/** Between the names of stacked tensors; no checkpoint has it in a name. */
const BETWEEN = " | ";

/** Where a weight lies that has no buffer of its own, in words. */
export interface StackPlace {
  /** Name and size of the buffer. */
  readonly parent: string;
  readonly words: number;
  readonly offset: number;
}

/** The places of stacked weights by name. */
export type Stacks = Map<string, StackPlace>;

/** Whether one large product is better than several: on a software driver it takes 0.94 to 1.17 of their time. */
export function stacksMaps({ kind }: Target): boolean {
  return kind !== "software";
}

/** Places for the weights that may be stacked: f32, aligned, and together within one binding. */
export function stackWeights(
  { stacks, weights }: Pick<Inventory, "stacks" | "weights">,
  formats: Formats,
  target: Target,
): Stacks {
  const places: Stacks = new Map();
  if (!stacksMaps(target)) return places;
  for (const names of stacks.values()) {
    const lengths = names.map((name) => size(weights.get(name)!.shape));
    const words = lengths.reduce((sum, length) => sum + length, 0);
    const aligned = lengths.every((length) => length % ALIGNMENT_WORDS === 0);
    if (!aligned || 4 * words > target.maxBinding || names.some((name) => formats.has(name))) continue;
    let offset = 0;
    for (const [i, name] of names.entries()) {
      places.set(name, { parent: `stack of ${names[0]}`, words, offset });
      offset += lengths[i]!;
    }
  }
  return places;
}

/** Upload a weight to where it lies. */
export async function putWeight(store: Store, stacks: Stacks, name: string, data: Words): Promise<void> {
  const place = stacks.get(name);
  if (!place) return await put(store, name, data);
  upload(store.device, await resident(store, place.parent, 4 * place.words), data, 4 * place.offset);
}

/** Free the buffer of a weight, with the last one where it is shared. */
export function releaseWeight(store: Store, stacks: Stacks, name: string): void {
  const parent = stacks.get(name)?.parent;
  stacks.delete(name);
  if (parent === undefined) release(store, [name]);
  else if (!stacks.values().some((place) => place.parent === parent)) release(store, [parent]);
}

/** A stacked weight, or several neighbours, as a leaf. */
export function stackedLeaf(graph: Graph, { parent, words, offset }: StackPlace, name: string, shape: Shape): Value {
  return graph.leaf("weight", name, shape, { within: { parent: graph.leaf("weight", parent, [words]), offset } });
}

/** One name for several tensors. */
export function stackName(names: readonly string[]): string {
  return names.join(BETWEEN);
}

/** The tensors of {@linkcode stackName}, or of a name that is one by itself. */
export function stackedNames(name: string): string[] {
  return name.split(BETWEEN);
}

/** The place of several tensors that lie one below the other; undefined where they do not. */
export function joinedPlace({ tensors }: Pick<FlatLayout, "tensors">, names: readonly string[]): FlatPlace | undefined {
  const places = names.map((name) => tensors.get(name)!.place);
  const { page, offset } = places[0]!;
  let length = 0;
  for (const place of places) {
    if (place.page !== page || place.offset !== offset + length) return undefined;
    length += place.length;
  }
  return { page, offset, length };
}

/** The same tensors, those that an adapter has alike for maps that are stacked as neighbours. */
export function neighbours<T extends { readonly name: string }>(
  tensors: readonly T[],
  { stacks }: Pick<Inventory, "stacks">,
): T[] {
  const paths = new Map<string, string>();
  for (const [first, names] of stacks) {
    for (const name of names) paths.set(name.replace(/\.weight$/, ""), first);
  }
  const [...groups] = Map.groupBy(tensors, ({ name }) => {
    const [, path = "", rest = ""] = /^base_model\.model\.(.+)(\.lora_[AB]\.weight)$/.exec(name) ?? [];
    const stack = paths.get(path);
    return stack === undefined ? name : `${stack}${rest}`;
  }).values();
  return groups.flat();
}
