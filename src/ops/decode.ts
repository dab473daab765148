// Decoding one position of S sequences a run, with a cache of keys and values on the GPU.
//
// The position is state on the GPU, so that a program can be replayed many times in one submit. Attention enters the
// new keys and values in the cache itself: no other node of the program reads the cache, so that the rule "a program
// never reads a resident value after writing it" holds between nodes.
import {
  advance as advanceShader,
  attentionDecode as subgroupShader,
  attentionDecodeTrips,
} from "../../shaders/decode.ts";
import { attentionDecodeTiles, decodeTilesTrips } from "../../shaders/decode_tiles.ts";
import type { DecodeOptions } from "../../shaders/lib/decode.ts";
import { size } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import {
  defineOp,
  floatBits,
  type Kernel,
  type Range,
  type V0,
  type V1,
  type V4,
  type Value,
  type Values,
} from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { laneGroup } from "./rows.ts";
import { checkSoftcap } from "./softcap.ts";

/** Sizes of {@linkcode attentionDecode}. */
export interface AttentionDecodeSizes {
  /** Sequences. */
  readonly S: number;
  /** Heads of the queries. */
  readonly H: number;
  /** Heads of the keys and values, a divisor of H: query head h reads head floor(h / (H / K)). */
  readonly K: number;
  /** Columns of a head. */
  readonly E: number;
  /** Positions of the cache. */
  readonly Tmax: number;
  /** Factor on the scores: 1 / sqrt(E) by default. */
  readonly scale?: number;
  /** How many positions a row sees, its own included; all without. */
  readonly window?: number;
  /** Scaled scores are bent to softcap · tanh(score / softcap), as in Gemma 2. */
  readonly softcap?: number;
}

/** The cache, and where its sequences are. */
export interface DecodeState {
  /** Keys, a state [S, Tmax, K·E]. */
  readonly cacheK: Value;
  /** Values, a state [S, Tmax, K·E]. */
  readonly cacheV: Value;
  /** Position of every sequence, u32 [S], or of all, u32 [1]. Behind the end of the cache its last entry is replaced. */
  readonly position: Value;
  /** Added to the scores by distance, [2·Tmax − 1, H]; row Tmax − 1 + t − position is for the key at t. */
  readonly bias?: Value | undefined;
}

/** What {@linkcode attentionDecode} reads. */
export interface AttentionDecodeInputs extends DecodeState {
  /** Queries [S, H·E]. */
  readonly q: Value;
  /** Keys of the new position [S, K·E]. */
  readonly k: Value;
  /** Values of the new position [S, K·E]. */
  readonly v: Value;
}

/**
 * Check what attention over caches is told of its heads.
 *
 * @throws {RangeError} if K does not divide H, the window is not a positive integer, or softcap is not positive.
 */
export function checkHeads(
  { H, K, window, softcap }: Pick<AttentionDecodeSizes, "H" | "K" | "window" | "softcap">,
): void {
  if (H % K !== 0) throw new RangeError(`Cannot group ${H} query heads over ${K} key heads: K must divide H`);
  if (window !== undefined && !(Number.isInteger(window) && window > 0)) {
    throw new RangeError(`Cannot use ${window} as window: it must be a positive integer`);
  }
  checkSoftcap(softcap);
}

/** The sequences [first, first + count) of a cache in one binding. */
export interface CachePart {
  readonly first: number;
  readonly count: number;
  readonly base: number;
  readonly range: (cache: Value) => Range;
}

/** The parts of a cache that fit into one binding; `together` neighbouring sequences are never cut apart. */
export function cacheParts(cache: Value, { maxBinding, alignment }: Target, together = 1): CachePart[] {
  const [S, Tmax, columns] = cache.shape as [number, number, number];
  const words = Tmax * columns, align = alignment / 4, most = maxBinding / 4;
  const step = S * words <= most ? S : Math.floor((most - align) / words / together) * together;
  if (step < 1) {
    throw new RangeError(
      `Cannot decode ${Tmax} positions of ${columns} words: ${together} of them exceed a binding of ${most} words`,
    );
  }
  return Array.from({ length: Math.ceil(S / step) }, (_, i) => {
    const first = i * step, count = Math.min(step, S - first);
    const offset = Math.floor(first * words / align) * align, end = (first + count) * words;
    return { first, count, base: first * words - offset, range: (value) => ({ value, offset, length: end - offset }) };
  });
}

/** Lanes of a workgroup over a long and a short cache, where lanes meet in workgroup memory. */
const LONG = 256, SHORT = 64;

/** Text and loop iterations of the kernel for this device. */
function decodeKernel(options: Omit<DecodeOptions, "group">, target: Target): Pick<Kernel, "wgsl" | "trips"> {
  const group = laneGroup(target);
  if (group.shuffle) {
    const all = { ...options, group };
    return { wgsl: subgroupShader(all), trips: attentionDecodeTrips(all) };
  }
  const lanes = Math.min(options.Tmax > LONG / 2 ? LONG : SHORT, target.invocations);
  const all = { ...options, group: { lanes, shuffle: false } };
  return { wgsl: attentionDecodeTiles(all), trips: decodeTilesTrips(all) };
}

const decodeOp = defineOp<AttentionDecodeSizes & { readonly scale: number; readonly bias: boolean }, Values, V1>({
  name: "attentionDecode",
  stops: true,
  infer: (_, { S, H, E }) => [{ shape: [S, H * E], dtype: "f32" }],
  kernels({ inputs, outputs: [o], attrs: { S: _, scale, ...sizes } }, target) {
    const [position, cacheK, cacheV, ...rest] = inputs as [Value, Value, Value, ...Value[]];
    const heads = sizes.bias ? rest.slice(0, -1) : rest, bias = sizes.bias ? rest.slice(-1) : [];
    const kernel = decodeKernel({
      ...sizes,
      packed: heads.length === 1,
      position: position.shape[0] === 1 ? "one" : "each",
    }, target);
    return cacheParts(cacheK, target).map(({ first, count, base, range }): Kernel => ({
      name: "attention decode",
      ...kernel,
      read: [...heads, position, ...bias],
      write: [range(cacheK), range(cacheV), o],
      uniform: [first, count, base, floatBits(scale)],
      workgroups: count * sizes.H,
    }));
  },
});

function decode(
  op: string,
  rows: Readonly<Record<string, readonly [Value, number]>>,
  { cacheK, cacheV, position, bias }: DecodeState,
  sizes: AttentionDecodeSizes,
): Value {
  const { S, H, K, E, Tmax, scale } = sizes;
  checkHeads(sizes);
  for (const [name, [value, columns]] of Object.entries(rows)) {
    if (String(value.shape) !== String([S, columns])) {
      throw new ShapeError(op, name, "S columns", value.shape, { S, columns });
    }
  }
  for (const [name, cache] of Object.entries({ cacheK, cacheV })) {
    const columns = K * E;
    if (cache.role !== "state") {
      throw new TypeError(`Cannot apply ${op} as ${name} must be a state: received ${cache.role}`);
    }
    if (String(cache.shape) !== String([S, Tmax, columns])) {
      throw new ShapeError(op, name, "S Tmax K·E", cache.shape, { S, Tmax, "K·E": columns });
    }
  }
  if (position.dtype !== "u32" || position.shape.length !== 1 || ![1, S].includes(position.shape[0]!)) {
    throw new ShapeError(op, "position", "S", position.shape, { S });
  }
  if (bias && String(bias.shape) !== String([2 * Tmax - 1, H])) {
    throw new ShapeError(op, "bias", "2·Tmax-1 H", bias.shape, { Tmax, H });
  }
  const heads = Object.values(rows).map(([value]) => value);
  const inputs = [position, cacheK, cacheV, ...heads, ...bias ? [bias] : []];
  const attrs = { ...sizes, scale: scale ?? 1 / Math.sqrt(E), bias: bias !== undefined };
  return position.graph.add(decodeOp, inputs, attrs)[0];
}

/**
 * Enter k and v in the cache at `position` and return o[S, H·E], the attention of q over positions 0 to `position`.
 * One dispatch. There is no gradient.
 *
 * @throws {ShapeError} if a value has another shape.
 * @throws {TypeError} if a cache is not a state.
 * @throws {RangeError} if K does not divide H, the window is not a positive integer, or softcap is not positive.
 */
export function attentionDecode(inputs: AttentionDecodeInputs, sizes: AttentionDecodeSizes): Value {
  const { q, k, v, ...state } = inputs;
  const { H, K, E } = sizes;
  return decode("attentionDecode", { q: [q, H * E], k: [k, K * E], v: [v, K * E] }, state, sizes);
}

/**
 * {@linkcode attentionDecode} of qkv[S, (H + 2·K)·E], whose columns are the queries, the keys and the values.
 *
 * @throws {ShapeError} if a value has another shape.
 * @throws {TypeError} if a cache is not a state.
 * @throws {RangeError} if K does not divide H, the window is not a positive integer, or softcap is not positive.
 */
export function attentionDecodePacked(
  { qkv, ...state }: DecodeState & { readonly qkv: Value },
  sizes: AttentionDecodeSizes,
): Value {
  const { H, K, E } = sizes;
  return decode("attentionDecodePacked", { qkv: [qkv, (H + 2 * K) * E] }, state, sizes);
}

/** Sizes of {@linkcode attentionCached}. */
export interface AttentionCachedSizes extends Pick<AttentionDecodeSizes, "H" | "K" | "E" | "Tmax" | "scale"> {
  /** Sequences of the cache. */
  readonly S: number;
  /** Rows of q that see each of them. */
  readonly readers: number;
}

/** What {@linkcode attentionCached} reads. */
export interface AttentionCachedInputs {
  /** Queries [S·readers, H·E]. */
  readonly q: Value;
  /** Keys [S, Tmax, K·E]. */
  readonly cacheK: Value;
  /** Values [S, Tmax, K·E]. */
  readonly cacheV: Value;
  /** How many positions of each sequence there are, u32 [S], at least one. */
  readonly lengths: Value;
}

const cachedOp = defineOp<AttentionCachedSizes & { readonly scale: number }, V4, V1>({
  name: "attentionCached",
  stops: true,
  infer: ([q]) => [q],
  kernels({ inputs: [q, cacheK, cacheV, lengths], outputs: [o], attrs }, target) {
    const { S: _, readers, scale, ...sizes } = attrs;
    const kernel = decodeKernel({ ...sizes, readers, packed: false, position: "each" }, target);
    return cacheParts(cacheK, target).map(({ first, count, base, range }): Kernel => ({
      name: "attention cached",
      ...kernel,
      read: [q, lengths, range(cacheK), range(cacheV)],
      write: [o],
      uniform: [first * readers, count * readers, base, floatBits(scale)],
      workgroups: count * readers * sizes.H,
    }));
  },
});

/**
 * o[S·readers, H·E]: every row of q sees all positions of its sequence of the cache, which stays as it is. One dispatch,
 * for few rows a sequence. There is no gradient.
 *
 * @throws {ShapeError} if a value has another shape.
 * @throws {RangeError} if K does not divide H.
 */
export function attentionCached(
  { q, cacheK, cacheV, lengths }: AttentionCachedInputs,
  sizes: AttentionCachedSizes,
): Value {
  const { S, readers, H, K, E, Tmax, scale } = sizes;
  checkHeads(sizes);
  const shapes = { q: [S * readers, H * E], cacheK: [S, Tmax, K * E], cacheV: [S, Tmax, K * E], lengths: [S] };
  for (const [name, value] of Object.entries({ q, cacheK, cacheV, lengths })) {
    const wanted = shapes[name as keyof typeof shapes];
    if (String(value.shape) === String(wanted)) continue;
    throw new ShapeError("attentionCached", name, wanted.join(" "), value.shape);
  }
  return q.graph.add(cachedOp, [q, cacheK, cacheV, lengths], { ...sizes, scale: scale ?? 1 / Math.sqrt(E) })[0];
}

const advanceOp = defineOp<{ readonly by: number }, V1, V0>({
  name: "advance",
  infer: () => [],
  kernels: ({ inputs: [position], attrs: { by } }) => [{
    name: "advance",
    wgsl: advanceShader(by),
    read: [],
    write: [position],
    uniform: [size(position.shape)],
    workgroups: Math.ceil(size(position.shape) / 64),
    trips: 0,
  }],
});

/**
 * Add `by` to every entry of position u32 [S], in place: the last node of a decoding program.
 *
 * @throws {TypeError} if the position is not a state of u32.
 */
export function advance(position: Value, by = 1): void {
  if (position.role !== "state" || position.dtype !== "u32") {
    throw new TypeError(`Cannot advance "${position.name}": it is ${position.role} ${position.dtype}, not state u32`);
  }
  position.graph.add(advanceOp, [position], { by });
}
