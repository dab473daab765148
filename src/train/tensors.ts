// The tensors of a model as arrays: read from the GPU, written to it, moved into flat storage.
import { size, wordsOf } from "../core/dims.ts";
import { CheckpointError, printable, UsageError } from "../core/errors.ts";
import { readBack, upload } from "../gpu/buffer.ts";
import { put, release, resident } from "../gpu/store.ts";
import { unpack } from "../io/packing.ts";
import { type FlatLayout, flatLayout, pageName } from "../optim/flat.ts";
import { countElements, flatTensors, savedTensors, type TensorSpec } from "./leaves.ts";
import { dropPrograms } from "./programs.ts";
import { releaseWeight } from "./stacks.ts";
import { activeAdapter, type AdapterState, frozenName, type ModelState, type StoredWeight } from "./state.ts";

/** Lay tensors out in flat storage called `name`. */
export function layoutOf(
  { device }: ModelState,
  name: string,
  tensors: Iterable<Pick<TensorSpec, "name" | "shape">>,
): FlatLayout {
  return flatLayout(flatTensors(tensors), {
    name,
    maxWords: device.target.maxBinding / 4,
    maxBufferWords: device.target.maxBuffer / 4,
  });
}

/** Write tensors into their places of flat storage. */
export async function writeFlat(
  { store }: ModelState,
  layout: FlatLayout,
  tensors: Iterable<readonly [string, Float32Array<ArrayBuffer>]>,
): Promise<void> {
  for (const [page, words] of layout.pages.entries()) {
    await resident(store, pageName(layout, "params", page), 4 * words);
  }
  for (const [name, values] of tensors) {
    const { page, offset } = layout.tensors.get(name)!.place;
    upload(store.device, store.buffers.get(pageName(layout, "params", page))!, values, 4 * offset);
  }
}

/** Read all tensors of flat storage, in one mapping. */
export async function readFlat({ store }: ModelState, layout: FlatLayout): Promise<Map<string, Float32Array>> {
  const tensors = [...layout.tensors.values()];
  const parts = await readBack(
    store.device,
    layout.name,
    tensors.map(({ place: { page, offset, length } }) => ({
      buffer: store.buffers.get(pageName(layout, "params", page))!,
      offset,
      length,
    })),
  );
  return new Map(tensors.map(({ name }, i) => [name, new Float32Array(parts[i]!.buffer)]));
}

/**
 * The adapter called `name`, or the one in use.
 *
 * @throws {CheckpointError} `adapter/none`; {@linkcode UsageError} `adapter/unknown`.
 */
export function requireAdapter(state: ModelState, name?: string): AdapterState {
  const adapter = name === undefined ? activeAdapter(state) : knownAdapter(state, name);
  if (adapter) return adapter;
  throw new CheckpointError("adapter/none", "Cannot use the adapter as the model has none in use", {
    hint: state.merged ? "It is merged into the weights: unmerge() first." : "Add or load one first.",
  });
}

/**
 * The adapter called `name`.
 *
 * @throws {UsageError} `adapter/unknown` listing those that there are.
 */
export function knownAdapter({ adapters }: ModelState, name: string): AdapterState {
  const adapter = adapters.get(name);
  if (adapter) return adapter;
  const known = [...adapters.keys()].map((n) => `"${printable(n)}"`).join(", ") || "none";
  throw new UsageError("adapter/unknown", `Cannot use an adapter called "${printable(name)}": the model has ${known}`);
}

/** Tensors of an adapter, the one in use by default, by PEFT's saved names, but for those that follow from the others. */
export async function adapterTensors(
  state: ModelState,
  { name: adapter, layout, tensors }: AdapterState = requireAdapter(state),
  { derived = false }: { readonly derived?: boolean } = {},
): Promise<Map<string, Float32Array>> {
  const trained = await readFlat(state, layout);
  const all = new Map<string, Float32Array>();
  for (const { name, shape, frozen } of (derived ? tensors : savedTensors(tensors)).values()) {
    const buffer = state.store.buffers.get(frozenName(adapter, name));
    const values = frozen
      ? await readBack(state.device, name, [{ buffer: buffer!, offset: 0, length: size(shape) }])
      : undefined;
    all.set(name, values ? new Float32Array(values[0]!.buffer) : trained.get(name)!);
  }
  return all;
}

/** Write tensors of an adapter to the device. */
export async function writeAdapter(
  state: ModelState,
  { name: adapter, layout, tensors }: AdapterState,
  values: ReadonlyMap<string, Float32Array<ArrayBuffer>>,
): Promise<void> {
  const frozen = (name: string) => tensors.get(name)!.frozen !== undefined;
  await writeFlat(state, layout, [...values].filter(([name]) => !frozen(name)));
  for (const [name, data] of values) {
    if (frozen(name)) await put(state.store, frozenName(adapter, name), data);
  }
}

/** One weight of the base, whatever is merged into it. */
export async function readBase(state: ModelState, name: string): Promise<Float32Array<ArrayBuffer>> {
  const original = state.merged?.originals.get(name);
  if (!original) return await readWeight(state, name);
  const { format, words } = original;
  const count = size(state.inventory.weights.get(name)!.shape);
  return format ? unpack(format, words, count) : new Float32Array(words.slice().buffer);
}

/** All weights, by their names in the checkpoint. */
export async function weightTensors(state: ModelState): Promise<Map<string, Float32Array>> {
  if (state.full) return readFlat(state, state.full);
  const tensors = new Map<string, Float32Array>();
  for (const name of state.inventory.weights.keys()) tensors.set(name, await readWeight(state, name));
  return tensors;
}

/** One weight; a packed one is unpacked. */
export async function readWeight(state: ModelState, name: string): Promise<Float32Array<ArrayBuffer>> {
  const { format, words } = await readStored(state, name);
  return format
    ? unpack(format, words, size(state.inventory.weights.get(name)!.shape))
    : new Float32Array(words.buffer);
}

/** One weight as it lies on the device. */
export async function readStored(state: ModelState, name: string): Promise<StoredWeight> {
  const format = state.formats.get(name);
  const length = wordsOf(format ?? "f32", size(state.inventory.weights.get(name)!.shape));
  const [words] = await readBack(state.device, name, [{ ...placeOf(state, name), length }]);
  return { format, words: words! };
}

function placeOf(
  { full, stacks, store }: ModelState,
  name: string,
): { readonly buffer: GPUBuffer; readonly offset: number } {
  const place = full?.tensors.get(name)?.place;
  const stack = place ? undefined : stacks.get(name);
  const buffer = store.buffers.get(place ? pageName(full!, "params", place.page) : stack?.parent ?? name)!;
  return { buffer, offset: (place ?? stack)?.offset ?? 0 };
}

/** Replace one weight; where its format changes, the programs that read it are freed. */
export async function writeStored(state: ModelState, name: string, { format, words }: StoredWeight): Promise<void> {
  if (state.formats.get(name) !== format) {
    dropPrograms(state);
    release(state.store, [name]);
    if (format) state.formats.set(name, format);
    else state.formats.delete(name);
    await resident(state.store, name, words.byteLength);
  }
  const { buffer, offset } = placeOf(state, name);
  upload(state.device, buffer, words, 4 * offset);
}

/**
 * Move all weights into flat storage, so that they can be trained.
 *
 * @throws {UsageError} `train/quantized` if some are packed.
 */
export async function unfreeze(state: ModelState): Promise<void> {
  if (state.full) return;
  if (state.formats.size > 0) {
    const formats = [...new Set(state.formats.values())].join(" and ");
    throw new UsageError(
      "train/quantized",
      `Cannot train all weights as ${state.formats.size} are kept in ${formats}`,
      {
        hint: "Load the model without `quantize`, or train an adapter.",
      },
    );
  }
  const layout = layoutOf(state, "weights", state.inventory.weights.values());
  dropPrograms(state);
  await writeFlat(state, layout, []);
  for (const name of layout.tensors.keys()) {
    await writeFlat(state, layout, [[name, await readWeight(state, name)]]);
    releaseWeight(state.store, state.stacks, name);
  }
  state.full = layout;
}

/** Trained and all parameters. */
export function countTrained(state: ModelState): { readonly trained: number; readonly total: number } {
  const base = countElements(state.inventory.weights.values());
  const adapter = activeAdapter(state);
  const tensors = adapter ? [...savedTensors(adapter.tensors).values()] : [];
  const trained = countElements(tensors.filter(({ frozen }) => !frozen));
  return { trained: adapter ? trained : state.full ? base : 0, total: base + countElements(tensors) };
}
