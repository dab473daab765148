// Which rows of a mixed batch belong to which adapter.
import type { Route } from "./state.ts";

/** The buffer of the mask of one adapter for N rows. */
export function maskName({ prefix }: Route, part: number, N: number): string {
  return `${prefix}route ${part} of ${N}`;
}

/** The mask: rows follow the sequences in order, the same number for each. */
export function maskValues({ names, distinct }: Route, part: number, N: number): Float32Array<ArrayBuffer> {
  const wanted = distinct[part] ?? null;
  return Float32Array.from({ length: N }, (_, n) => names[Math.floor(n * names.length / N)] === wanted ? 1 : 0);
}
