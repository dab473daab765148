// Shapes: one set of letters, matched once, so that the pattern is documentation, check and destructuring at once.
import { ShapeError } from "./errors.ts";

/** Sizes of a row-major, contiguous tensor. */
export type Shape = readonly number[];

/** Formats of frozen matrices that kernels unpack while they read; core/packing.ts has their layout. */
export type PackedDType = "f16" | "bf16" | "int8" | "nf4";

/** Storage type of a tensor. Only frozen weights may be packed. */
export type DType = "f32" | "u32" | PackedDType;

/** Elements that are stored together, and the four-byte words that they take: cuts fall between such segments. */
export interface Segment {
  readonly elements: number;
  readonly words: number;
}

const WORD: Segment = { elements: 1, words: 1 };

/** The segments of every storage type. */
export const SEGMENTS: Readonly<Record<DType, Segment>> = {
  f32: WORD,
  u32: WORD,
  f16: { elements: 2, words: 1 },
  bf16: { elements: 2, words: 1 },
  int8: { elements: 256, words: 68 },
  nf4: { elements: 1024, words: 136 },
};

/** Shape and storage type. */
export interface TensorType {
  /** Sizes, outermost first. */
  readonly shape: Shape;
  /** Storage type. */
  readonly dtype: DType;
}

type Words<S extends string> = S extends `${infer Head} ${infer Tail}` ? Head | Words<Tail> : S;

/**
 * Match shapes against patterns such as `"N D"` and return the size of every letter.
 * A letter seen twice must have the same size both times.
 *
 * @throws {ShapeError} naming the first value that does not match.
 */
export function dims<const P extends Record<string, string>>(
  op: string,
  patterns: P,
  values: { [K in keyof P]: { readonly shape: Shape } },
): { [L in Words<P[keyof P]>]: number } {
  const sizes: Record<string, number> = {};
  for (const name of Object.keys(patterns)) {
    const letters = patterns[name]!.split(" ");
    const shape = values[name]!.shape;
    const known = { ...sizes };
    const ok = letters.length === shape.length &&
      letters.every((letter, i) => (sizes[letter] ??= shape[i]!) === shape[i]);
    if (!ok) throw new ShapeError(op, name, patterns[name]!, shape, known);
  }
  return sizes as { [L in Words<P[keyof P]>]: number };
}

/** Number of elements. */
export function size(shape: Shape): number {
  return shape.reduce((a, b) => a * b, 1);
}

/** Whether a storage type is one that kernels must unpack. */
export function isPacked(dtype: DType): dtype is PackedDType {
  return dtype !== "f32" && dtype !== "u32";
}

/** Four-byte words of so many elements, whole segments. */
export function wordsOf(dtype: DType, elements: number): number {
  const segment = SEGMENTS[dtype];
  return Math.ceil(elements / segment.elements) * segment.words;
}

/** Number of bytes. */
export function bytes({ shape, dtype }: TensorType): number {
  return 4 * wordsOf(dtype, size(shape));
}
