// Blocks of memory that live for a while, and the same as columns of numbers for what looks at them often.

/** Memory that is needed from one time to another, both included. */
export interface Block {
  /** A multiple of the alignment. */
  readonly bytes: number;
  readonly from: number;
  readonly to: number;
  /** Blocks that must not lie in the same buffer. */
  readonly apart: ReadonlySet<number>;
}

/** What a buffer may have, in bytes. */
export interface Capacity {
  readonly limit: number;
  /** Bytes that cost nothing. */
  readonly free: number;
}

/** Blocks by column. Times are shortened: only those are left at which most lives, as no sum is larger at another. */
export interface Columns {
  readonly count: number;
  readonly bytes: Float64Array;
  readonly from: Int32Array;
  readonly to: Int32Array;
  readonly apart: readonly Int32Array[];
  /** Times that are left. */
  readonly times: number;
}

/** The columns of `blocks`. */
export function columnsOf(blocks: readonly Block[]): Columns {
  const times = shortened(blocks);
  return {
    count: blocks.length,
    bytes: Float64Array.from(blocks, ({ bytes }) => bytes),
    from: Int32Array.from(blocks, ({ from }) => times[from]!),
    to: Int32Array.from(blocks, ({ to }) => times[to + 1]! - 1),
    apart: blocks.map(({ apart }) => Int32Array.from(apart)),
    times: times.at(-1) ?? 0,
  };
}

/**
 * For every time how many before it are left. One is left where a block dies and one was born since the last that is
 * left: what lives at any other lives at one of these too, and so does every block.
 */
function shortened(blocks: readonly Block[]): Int32Array {
  const end = blocks.reduce((end, { to }) => Math.max(end, to + 1), 0);
  const births = new Int32Array(end), deaths = new Int32Array(end);
  for (const { from, to } of blocks) {
    births[from]!++;
    deaths[to]!++;
  }
  const before = new Int32Array(end + 1);
  let fresh = false;
  for (let t = 0; t < end; t++) {
    fresh ||= births[t]! > 0;
    const left = fresh && deaths[t]! > 0;
    before[t + 1] = before[t]! + (left ? 1 : 0);
    if (left) fresh = false;
  }
  return before;
}

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
