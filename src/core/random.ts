// Counter-based random numbers: a number is a function of (key, counter), never of how many were drawn before, so a
// resumed run has nothing to restore and nothing to skip. Only u32 arithmetic is used, so a shader gets the same bits:
//
//   pcg(x)          = PCG-RXS-M-XS 32/32 (Jarzynski & Olano, "Hash Functions for GPU Rendering", JCGT 9(3), 2020)
//   random(key, c)  = pcg(pcg(c ^ key[0]) + key[1])
//
// pcg is a bijection of u32, so two streams could be one another's reordering under a 32-bit key; two words prevent it.

/** The two u32 words that name a stream of random numbers. */
export type RandomKey = readonly [number, number];

const WORDS = 2 ** 32;

/** One round of PCG: a bijection of the 32-bit unsigned integers that scatters its argument. */
export function pcg(x: number): number {
  const state = (Math.imul(x, 747796405) + 2891336453) >>> 0;
  const word = Math.imul((state >>> ((state >>> 28) + 4)) ^ state, 277803737) >>> 0;
  return ((word >>> 22) ^ word) >>> 0;
}

/**
 * The key of a stream, such as `randomKey(seed, "dropout", step, layer)`. Order matters, and a number differs from its
 * text.
 *
 * @param seed The seed of the run, an integer in [0, 2^53).
 * @param path What the stream is for: words and integers in [0, 2^53).
 * @throws {RangeError} where a number is not such an integer.
 */
export function randomKey(seed: number, ...path: readonly (number | string)[]): RandomKey {
  const words = [seed, ...path].flatMap(toWords);
  return [chain(0x9e3779b9, words), chain(0x7f4a7c15, words)];
}

/** Random number `counter` of a stream, an integer in [0, 2^32). */
export function random([a, b]: RandomKey, counter: number): number {
  return pcg((pcg((counter ^ a) >>> 0) + b) >>> 0);
}

/** Random number in [0, 1) with 24 bits, so that f32 holds it exactly. */
export function uniform(key: RandomKey, counter: number): number {
  return (random(key, counter) >>> 8) / 2 ** 24;
}

/** Random number of the standard normal distribution (Box and Muller, from the draws 2c and 2c + 1 of the stream). */
export function normal(key: RandomKey, counter: number): number {
  const radius = Math.sqrt(-2 * Math.log((random(key, 2 * counter) + 0.5) / WORDS));
  return radius * Math.cos(2 * Math.PI * random(key, 2 * counter + 1) / WORDS);
}

/** Random integer in [0, n); its bias is below n / 2^32. */
export function below(key: RandomKey, counter: number, n: number): number {
  return Math.floor(random(key, counter) / WORDS * n);
}

/** The integers 0 … n - 1 in random order (Fisher and Yates). */
export function permutation(key: RandomKey, n: number): Uint32Array {
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const j = below(key, i, i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/** A tag and the two halves of a number; a tag, the length and the UTF-16 units of a text. */
function toWords(part: number | string): number[] {
  if (typeof part === "string") {
    return [
      1,
      part.length,
      ...Array.from({ length: part.length }, (_, i) => part.charCodeAt(i)),
    ];
  }
  if (!Number.isSafeInteger(part) || part < 0) {
    throw new RangeError(`Cannot make a random key as its numbers must be integers in [0, 2^53): received ${part}`);
  }
  return [0, part >>> 0, Math.floor(part / WORDS)];
}

function chain(start: number, words: readonly number[]): number {
  return words.reduce((h, word) => pcg((pcg(h) + word) >>> 0), start);
}
