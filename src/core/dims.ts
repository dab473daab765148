// Shapes: one set of letters, matched once, so that the pattern is documentation, check and destructuring at once.
import { ShapeError } from "./errors.ts";

/** Sizes of a row-major, contiguous tensor. */
export type Shape = readonly number[];

/** Storage type of a tensor; every one takes four bytes an element. */
export type DType = "f32" | "u32";

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

/** Number of bytes. */
export function bytes({ shape }: { readonly shape: Shape }): number {
  return 4 * size(shape);
}
