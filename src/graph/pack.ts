// Packing of blocks that live for a while: offsets inside few buffers (Pisarchyk & Lee, arXiv:2001.03288).
//
// Blocks are placed one by one, each in the smallest gap that is free while it lives, where it makes the buffers grow
// least. Which order is best differs from program to program, so several are tried and the smallest result is taken.
// Where that is far from the least memory, which block lies in which buffer is improved first (anneal.ts).
import { anneal } from "./anneal.ts";
import { randomKey, uniform } from "../core/random.ts";

/** Memory that is needed from one time to another, both included. */
export interface Block {
  /** A multiple of the alignment. */
  readonly bytes: number;
  readonly from: number;
  readonly to: number;
  /** Blocks that must not lie in the same buffer. */
  readonly apart: ReadonlySet<number>;
}

/** Where a block lies. */
export interface Spot {
  readonly buffer: number;
  /** Bytes from the start of the buffer. */
  readonly offset: number;
}

/** Blocks in buffers. */
export interface Packing {
  readonly spots: readonly Spot[];
  /** Bytes used of each buffer. */
  readonly used: readonly number[];
  /** Bytes by which the buffers exceed those that existed. */
  readonly added: number;
}

/** What there is to pack into. */
export interface PackOptions {
  /** Bytes of buffers that exist: filling them costs nothing, and they cannot grow. */
  readonly existing: readonly number[];
  /** Bytes of the largest new buffer. */
  readonly maxBuffer: number;
}

interface Bin {
  /** Bytes that it may have. */
  readonly limit: number;
  /** Bytes that cost nothing. */
  readonly free: number;
  used: number;
  /** Blocks in it, by offset. */
  readonly placed: number[];
}

/** Pack the blocks; the same blocks give the same packing. */
export function pack(blocks: readonly Block[], options: PackOptions): Packing {
  const least = mostAlive(blocks) - sum(options.existing);
  let best: Packing | undefined;
  for (const attempt of attempts(blocks)) {
    const packing = packInOrder(blocks, attempt, options);
    const gain = best && (best.added - packing.added || sum(best.used) - sum(packing.used));
    if (gain === undefined || gain > 0) best = packing;
    if (best!.added <= Math.max(0, GOOD * least)) return best!;
  }
  if (!best || best.added <= Math.max(0, FAIR * least)) return best!;
  const first = best;
  for (let round = 0; round < ROUNDS && best.added > FAIR * least; round++) {
    const buffers = anneal(blocks, first.spots.map(({ buffer }) => buffer), {
      capacities: first.used.map((_, i) => capacity(options, i)),
      moves: Math.min(MOVES_A_BLOCK * blocks.length, MOST_MOVES),
      round,
    });
    for (const { order } of attempts(blocks, FINAL)) {
      const packing = packInOrder(blocks, { order, spread: 1, buffers }, options);
      if (packing.added < best.added) best = packing;
    }
    if (best === first) break;
  }
  return best;
}

const capacity = ({ existing, maxBuffer }: PackOptions, buffer: number) => ({
  limit: existing[buffer] ?? maxBuffer,
  free: existing[buffer] ?? 0,
});

/** Largest sum of the bytes that are alive at one time. */
export function mostAlive(blocks: readonly Pick<Block, "bytes" | "from" | "to">[]): number {
  const change: number[] = [];
  for (const { bytes, from, to } of blocks) {
    change[from] = (change[from] ?? 0) + bytes;
    change[to + 1] = (change[to + 1] ?? 0) - bytes;
  }
  let alive = 0, most = 0;
  for (const bytes of change) most = Math.max(most, alive += bytes ?? 0);
  return most;
}

const sum = (list: readonly number[]) => list.reduce((a, b) => a + b, 0);

/** Nothing better is looked for below this multiple of the least memory. */
const GOOD = 1.02;

/** The buffers of blocks are improved above this multiple. */
const FAIR = 1.1;

/** Rounds of that, and moves of each: so many a block, up to a most. */
const ROUNDS = 2, MOVES_A_BLOCK = 100, MOST_MOVES = 20000;

/** Comparisons of two blocks that all attempts may cost: some tens of milliseconds. */
const WORK = 4e6;

/** The same where the buffer of every block is decided. */
const FINAL = 5e5;

interface Attempt {
  readonly order: readonly number[];
  /** Buffers that are opened before one of them grows by a whole block. */
  readonly spread: number;
  /** The buffer of every block, where that is decided. */
  readonly buffers?: readonly number[];
}

/** What may be placed first: what is large, what lives long, what is born late, what dies late. */
const KEYS: readonly ((block: Block) => number)[] = [
  ({ bytes }) => bytes,
  ({ bytes, from, to }) => bytes * (to - from + 1),
  ({ from, to }) => to - from,
  ({ from }) => -from,
  ({ to }) => to,
];

/** Every key with one and with two buffers from the start; then the sizes with some noise, as long as work is left. */
function* attempts(blocks: readonly Block[], work = WORK): Generator<Attempt> {
  const by = (keys: readonly number[]) => [...blocks.keys()].sort((a, b) => keys[b]! - keys[a]! || a - b);
  for (const key of KEYS) {
    const order = by(blocks.map(key));
    for (const spread of [1, 2]) yield { order, spread };
  }
  const key = randomKey(0, "pack");
  const noisy = Math.min(40, work / blocks.length ** 2);
  for (let n = 0; n < noisy; n++) {
    const order = by(blocks.map(({ bytes }, i) => bytes * 2 ** uniform(key, n * blocks.length + i)));
    yield { order, spread: 1 + n % 2 };
  }
}

function packInOrder(
  blocks: readonly Block[],
  { order, spread, buffers }: Attempt,
  options: PackOptions,
): Packing {
  const bins: Bin[] = [];
  const open = () => bins.push({ ...capacity(options, bins.length), used: 0, placed: [] });
  const first = Math.max(options.existing.length, ...(buffers ?? []).map((buffer) => buffer + 1));
  while (bins.length < first) open();
  const spots: Spot[] = [];
  const offsets: number[] = [];
  for (const index of order) {
    const block = blocks[index]!;
    let best: { bin: number; offset: number; grown: number; slack: number } | undefined;
    for (const [i, bin] of bins.entries()) {
      if (buffers ? buffers[index] !== i : bin.placed.some((other) => block.apart.has(other))) continue;
      const { offset, slack } = gap(block, bin, blocks, offsets);
      const end = offset + block.bytes;
      if (end > bin.limit) continue;
      const grown = Math.max(0, end - Math.max(bin.used, bin.free));
      if (!best || grown < best.grown || (grown === best.grown && slack < best.slack)) {
        best = { bin: i, offset, grown, slack };
      }
    }
    if (!best || (best.grown === block.bytes && bins.length < spread)) {
      open();
      best = { bin: bins.length - 1, offset: 0, grown: block.bytes, slack: 0 };
    }
    const bin = bins[best.bin]!;
    spots[index] = { buffer: best.bin, offset: best.offset };
    offsets[index] = best.offset;
    bin.used = Math.max(bin.used, best.offset + block.bytes);
    const at = bin.placed.findIndex((other) => offsets[other]! > best.offset);
    bin.placed.splice(at < 0 ? bin.placed.length : at, 0, index);
  }
  const used = bins.map((bin) => bin.used);
  return { spots, used, added: sum(bins.map(({ free, used }) => Math.max(0, used - free))) };
}

/** The smallest gap of a bin that is free while the block lives, or the end of what lives with it. */
function gap(
  { bytes, from, to }: Block,
  { placed }: Bin,
  blocks: readonly Block[],
  offsets: readonly number[],
): { readonly offset: number; readonly slack: number } {
  let end = 0, offset = -1, slack = Infinity;
  for (const other of placed) {
    const { bytes: size, from: born, to: dies } = blocks[other]!;
    if (dies < from || to < born) continue;
    const room = offsets[other]! - end;
    if (room >= bytes && room - bytes < slack) [offset, slack] = [end, room - bytes];
    end = Math.max(end, offsets[other]! + size);
  }
  return offset < 0 ? { offset: end, slack: Infinity } : { offset, slack };
}
