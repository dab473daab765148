// Packing of blocks that live for a while into few buffers.
//
// Blocks are placed one by one (place.ts). Which order is best differs from program to program, so several are tried and
// the smallest result is taken. Where that is far from the least memory, which block lies in which buffer is improved
// (anneal.ts), and then every buffer takes the order that is best for it.
import { randomKey, uniform } from "../core/random.ts";
import { anneal } from "./anneal.ts";
import { type Block, type Capacity, type Columns, columnsOf, mostAlive } from "./block.ts";
import { place, type Placement, stack } from "./place.ts";

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

/** Nothing better is looked for below this multiple of the least memory. */
const GOOD = 1.02;

/** The buffers of the blocks are improved above this multiple, where it is so many bytes more. */
const FAIR = 1.04, WORTH = 2 ** 16;

/** Rounds of that, moves of each by block and at most, and the most moves times times: some tens of milliseconds. */
const ROUNDS = 3, MOVES_A_BLOCK = 100, MOVES = 20000, STEPS = 2e7;

/** Orders with noise that are tried, of the blocks of one buffer and of all, and comparisons that the latter may cost. */
const NOISY_STACKS = 20, NOISY = 10, COMPARISONS = 4e6;

/** Pack the blocks; the same blocks give the same packing. */
export function pack(blocks: readonly Block[], { existing, maxBuffer }: PackOptions): Packing {
  const columns = columnsOf(blocks);
  const capacityOf = (buffer: number) => ({ limit: existing[buffer] ?? maxBuffer, free: existing[buffer] ?? 0 });
  const addedBy = ({ used }: Placement) => sum(used.map((n, buffer) => Math.max(0, n - capacityOf(buffer).free)));
  const least = Math.max(0, mostAlive(blocks) - sum(existing)), enough = GOOD * least;
  let best: Placement | undefined, added = Infinity;
  const offer = (placement: Placement) => {
    const now = addedBy(placement);
    if (now > added || (now === added && sum(placement.used) >= sum(best!.used))) return;
    [best, added] = [placement, now];
  };
  const attempt = (orders: Iterable<readonly number[]>) => {
    for (const order of orders) {
      for (const spread of [1, 2]) {
        if (added <= enough) return;
        offer(place(columns, { order, spread, capacityOf, first: existing.length }));
      }
    }
  };
  attempt(byKeys(columns));
  if (added <= Math.max(FAIR * least, least + WORTH)) {
    attempt(byNoise(columns, Math.min(NOISY, COMPARISONS / columns.count ** 2)));
  } else {
    const start = best!.buffers, capacities = best!.used.map((_, buffer) => capacityOf(buffer));
    const moves = Math.min(MOVES_A_BLOCK * columns.count, MOVES, STEPS / columns.times);
    for (let round = 0, last = -1; round < ROUNDS && added > enough; round++) {
      const placement = stacked(columns, anneal(columns, start, { capacities, moves, round, enough }), capacities);
      if (!placement) continue;
      offer(placement);
      if (addedBy(placement) === last) break; // twice the same: it is hardly ever beaten
      last = addedBy(placement);
    }
  }
  return {
    spots: blocks.map((_, i) => ({ buffer: best!.buffers[i]!, offset: best!.offsets[i]! })),
    used: best!.used,
    added,
  };
}

const sum = (list: readonly number[]) => list.reduce((a, b) => a + b, 0);

/** What may be placed first: what is large, what lives long, what is born late, what dies late. */
const KEYS: readonly ((columns: Columns, i: number) => number)[] = [
  ({ bytes }, i) => bytes[i]!,
  ({ bytes, from, to }, i) => bytes[i]! * (to[i]! - from[i]! + 1),
  ({ from, to }, i) => to[i]! - from[i]!,
  ({ from }, i) => -from[i]!,
  ({ to }, i) => to[i]!,
];

/** The blocks of `list`, or all, by every key. */
function* byKeys(columns: Columns, list?: readonly number[]): Generator<readonly number[]> {
  for (const key of KEYS) yield sorted(columns, (i) => key(columns, i), list);
}

/** `many` times the blocks of `list`, or all, by sizes with some noise. */
function* byNoise(columns: Columns, many: number, list?: readonly number[]): Generator<readonly number[]> {
  const stream = randomKey(0, "pack"), { count, bytes } = columns;
  for (let n = 0; n < many; n++) yield sorted(columns, (i) => bytes[i]! * 2 ** uniform(stream, n * count + i), list);
}

function sorted(
  { count, bytes }: Columns,
  key: (i: number) => number,
  list: readonly number[] = [...bytes.keys()],
): readonly number[] {
  const keys = new Float64Array(count);
  for (const i of list) keys[i] = key(i);
  return list.toSorted((a, b) => keys[b]! - keys[a]! || a - b);
}

/** What is tried for the blocks of one buffer. */
function* ordersOf(columns: Columns, list: readonly number[]): Generator<readonly number[]> {
  yield* byKeys(columns, list);
  yield* byNoise(columns, NOISY_STACKS, list);
}

/** Blocks in the buffers that were chosen for them, in the best order for each; nothing where one has no room. */
function stacked(columns: Columns, buffers: Int32Array, capacities: readonly Capacity[]): Placement | undefined {
  const offsets = new Float64Array(columns.count), trial = offsets.slice();
  const used = capacities.map(({ limit }, buffer) => {
    const list = [...buffers.keys()].filter((i) => buffers[i] === buffer);
    const least = mostAlive(
      list.map((i) => ({ bytes: columns.bytes[i]!, from: columns.from[i]!, to: columns.to[i]! })),
    );
    let most = Infinity;
    for (const order of ordersOf(columns, list)) {
      const now = stack(columns, order, trial);
      if (now >= most) continue;
      most = now;
      for (const i of list) offsets[i] = trial[i]!;
      if (most === least) break;
    }
    return most > limit ? Infinity : most;
  });
  return used.includes(Infinity) ? undefined : { buffers, offsets, used };
}
