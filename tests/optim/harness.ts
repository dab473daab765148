// An update program over five tensors of odd sizes, run for many steps on random gradients.
import { encodeScalars, type Scalars } from "../../src/core/scalars.ts";
import { compile, type Executable, read, run, write } from "../../src/gpu/executable.ts";
import type { GraftDevice } from "../../src/gpu/device.ts";
import { createStore, fetch, put, release, type Store } from "../../src/gpu/store.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import { type FlatLayout, flatLayout, flatPages, type FlatTensor } from "../../src/optim/flat.ts";
import { gradientNorm, scalarsLeaf, statsLeaf } from "../../src/optim/norm.ts";
import { type Optimizer, update } from "../../src/optim/optimizer.ts";
import { normal, type Numbers } from "../ops/harness.ts";

/** One element, a vector with a tail, one alignment unit, one more, and many; with all kinds of settings. */
export const tensors: readonly FlatTensor[] = [
  { name: "a", shape: [1] },
  { name: "b", shape: [7], decay: false },
  { name: "c", shape: [8, 8], lrScale: 0.5 },
  { name: "d", shape: [5, 13] },
  { name: "e", shape: [10, 100], decay: false },
];

/** A compiled update program and what it works on. */
export interface Updater {
  readonly layout: FlatLayout;
  readonly store: Store;
  readonly program: Executable;
  /** Run one update with these gradients by name. */
  step(gradients: ReadonlyMap<string, ArrayLike<number>>, scalars: Scalars): Promise<void>;
  /** Tensors of "params" or a state by name. */
  tensors(kind: string): Promise<Map<string, Float32Array>>;
  /** Norm, coefficient, flag. */
  stats(): Promise<number[]>;
  destroy(): void;
}

/** Make an updater whose parameters are standard normal numbers, see {@linkcode initial}. */
export async function updater(device: GraftDevice, optimizer: Optimizer): Promise<Updater> {
  const layout = flatLayout(tensors, { maxWords: device.target.maxBinding / 4 });
  const graph = new Graph(device.target);
  const gradients = flatPages(graph, layout, "grads");
  gradientNorm(graph, gradients);
  update(graph, layout, { optimizer, gradients });
  const store = createStore(device);
  await fill(store, layout, "params", initial());
  const program = await compile(graph, { store, name: optimizer.name });
  return {
    layout,
    store,
    program,
    async step(values, scalars) {
      await fill(store, layout, "grads", values);
      write(program, scalarsLeaf(graph), encodeScalars(scalars));
      run(program);
    },
    tensors: (kind) => unpack(store, layout, kind),
    stats: async () => [...(await read(program, [statsLeaf(graph)]))[0]!],
    destroy: () => {
      program.destroy();
      release(store);
    },
  };
}

/** The parameters before the first step. */
export function initial(): Map<string, Numbers> {
  return randomTensors(1000);
}

/** Standard normal numbers for every tensor. */
export function randomTensors(seed: number): Map<string, Numbers> {
  return new Map(
    tensors.map(({ name, shape }, i) => [name, normal(shape.reduce((n, d) => n * d, 1), 10 * seed + i)]),
  );
}

/** Write the pages of `kind` from tensors by name; the words between them are zero. */
export async function fill(
  store: Store,
  layout: FlatLayout,
  kind: string,
  values: ReadonlyMap<string, ArrayLike<number>>,
): Promise<void> {
  const pages = layout.pages.map((words) => new Float32Array(words));
  for (const [name, { place: { page, offset } }] of layout.tensors) pages[page]!.set(values.get(name) ?? [], offset);
  for (const [page, words] of pages.entries()) await put(store, `${kind}.${page}`, words);
}

/** The tensors of the pages of `kind` by name. */
export async function unpack(store: Store, layout: FlatLayout, kind: string): Promise<Map<string, Float32Array>> {
  const found = new Map<string, Float32Array>();
  for (const [name, { place: { page, offset, length } }] of layout.tensors) {
    found.set(name, await fetch(store, `${kind}.${page}`, { offset, length }));
  }
  return found;
}

/** The value whose buffer holds `value`. */
export function rootOf(graph: Graph, value: Value): Value {
  const place = graph.places.get(value) ?? value.within;
  return place ? rootOf(graph, place.parent) : value;
}
