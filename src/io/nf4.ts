// NF4 with double quantization (QLoRA, arXiv:2305.14314), number for number as bitsandbytes stores it.
//
//   w[i]      = LEVELS[code[i]] · absmax[i / 64]          codes of 4 bits, two a byte, the first in the high half
//   absmax[b] = MAP[c[b]] · nested[b / 256] + offset      c of 8 bits, offset = mean of the exact absmax
//
// LEVELS are quantiles of the normal distribution, MAP is the "dynamic" map: 7 decades of 1, 2, 4 … 64 steps and a sign.

/** Elements that share one absmax. */
export const BLOCK = 64;

/** Blocks that share one nested scale. */
export const NESTED_BLOCK = 256;

/** The 16 values of a code. */
export const LEVELS: readonly number[] = [
  ...[-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453],
  ...[-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0],
  ...[0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224],
  ...[0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1],
];

/** The 256 values of a code of absmax: ±10^(i - 6) · middles of [0.1, 1] cut into 2^i parts, 0 and 1, in f32. */
export const MAP: Float32Array<ArrayBuffer> = dynamicMap();

/** A tensor in NF4. */
export interface Nf4 {
  /** Two codes a byte, the first element in the high four bits. */
  readonly codes: Uint8Array<ArrayBuffer>;
  /** One code a block. */
  readonly absmax: Uint8Array<ArrayBuffer>;
  /** One scale for 256 blocks. */
  readonly nested: Float32Array<ArrayBuffer>;
  readonly offset: number;
}

/** The largest magnitude of every block. */
export function blockMaxima(values: Float32Array): Float32Array<ArrayBuffer> {
  return maxima(values, BLOCK);
}

/** Values in NF4, each rounded to the nearest level. */
export function quantizeNf4(values: Float32Array): Nf4 {
  const exact = blockMaxima(values);
  const codes = new Uint8Array(Math.ceil(values.length / 2));
  for (let i = 0; i < values.length; i++) {
    const most = exact[Math.floor(i / BLOCK)]!;
    const code = nearest(LEVEL_MIDDLES, most === 0 ? 0 : Math.fround(values[i]! / most));
    codes[i >> 1]! |= i % 2 === 0 ? code << 4 : code;
  }
  return { codes, ...quantizeMaxima(exact) };
}

/** The second quantization, of the maxima themselves. */
export function quantizeMaxima(exact: Float32Array): Pick<Nf4, "absmax" | "nested" | "offset"> {
  const offset = Math.fround(exact.reduce((sum, x) => sum + x, 0) / exact.length);
  const rest = exact.map((x) => x - offset);
  const nested = maxima(rest, NESTED_BLOCK);
  const absmax = Uint8Array.from(rest, (x, b) => {
    const most = nested[Math.floor(b / NESTED_BLOCK)]!;
    return nearest(MAP_MIDDLES, most === 0 ? 0 : Math.fround(x / most));
  });
  return { absmax, nested, offset };
}

/** The absmax of every block in f32. */
export function nf4Maxima({ absmax, nested, offset }: Omit<Nf4, "codes">): Float32Array<ArrayBuffer> {
  return Float32Array.from(absmax, (c, b) => Math.fround(MAP[c]! * nested[Math.floor(b / NESTED_BLOCK)]!) + offset);
}

/** The first `count` values. */
export function dequantizeNf4(nf4: Nf4, count: number): Float32Array<ArrayBuffer> {
  const scales = nf4Maxima(nf4);
  return Float32Array.from({ length: count }, (_, i) => {
    const byte = nf4.codes[i >> 1]!;
    return LEVELS[i % 2 === 0 ? byte >> 4 : byte & 15]! * scales[Math.floor(i / BLOCK)]!;
  });
}

function maxima(values: Float32Array, block: number): Float32Array<ArrayBuffer> {
  const most = new Float32Array(Math.ceil(values.length / block));
  for (let i = 0; i < values.length; i++) {
    const b = Math.floor(i / block);
    most[b] = Math.max(most[b]!, Math.abs(values[i]!));
  }
  return most;
}

const LEVEL_MIDDLES = middles(LEVELS), MAP_MIDDLES = middles(MAP);

function middles(sorted: ArrayLike<number>): number[] {
  return Array.from({ length: sorted.length - 1 }, (_, i) => (sorted[i]! + sorted[i + 1]!) / 2);
}

/** How many of the sorted `borders` lie below x. */
function nearest(borders: readonly number[], x: number): number {
  let low = 0, high = borders.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (borders[middle]! < x) low = middle + 1;
    else high = middle;
  }
  return low;
}

function dynamicMap(): Float32Array<ArrayBuffer> {
  const { fround } = Math;
  const values = [0, 1];
  for (let i = 0; i < 7; i++) {
    const parts = 2 ** i, step = fround(fround(1 - fround(0.1)) / parts);
    // torch.linspace counts from both ends.
    const at = (j: number) =>
      j < (parts + 1) / 2 ? fround(fround(0.1) + fround(step * j)) : fround(1 - fround(step * (parts - j)));
    for (let j = 0; j < parts; j++) {
      const value = 10 ** (i - 6) * fround(fround(at(j) + at(j + 1)) / 2);
      values.push(value, -value);
    }
  }
  return Float32Array.from(values).sort();
}
