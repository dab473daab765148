// A better choice of the buffer of every block, by simulated annealing (Kirkpatrick et al., Science 220, 1983).
//
// The cost of a choice is what its buffers must have at least: Σ_b max_t (bytes alive in b at t), beyond what exists. A
// move takes one block, or all blocks of one kind that are in one buffer, to another buffer; what must not lie beside
// them there goes back, and so on (a Kempe chain), so that every choice obeys the rule. The number of moves is fixed and
// the numbers are seeded: the same blocks give the same choice.
import { randomKey, uniform } from "../core/random.ts";
import type { Block } from "./pack.ts";

/** What a buffer may have, in bytes. */
export interface Capacity {
  readonly limit: number;
  /** Bytes that cost nothing. */
  readonly free: number;
}

/** Options of {@linkcode anneal}. */
export interface AnnealOptions {
  readonly capacities: readonly Capacity[];
  readonly moves: number;
  /** Which random numbers to take. */
  readonly round: number;
}

/** Probability of a move that costs as much as the temperature is 1/e; it falls between these shares of the cost. */
const HOT = 0.005, COLD = 0.0001;

/** Blocks that one move of a block, and of a kind, takes along at most. */
const CHAIN = 12, KIND_CHAIN = 300;

/** The buffer of every block, starting from `start`, which obeys the rule. */
export function anneal(
  blocks: readonly Block[],
  start: readonly number[],
  { capacities, moves, round }: AnnealOptions,
): number[] {
  const steps = Math.max(...blocks.map(({ to }) => to)) + 1, buffers = capacities.length;
  const at = Int32Array.from(start);
  const apart = blocks.map((block) => [...block.apart]);
  const alive = capacities.map(() => new Float64Array(steps));
  const near = blocks.map(() => new Int32Array(buffers)); // blocks in each buffer that must lie apart
  const add = (i: number, buffer: number, sign: 1 | -1) => {
    const { bytes, from, to } = blocks[i]!, load = alive[buffer]!;
    for (let t = from; t <= to; t++) load[t]! += sign * bytes;
    for (const other of apart[i]!) near[other]![buffer]! += sign;
  };
  blocks.forEach((_, i) => add(i, at[i]!, 1));
  const costOf = (buffer: number) => {
    const { limit, free } = capacities[buffer]!;
    const most = highest(alive[buffer]!);
    return most > limit ? Infinity : Math.max(0, most - free);
  };
  const costs = capacities.map((_, buffer) => costOf(buffer));
  let cost = costs.reduce((a, b) => a + b, 0), least = cost;
  const best = at.slice();
  const kinds = kindsOf(blocks), ends = runningSum(blocks.map(({ bytes }) => Math.sqrt(bytes)));
  const hot = HOT * cost, key = randomKey(0, "anneal", round);
  let drawn = 0;
  const random = () => uniform(key, drawn++);

  for (let n = 0; n < moves; n++) {
    const block = find(ends, random() * ends.at(-1)!), here = at[block]!, there = Math.floor(random() * buffers);
    const whole = random() < 0.5;
    if (here === there) continue;
    const moved = new Set(whole ? kinds[block]!.filter((i) => at[i] === here) : [block]);
    const most = whole ? KIND_CHAIN : CHAIN;
    const target = new Map<number, number>();
    for (const i of moved) target.set(i, there);
    for (const i of moved) { // grows while it is walked
      const to = target.get(i)!;
      if (near[i]![to] === 0) continue;
      for (const other of apart[i]!) {
        if (at[other] !== to || moved.has(other)) continue;
        moved.add(other);
        target.set(other, to === there ? here : there);
      }
      if (moved.size > most) break;
    }
    if (moved.size > most) continue;
    const swap = () => {
      for (const i of moved) {
        add(i, at[i]!, -1);
        at[i] = here + there - at[i]!;
        add(i, at[i]!, 1);
      }
    };
    swap();
    const a = costOf(here), b = costOf(there), change = a + b - costs[here]! - costs[there]!;
    if (change > 0 && random() >= Math.exp(-change / (hot * (COLD / HOT) ** (n / moves)))) {
      swap();
      continue;
    }
    [costs[here], costs[there]] = [a, b];
    cost += change;
    if (cost < least) {
      least = cost;
      best.set(at);
    }
  }
  return [...best];
}

/** For each block those of the same kind: as large, as long-lived, apart from as many, as in layers that are alike. */
function kindsOf(blocks: readonly Block[]): readonly (readonly number[])[] {
  const name = ({ bytes, from, to, apart }: Block) => `${bytes},${to - from},${apart.size}`;
  const kinds = Map.groupBy(blocks.keys(), (i) => name(blocks[i]!));
  return blocks.map((block) => kinds.get(name(block))!);
}

function highest(list: Float64Array): number {
  let most = 0;
  for (let i = 0; i < list.length; i++) if (list[i]! > most) most = list[i]!;
  return most;
}

function runningSum(list: readonly number[]): number[] {
  let sum = 0;
  return list.map((n) => sum += n);
}

/** The first place of a rising list that exceeds `x`. */
function find(list: readonly number[], x: number): number {
  let low = 0, high = list.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle]! > x) high = middle;
    else low = middle + 1;
  }
  return low;
}
