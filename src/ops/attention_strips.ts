// The dispatches of attention on the software driver: one forward, and one each for dq and dA, dk, and dv. Equations in
// shaders/attention_strips.ts.
import {
  stripForward,
  type StripForwardOptions,
  stripKeyGrad,
  stripKeyTrips,
  stripQueryGrad,
  stripTrips,
} from "../../shaders/attention_strips.ts";
import type { StripOptions, StripTile } from "../../shaders/lib/strips.ts";
import type { TensorType } from "../core/dims.ts";
import { floatBits, type Kernel, type Value } from "../graph/graph.ts";
import { LOOP_BUDGET, MAX_WORKGROUPS, type Target } from "../graph/target.ts";
import { scoresPitch } from "./attention_kernels.ts";
import type { AttentionAttrs, AttentionSizes } from "./attention_sizes.ts";
import type { MatrixRef } from "./product.ts";

/** Widest head: a lane keeps its results in registers, and wider ones take seconds to compile. */
const MAX_E = 64;

/** Multiply-adds from which strips are long. Short ones compile in half of the time and are a tenth slower. */
const LARGE = 2 ** 25;

/** The strips of an attention; nothing where products make the scores: wide heads, a bias, operands above one binding. */
export function stripTile(attrs: AttentionAttrs, { kind, subgroup, maxBinding }: Target): StripTile | undefined {
  const { B, T, S, H, K, E, bias, packed } = attrs;
  if (kind !== "software" || subgroup === 0 || bias || E % 4 !== 0 || E > MAX_E || B * H > MAX_WORKGROUPS) return;
  const words = [B * H * S * scoresPitch(T), B * T * (packed ? H + 2 * K : H) * E, B * S * K * E];
  if (words.some((count) => 4 * count > maxBinding)) return;
  const tile = { lanes: subgroup, rows: Math.max(subgroup, B * H * T * S * E >= LARGE ? 32 : 16) };
  return Math.max(stripTrips(tile, E, S), stripKeyTrips(tile, T, H / K)) < LOOP_BUDGET ? tile : undefined;
}

/** What the forward pass keeps: s[B·H, S, C] and L[B·H, C]. */
export function stripTypes({ B, T, S, H }: AttentionSizes): [TensorType, TensorType] {
  const C = scoresPitch(T);
  return [{ shape: [B * H, S, C], dtype: "f32" }, { shape: [B * H, C], dtype: "f32" }];
}

function optionsOf({ E, softcap }: AttentionSizes, tile: StripTile): StripOptions {
  return { tile, E, softcap: softcap !== undefined };
}

/** Rows see this many keys where there is no window. */
const NO_WINDOW = 2 ** 30;

/** The matrices of a kernel by their names there. */
type Operands = Partial<Record<"a" | "b" | "d", MatrixRef>> & { readonly r: MatrixRef };

/** `made`: weights are made of scores. */
function uniformOf(sizes: AttentionSizes, scale: number, { a, b, d, r }: Operands, made = false): number[] {
  const { T, S, H, K, E, causal, window = NO_WINDOW, softcap = 0 } = sizes;
  const matrix = (ref?: MatrixRef) => [ref?.offset ?? 0, ref?.stride ?? 0, ref?.outer ?? 0, ref?.inner ?? 0];
  return [
    ...[T, S, H, H / K, scoresPitch(T), window, floatBits(scale), floatBits(softcap)],
    ...[E, Number(causal), Number(made), 0],
    ...[a, b, d, r].flatMap(matrix),
  ];
}

/** What {@linkcode stripForwardKernel} reads and writes. */
export interface StripForwardCall {
  readonly q: MatrixRef;
  readonly k: MatrixRef;
  readonly v: MatrixRef;
  /** Real keys, u32 [B, S]. */
  readonly mask: Value | undefined;
  readonly o: MatrixRef;
  readonly s: Value;
  readonly L: Value;
}

/** o, s and L. */
export function stripForwardKernel(call: StripForwardCall, sizes: AttentionSizes, tile: StripTile): Kernel {
  const { q, k, v, mask, o, s, L } = call, { B, T, S, H, E, scale } = sizes;
  const how: StripForwardOptions["mask"] = !mask ? "none" : S % 4 === 0 ? "vectors" : "words";
  return {
    name: "attention",
    wgsl: stripForward({ ...optionsOf(sizes, tile), mask: how }),
    read: [q.value, k.value, v.value, ...mask ? [mask] : []],
    write: [o.value, s, L],
    uniform: uniformOf(sizes, scale, { a: q, b: k, d: v, r: o }),
    workgroups: [Math.ceil(T / tile.rows), B * H],
    trips: stripTrips(tile, E, S),
  };
}

/** What {@linkcode stripQueryGradKernel} reads and writes. */
export interface StripQueryCall {
  readonly dO: MatrixRef;
  readonly v: MatrixRef;
  readonly k: MatrixRef;
  /** Laid out as dO. */
  readonly o: Value;
  readonly s: Value;
  readonly L: Value;
  readonly dq: MatrixRef;
  readonly dA: Value;
}

/** dq and dA. */
export function stripQueryGradKernel(call: StripQueryCall, sizes: AttentionSizes, tile: StripTile): Kernel {
  const { dO, v, k, o, s, L, dq, dA } = call, { B, T, S, H, E, scale } = sizes;
  return {
    name: "attention query gradient",
    wgsl: stripQueryGrad(optionsOf(sizes, tile)),
    read: [dO.value, v.value, k.value, o, s, L],
    write: [dq.value, dA],
    uniform: uniformOf(sizes, scale, { a: dO, b: v, d: k, r: dq }),
    workgroups: [Math.ceil(T / tile.rows), B * H],
    trips: stripTrips(tile, E, S),
  };
}

/** What {@linkcode stripKeyGradKernel} reads and writes. */
export interface StripKeyCall {
  readonly of: "key" | "value";
  /** s for the gradient of v, dA for that of k. */
  readonly weights: Value;
  readonly L: Value;
  /** What the weights are multiplied with: dO or q. */
  readonly by: MatrixRef;
  readonly output: MatrixRef;
}

/** dk or dv. */
export function stripKeyGradKernel(call: StripKeyCall, sizes: AttentionSizes, tile: StripTile): Kernel {
  const { of, weights, L, by, output } = call, { B, T, S, H, K, scale } = sizes;
  const made = of === "value";
  return {
    name: `attention ${of} gradient`,
    wgsl: stripKeyGrad(optionsOf(sizes, tile)),
    read: [weights, L, by.value],
    write: [output.value],
    uniform: uniformOf(sizes, made ? 1 : scale, { d: by, r: output }, made),
    workgroups: [Math.ceil(S / tile.rows), B * K],
    trips: stripKeyTrips(tile, T, H / K),
  };
}
