// Products whose operands exceed one binding become several products, halved along the dimension that shrinks the
// operand: batches first, then its stored rows; a low product is set apart. A cut through K or the repetitions adds to
// what the first half left. Several products that share operands are one piece where all of it fits.
import { MOST_PARTS } from "../../shaders/lib/product.ts";
import { bytes, SEGMENTS, wordsOf } from "../core/dims.ts";
import type { Range, Value } from "../graph/graph.ts";
import { MAX_WORKGROUPS, type Target } from "../graph/target.ts";
import type { MatrixRef, ProductCall, ProductPart } from "./product.ts";

/** A product that one dispatch can do: where it lies inside the whole, in rows, columns and summands. */
export interface Piece extends ProductCall {
  readonly mBase: number;
  readonly nBase: number;
  readonly kBase: number;
}

type Axis = "M" | "N" | "K" | "outer" | "inner" | "repeat" | "low";

/** An operand: its stored size and the dimension of its stored rows. */
interface Operand {
  readonly ref: MatrixRef;
  readonly rows: number;
  readonly columns: number;
  readonly axis: Axis;
}

/** Cuts keep to multiples of this many rows where they can, so that tiles and vectors stay aligned. */
const GRAIN = 128;

/** Summands of one dispatch: keeps all loops of an invocation below the loop budget. */
const MAX_SUMMANDS = 60000;

/** The pieces of `call`, in the order in which they must run. Parts are one piece together or pieces of their own. */
export function cut(call: ProductCall, target: Target): Piece[] {
  const { parts = [] } = call;
  const whole: Piece = { ...call, mBase: 0, nBase: 0, kBase: 0 };
  if (parts.length === 0) return halve(whole, target);
  const few = parts.length > 1 && parts.length <= MOST_PARTS;
  if (few && axisToCut(whole, target) === undefined && wholeOperands(call, target)) {
    return [{ ...whole, batch: { outer: call.batch?.outer ?? 1, inner: parts.length } }];
  }
  return parts.flatMap((part) => halve(alone(call, part), target));
}

/** One of several parts as a product of its own. */
function alone({ parts: _, low, ...call }: ProductCall, part: ProductPart): Piece {
  const { M, N, K, a, b, c, bias = 0 } = part;
  return {
    ...call,
    ...{ M, N, K, mBase: 0, nBase: bias, kBase: 0 },
    a: moved(call.a, a),
    b: moved(call.b, b),
    c: moved(call.c, c),
    ...(call.add ? { add: moved(call.add, c) } : {}),
    ...(low && part.low
      ? { low: { ...low, R: part.low.R, a: moved(low.a, part.low.a), b: moved(low.b, part.low.b) } }
      : {}),
  };
}

/** Parts address their operands from the start: each must fit into one binding as a whole. */
function wholeOperands({ a, b, c, bias, low }: ProductCall, { maxBinding }: Target): boolean {
  const values = [a, b, c, low?.a, low?.b].map((ref) => ref?.value);
  return [...values, bias].every((value) => value === undefined || bytes(value) <= maxBinding);
}

function halve(piece: Piece, target: Target): Piece[] {
  const axis = axisToCut(piece, target);
  return axis === undefined ? [piece] : split(piece, axis).flatMap((half) => halve(half, target));
}

function axisToCut(piece: Piece, target: Target): Axis | undefined {
  const { K, repeat = 1, batch: { outer, inner } = { outer: 1, inner: 1 } } = piece;
  if (outer * inner > MAX_WORKGROUPS) return outer > 1 ? "outer" : "inner";
  if (repeat * K > MAX_SUMMANDS) return repeat > 1 ? "repeat" : "K";
  for (const operand of operands(piece)) {
    const { ref } = operand;
    if (fits(ref, operand, piece, target)) continue;
    if (outer > 1 && ref.outer) return "outer";
    if (inner > groupOf(piece) && ref.inner) return "inner";
    if (repeat > 1 && ref.repeat) return "repeat";
    if (operand.rows < 2) {
      throw new RangeError(
        `Cannot cut ${piece.name} as "${ref.value.name}" [${ref.value.shape}] has a row above one binding of ${target.maxBinding} bytes`,
      );
    }
    return operand.axis;
  }
  return undefined;
}

function operands({ M, N, K, a, ta = false, b, tb = false, c, bias, add, low, nBase }: Piece): Operand[] {
  const list: Operand[] = [
    { ref: a, rows: ta ? K : M, columns: ta ? M : K, axis: ta ? "K" : "M" },
    { ref: b, rows: tb ? N : K, columns: tb ? K : N, axis: tb ? "N" : "K" },
    { ref: c, rows: M, columns: N, axis: "M" },
  ];
  if (add) list.push({ ref: add, rows: M, columns: N, axis: "M" });
  if (bias) list.push({ ref: { value: bias, offset: nBase, stride: 1 }, rows: N, columns: 1, axis: "N" });
  if (low) {
    const byColumn = low.tb ?? tb;
    list.push({ ref: low.a, rows: M, columns: low.R, axis: "M" });
    list.push({ ref: low.b, rows: byColumn ? N : low.R, columns: byColumn ? low.R : N, axis: byColumn ? "N" : "low" });
  }
  return list;
}

/** Inner batch entries that share a matrix: cuts fall between such groups. */
function groupOf({ a, b, c }: ProductCall): number {
  return Math.max(a.group ?? 1, b.group ?? 1, c.group ?? 1);
}

/** The elements of `ref` that a product touches: [lo, hi). */
function span({ ref, rows, columns }: Omit<Operand, "axis">, { batch, repeat = 1 }: ProductCall): [number, number] {
  const lo = ref.offset ?? 0;
  const { outer, inner } = batch ?? { outer: 1, inner: 1 };
  const last = lo + (outer - 1) * (ref.outer ?? 0) + Math.floor((inner - 1) / (ref.group ?? 1)) * (ref.inner ?? 0) +
    (repeat - 1) * (ref.repeat ?? 0);
  return [lo, last + (rows - 1) * ref.stride + columns];
}

function fits({ value }: MatrixRef, operand: Operand, piece: ProductCall, { maxBinding, alignment }: Target): boolean {
  if (bytes(value) <= maxBinding) return true;
  const { first, end } = wordsAround(value, span(operand, piece));
  return 4 * (end - first) + alignment <= maxBinding;
}

/** The words of the segments of `value` that hold the elements [lo, hi), and the elements from their start to lo. */
function wordsAround({ dtype }: Value, [lo, hi]: readonly [number, number]): {
  readonly first: number;
  readonly end: number;
  readonly offset: number;
} {
  const { elements, words } = SEGMENTS[dtype];
  return { first: Math.floor(lo / elements) * words, end: wordsOf(dtype, hi), offset: lo % elements };
}

/** What to bind for an operand, the words from there to its first segment, and the elements from there to its first. */
export interface Bound {
  readonly binding: Value | Range;
  readonly base: number;
  readonly offset: number;
}

/** Bind the operand whole where it fits, or else an aligned range around what the piece touches. */
export function bind(operand: Omit<Operand, "axis">, piece: ProductCall, { maxBinding, alignment }: Target): Bound {
  const { ref: { value, offset = 0 } } = operand;
  if (bytes(value) <= maxBinding) return { binding: value, base: 0, offset };
  const around = wordsAround(value, span(operand, piece));
  const words = alignment / 4;
  const first = Math.floor(around.first / words) * words;
  const binding = { value, offset: first, length: around.end - first };
  const { elements, words: step } = SEGMENTS[value.dtype];
  const base = around.first - first;
  // Where segments are plain words, or pairs of halves, what lies before the first is counted in elements.
  return step === 1
    ? { binding, base: 0, offset: around.offset + base * elements }
    : { binding, base, offset: around.offset };
}

function moved(ref: MatrixRef, words: number): MatrixRef {
  return { ...ref, offset: (ref.offset ?? 0) + words };
}

/** The middle of `n`, at a multiple of the grain, of four, or anywhere: whatever is left of each half. */
function middle(n: number, grain = n > GRAIN ? GRAIN : n > 4 ? 4 : 1): number {
  return Math.ceil(n / 2 / grain) * grain;
}

function withoutLow({ low: _, ...piece }: Piece): Piece {
  return piece;
}

function split(piece: Piece, axis: Axis): [Piece, Piece] {
  const { a, b, c, add, low, ta = false, tb = false, batch = { outer: 1, inner: 1 } } = piece;
  if (axis === "M") {
    const m = middle(piece.M);
    const second = {
      a: moved(a, ta ? m : m * a.stride),
      c: moved(c, m * c.stride),
      ...(add ? { add: moved(add, m * add.stride) } : {}),
      ...(low ? { low: { ...low, a: moved(low.a, m * low.a.stride) } } : {}),
    };
    return [{ ...piece, M: m }, { ...piece, ...second, M: piece.M - m, mBase: piece.mBase + m }];
  }
  if (axis === "N") {
    const n = middle(piece.N);
    const second = {
      b: moved(b, tb ? n * b.stride : n),
      c: moved(c, n),
      ...(add ? { add: moved(add, n) } : {}),
      ...(low ? { low: { ...low, b: moved(low.b, low.tb ?? tb ? n * low.b.stride : n) } } : {}),
    };
    return [{ ...piece, N: n }, { ...piece, ...second, N: piece.N - n, nBase: piece.nBase + n }];
  }
  const { bias: _bias, add: _add, low: _low, ...bare } = piece; // the second half adds only its products
  if (axis === "low") {
    const { low: narrow, ...wide } = piece;
    const { a, b, R, alpha } = narrow!;
    const once = piece.shared ? { batch: { ...batch, outer: 1 }, shared: false } : {};
    return [wide, { ...bare, ...once, K: R, a, b, ta: false, tb: false, alpha, kBase: 0, accumulate: true }];
  }
  if (axis === "K") {
    const k = middle(piece.K);
    const second = { a: moved(a, ta ? k * a.stride : k), b: moved(b, tb ? k : k * b.stride) };
    return [{ ...piece, K: k }, { ...bare, ...second, K: piece.K - k, kBase: piece.kBase + k, accumulate: true }];
  }
  if (axis === "repeat") {
    const count = piece.repeat ?? 1;
    const half = middle(count, 1);
    const second = { a: moved(a, half * (a.repeat ?? 0)), b: moved(b, half * (b.repeat ?? 0)) };
    return [{ ...piece, repeat: half }, { ...bare, ...second, repeat: count - half, accumulate: true }];
  }
  const half = axis === "outer" ? middle(batch.outer, 1) : middle(batch.inner, groupOf(piece));
  const move = (ref: MatrixRef) =>
    moved(ref, axis === "outer" ? half * (ref.outer ?? 0) : Math.floor(half / (ref.group ?? 1)) * (ref.inner ?? 0));
  const second = {
    a: move(a),
    b: move(b),
    c: move(c),
    ...(add ? { add: move(add) } : {}),
    ...(low && !piece.shared ? { low: { ...low, a: move(low.a), b: move(low.b) } } : {}),
  };
  const rest = piece.shared ? withoutLow(piece) : piece;
  return [
    { ...piece, batch: { ...batch, [axis]: half } },
    { ...rest, ...second, batch: { ...batch, [axis]: batch[axis] - half } },
  ];
}
