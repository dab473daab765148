// Places of generations: which states of the store belong to which of those that are under way.
import { release } from "../gpu/store.ts";
import type { ModelState } from "./state.ts";

/** The states of one generation: S sequences of up to Tmax positions, under names that begin with `prefix`. */
export interface Place {
  /** Rows of every state: the sequences, or all beams of all texts. */
  readonly S: number;
  readonly Tmax: number;
  /** Rows that go on with one text: row s is of text floor(s / width). */
  readonly width: number;
  readonly prefix: string;
}

/** Caches are made for a multiple of this many positions, so that prompts of similar length share a program. */
const LENGTH_MULTIPLE = 64;

/** Prefixes in use: two generations that run by turns need caches of their own. */
const places = new WeakMap<ModelState, Set<string>>();

/** Options of {@linkcode takePlace}. */
export interface PlaceOptions {
  readonly texts: number;
  /** Rows of a text (1). */
  readonly width?: number;
  /** Positions that the longest text may reach. */
  readonly length: number;
  /** Positions that the model has. */
  readonly positions: number;
}

/** A place that nobody uses. What was kept for generations of other sizes is freed; those of this size find theirs. */
export function takePlace(state: ModelState, { texts, width = 1, length, positions }: PlaceOptions): Place {
  const S = texts * width;
  const Tmax = Math.min(Math.ceil(length / LENGTH_MULTIPLE) * LENGTH_MULTIPLE, positions);
  const taken = places.get(state) ?? new Set();
  places.set(state, taken);
  let n = 0;
  const beams = width > 1 ? `/${width}` : "";
  const prefix = () => `generate ${S}x${Tmax}${beams} ${n > 0 ? `#${n} ` : ""}`;
  while (taken.has(prefix())) n++;
  taken.add(prefix());
  const idle = (name: string) => name.startsWith("generate ") && !taken.values().some((used) => name.startsWith(used));
  for (const [key, { executable }] of state.programs) {
    if (!idle(key)) continue;
    executable.destroy();
    state.programs.delete(key);
  }
  release(state.store, [...state.store.buffers.keys()].filter(idle));
  return { S, Tmax, width, prefix: prefix() };
}

/** Others may use the place. */
export function leavePlace(state: ModelState, { prefix }: Place): void {
  places.get(state)!.delete(prefix);
}
