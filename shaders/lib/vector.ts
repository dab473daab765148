// The widest vector that divides a row, so that one text serves every row length.

/** Floats of a vector. */
export type Width = 1 | 2 | 4;

/** The widest vector that `length` is a multiple of. */
export function widthOf(length: number): Width {
  return length % 4 === 0 ? 4 : length % 2 === 0 ? 2 : 1;
}

/** The WGSL type of so many floats. */
export function vectorType(width: Width): string {
  return width === 1 ? "f32" : `vec${width}f`;
}
