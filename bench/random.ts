// Numbers for benchmarks: cheap, and the same for one seed.

/** About normal numbers: sums of four uniform ones, which is enough here. */
export function normals(count: number, seed: number, scale: number): Float32Array<ArrayBuffer> {
  const next = generator(seed);
  const factor = scale * Math.sqrt(3); // a sum of four in [-½, ½) has variance 1/3
  return Float32Array.from({ length: count }, () => factor * (next() + next() + next() + next() - 2));
}

/** Whole numbers in [0, below). */
export function ids(count: number, below: number, seed: number): Uint32Array<ArrayBuffer> {
  const next = generator(seed);
  return Uint32Array.from({ length: count }, () => Math.floor(below * next()));
}

function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** About `count` positions spread over [0, length), with both ends. */
export function spread(length: number, count = 100): number[] {
  if (length <= count) return Array.from({ length }, (_, i) => i);
  return Array.from({ length: count }, (_, i) => Math.floor(i * (length - 1) / (count - 1)));
}
