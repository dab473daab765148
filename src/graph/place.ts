// Offsets inside few buffers for blocks that come one by one (Pisarchyk & Lee, arXiv:2001.03288): each is placed in the
// smallest gap that is free while it lives, where it makes the buffers grow least.
import type { Capacity, Columns } from "./block.ts";

/** Blocks in buffers. */
export interface Placement {
  /** The buffer of every block. */
  readonly buffers: Int32Array;
  /** Bytes from the start of its buffer. */
  readonly offsets: Float64Array;
  /** Bytes used of each buffer. */
  readonly used: readonly number[];
}

/** How blocks are placed whose buffers are open. */
export interface PlaceOptions {
  readonly order: readonly number[];
  /** Buffers that are opened before one of them grows by a whole block. */
  readonly spread: number;
  /** What each buffer may have, for as many as are asked for. */
  readonly capacityOf: (buffer: number) => Capacity;
  /** Buffers from the start. */
  readonly first: number;
}

/** Place all blocks in some buffer. */
export function place(columns: Columns, { order, spread, capacityOf, first }: PlaceOptions): Placement {
  const { count, bytes, apart } = columns;
  const buffers = new Int32Array(count).fill(-1), offsets = new Float64Array(count);
  const used: number[] = [], capacities: Capacity[] = [], placed: number[][] = [], taken: number[] = [];
  const open = () => {
    capacities.push(capacityOf(used.length));
    placed.push([]);
    taken.push(-1);
    return used.push(0) - 1;
  };
  while (used.length < first) open();
  for (const i of order) {
    for (const other of apart[i]!) if (buffers[other]! >= 0) taken[buffers[other]!] = i;
    let buffer = -1, offset = 0, grown = Infinity, slack = Infinity;
    for (let b = 0; b < used.length; b++) {
      if (taken[b] === i) continue;
      const gap = gapFor(i, placed[b]!, columns, offsets);
      const end = gap.offset + bytes[i]!;
      const { limit, free } = capacities[b]!;
      if (end > limit) continue;
      const more = Math.max(0, end - Math.max(used[b]!, free));
      if (more > grown || (more === grown && gap.slack >= slack)) continue;
      [buffer, offset, grown, slack] = [b, gap.offset, more, gap.slack];
    }
    if (buffer < 0 || (grown === bytes[i] && used.length < spread)) [buffer, offset] = [open(), 0];
    buffers[i] = buffer;
    used[buffer] = Math.max(used[buffer]!, offset + bytes[i]!);
    insert(i, offset, placed[buffer]!, offsets);
  }
  return { buffers, offsets, used };
}

/** Place the blocks of one buffer, in their order; `offsets` gets where they lie. Returns the bytes that they use. */
export function stack(columns: Columns, order: readonly number[], offsets: Float64Array): number {
  const placed: number[] = [];
  let used = 0;
  for (const i of order) {
    const { offset } = gapFor(i, placed, columns, offsets);
    used = Math.max(used, offset + columns.bytes[i]!);
    insert(i, offset, placed, offsets);
  }
  return used;
}

/** Keep `placed` in the order of the offsets. */
function insert(i: number, offset: number, placed: number[], offsets: Float64Array): void {
  offsets[i] = offset;
  let at = placed.length;
  while (at > 0 && offsets[placed[at - 1]!]! > offset) at--;
  placed.splice(at, 0, i);
}

/** The smallest gap between the blocks of a buffer that is free while block `i` lives, or the end of what lives with it. */
function gapFor(
  i: number,
  placed: readonly number[],
  { bytes, from, to }: Columns,
  offsets: Float64Array,
): { readonly offset: number; readonly slack: number } {
  const size = bytes[i]!, born = from[i]!, dies = to[i]!;
  let end = 0, offset = -1, slack = Infinity;
  for (let k = 0; k < placed.length; k++) {
    const other = placed[k]!;
    if (to[other]! < born || dies < from[other]!) continue;
    const room = offsets[other]! - end;
    if (room >= size && room - size < slack) [offset, slack] = [end, room - size];
    end = Math.max(end, offsets[other]! + bytes[other]!);
  }
  return offset < 0 ? { offset: end, slack: Infinity } : { offset, slack };
}
