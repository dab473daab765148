// Flat storage: all trained tensors lie in few large buffers ("pages"), and so do their gradients and every state of
// the optimizer, at the same places. The norm, the optimizer and a checkpoint then cost one dispatch or copy a page.
//
// Tensors with the same settings (weight decay, factor on the rate) are neighbours, so that an optimizer has one range a
// page and group. Every tensor starts aligned; the words between tensors are zero and stay zero.
import { type Shape, size } from "../core/dims.ts";
import { OutOfMemoryError, printable } from "../core/errors.ts";
import type { Graph, Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";

/** A trained tensor. */
export interface FlatTensor {
  readonly name: string;
  readonly shape: Shape;
  /** Whether weight decay applies; true by default. */
  readonly decay?: boolean;
  /** Factor on the learning rate; 1 by default. */
  readonly lrScale?: number;
}

/** Where a tensor is, in words. */
export interface FlatPlace {
  readonly page: number;
  readonly offset: number;
  readonly length: number;
}

/** Neighbours with the same settings, in words; both ends are aligned. */
export interface FlatRange extends FlatPlace {
  readonly decay: boolean;
  readonly lrScale: number;
}

/** Where every trained tensor is, the same for parameters, gradients and states. */
export interface FlatLayout {
  /** Whose storage it is; empty for the only one of a program. Pages of another name are other buffers. */
  readonly name: string;
  /** Words of each page. */
  readonly pages: readonly number[];
  readonly ranges: readonly FlatRange[];
  readonly tensors: ReadonlyMap<string, FlatTensor & { readonly place: FlatPlace }>;
}

/** Options of {@linkcode flatLayout}. */
export interface FlatOptions {
  /** Whose storage it is, such as the name of an adapter; none by default. */
  readonly name?: string;
  /** Words of one binding: `target.maxBinding / 4`. A larger tensor has a page of its own, used in parts. */
  readonly maxWords: number;
  /** Words of one buffer: `target.maxBuffer / 4`; no limit by default. */
  readonly maxBufferWords?: number;
  /** Tensors start at multiples of this many words; 64 (256 bytes) suit every device. */
  readonly alignmentWords?: number;
}

/**
 * Give every tensor its place. The order within a group is kept.
 *
 * @throws {OutOfMemoryError} `mem/param` listing the tensors that exceed one buffer.
 * @throws {TypeError} if a name comes twice or a tensor is empty.
 *
 * @example Usage
 * ```ts
 * import { flatLayout } from "@graft/graft/optim";
 *
 * const layout = flatLayout([{ name: "a", shape: [3, 5] }, { name: "b", shape: [5] }], { maxWords: 2 ** 25 });
 * console.log(layout.pages, layout.tensors.get("b")?.place.offset); // [128] 64
 * ```
 */
export function flatLayout(
  tensors: readonly FlatTensor[],
  { name = "", maxWords, maxBufferWords = Infinity, alignmentWords = 64 }: FlatOptions,
): FlatLayout {
  const most = Math.floor(maxWords / alignmentWords) * alignmentWords;
  const names = new Set(tensors.map(({ name }) => name));
  if (names.size < tensors.length || tensors.some(({ shape }) => size(shape) < 1)) {
    throw new TypeError("Cannot lay out the trained tensors as a name comes twice or a tensor has no elements");
  }
  const large = tensors.filter(({ shape }) => size(shape) > maxBufferWords);
  if (large.length > 0) {
    const list = large.map(({ name, shape }) => `"${printable(name)}" [${shape}] of ${4 * size(shape)} bytes`);
    throw new OutOfMemoryError(
      "mem/param",
      `Cannot train ${list.join(", ")}: one buffer of this device holds ${4 * maxBufferWords} bytes`,
      { hint: "Train an adapter instead, or freeze these tensors." },
    );
  }
  const groups = Map.groupBy(tensors, ({ decay = true, lrScale = 1 }) => `${decay} ${lrScale}`);
  const pages: number[] = [];
  const ranges: FlatRange[] = [];
  const places = new Map<string, FlatTensor & { readonly place: FlatPlace }>();
  for (const group of groups.values()) {
    const { decay = true, lrScale = 1 } = group[0]!;
    let range: FlatRange | undefined;
    for (const tensor of group) {
      const length = size(tensor.shape);
      const room = Math.ceil(length / alignmentWords) * alignmentWords;
      if (pages.length === 0 || pages.at(-1)! + room > most) {
        pages.push(0);
        range = undefined;
      }
      const page = pages.length - 1;
      const offset = pages[page]!;
      places.set(tensor.name, { ...tensor, place: { page, offset, length } });
      pages[page] = offset + room;
      if (range) ranges.pop();
      range = { page, offset: range?.offset ?? offset, length: (range?.length ?? 0) + room, decay, lrScale };
      ranges.push(range);
    }
  }
  return { name, pages, ranges, tensors: places };
}

/** The same places with other settings by tensor: neighbours that agree are one range. */
export function withSettings(
  layout: FlatLayout,
  settings: (tensor: FlatTensor) => { readonly decay: boolean; readonly lrScale: number },
): FlatLayout {
  const ranges: FlatRange[] = [];
  const byPlace = [...layout.tensors.values()].sort((a, b) =>
    a.place.page - b.place.page || a.place.offset - b.place.offset
  );
  for (const [i, tensor] of byPlace.entries()) {
    const { page, offset } = tensor.place;
    const after = byPlace[i + 1]?.place;
    const end = after?.page === page ? after.offset : layout.pages[page]!; // padding included
    const { decay, lrScale } = settings(tensor);
    const last = ranges.at(-1);
    const joins = last?.page === page && last.decay === decay && last.lrScale === lrScale;
    if (joins) ranges.pop();
    const start = joins ? last.offset : offset;
    ranges.push({ page, offset: start, length: end - start, decay, lrScale });
  }
  return { ...layout, ranges };
}

/** The name of one page, such as `"params.0"`, or `"default params.0"` where the storage has a name. */
export function pageName({ name }: FlatLayout, kind: string, page: number): string {
  return `${name === "" ? "" : `${name} `}${kind}.${page}`;
}

/** The pages called `kind` ("params", "grads", "total" or a state of the optimizer) as leaves {@linkcode pageName}. */
export function flatPages(graph: Graph, layout: FlatLayout, kind: string): Value[] {
  return layout.pages.map((words, page) => graph.leaf("state", pageName(layout, kind, page), [words]));
}

/** The trained tensors as parameters inside of their pages; a model that asks for one of them by name gets this one. */
export function flatLeaves(graph: Graph, layout: FlatLayout): Map<string, Value> {
  const pages = flatPages(graph, layout, "params");
  return new Map([...layout.tensors.values()].map(({ name, shape, place: { page, offset } }) => [
    name,
    graph.leaf("param", name, shape, { within: { parent: pages[page]!, offset } }),
  ]));
}

/** Parts of a range of a page, none above one binding; all start aligned. */
export function bindingsOf(
  { offset, length }: Pick<FlatPlace, "offset" | "length">,
  { maxBinding }: Target,
): Pick<FlatPlace, "offset" | "length">[] {
  const most = Math.floor(maxBinding / 256) * 64;
  return Array.from({ length: Math.ceil(length / most) }, (_, i) => ({
    offset: offset + i * most,
    length: Math.min(most, length - i * most),
  }));
}
