// A better choice of the buffer of every block, by simulated annealing (Kirkpatrick et al., Science 220, 1983).
//
// The cost of a choice is what its buffers must have at least: Σ_b max_t (bytes alive in b at t), beyond what exists.
// Only what lies in a buffer when it is fullest can lower it, so a move takes such a block, mostly with all of its kind
// that are in this buffer, to another one; what must not lie beside them there goes back, and so on (a Kempe chain), so
// that every choice obeys the rule. The number of moves is fixed and the numbers are seeded: the same blocks give the
// same choice.
import { pcg, randomKey } from "../core/random.ts";
import type { Capacity, Columns } from "./block.ts";

/** Options of {@linkcode anneal}. */
export interface AnnealOptions {
  readonly capacities: readonly Capacity[];
  readonly moves: number;
  /** Which random numbers to take. */
  readonly round: number;
  /** A cost that need not be improved. */
  readonly enough: number;
}

/** Probability of a move that costs as much as the temperature is 1/e; it falls between these shares of the cost. */
const HOT = 0.03, COLD = 0.003;

/** Moves with the same temperature. */
const SPELL = 64;

/** Share of the moves that take a kind. */
const WHOLE = 0.9;

/** A move takes at most so many blocks for each that it begins with, and so many more. */
const CHAIN = 4, MORE = 8;

/** The buffer of every block, starting from `start`, which obeys the rule. */
export function anneal(
  columns: Columns,
  start: Int32Array,
  { capacities, moves, round, enough }: AnnealOptions,
): Int32Array {
  const { count, bytes, from, to, apart, times } = columns, buffers = capacities.length;
  const at = start.slice(), best = start.slice();
  if (buffers < 2) return best;
  const kinds = kindsOf(columns), living = livingAt(columns), random = generator(round);
  const loads = capacities.map(() => new Float64Array(times));
  for (let i = 0; i < count; i++) for (let t = from[i]!; t <= to[i]!; t++) loads[at[i]!]![t]! += bytes[i]!;
  const costOf = (buffer: number, most: number): number => {
    const { limit, free } = capacities[buffer]!;
    return most > limit ? Infinity : Math.max(0, most - free);
  };
  const peaks = loads.map(highest), costs = loads.map((load, buffer) => costOf(buffer, load[peaks[buffer]!]!));
  let cost = costs.reduce((a, b) => a + b, 0), least = cost;

  // The blocks of a move: how many of `moved` there are, none where the chain is too long.
  const moved = new Int32Array(count), mark = new Int32Array(count);
  const gather = (begin: Int32Array, here: number, there: number, stamp: number): number => {
    let many = 0;
    for (let k = 0; k < begin.length; k++) {
      if (at[begin[k]!] !== here) continue;
      mark[begin[k]!] = stamp;
      moved[many++] = begin[k]!;
    }
    const most = CHAIN * many + MORE;
    for (let k = 0; k < many; k++) {
      const others = apart[moved[k]!]!, target = here + there - at[moved[k]!]!;
      for (let j = 0; j < others.length; j++) {
        const other = others[j]!;
        if (at[other] !== target || mark[other] === stamp) continue;
        if (many === most) return 0;
        mark[other] = stamp;
        moved[many++] = other;
      }
    }
    return many;
  };

  // What two buffers cost at least after a move: with what they then have when they are fullest now.
  const costAtPeaks = (many: number, here: number, there: number): number => {
    const a = loads[here]!, b = loads[there]!, p = peaks[here]!, q = peaks[there]!;
    let atP = 0, atQ = 0;
    for (let k = 0; k < many; k++) {
      const i = moved[k]!, change = at[i] === here ? bytes[i]! : -bytes[i]!;
      if (from[i]! <= p && p <= to[i]!) atP += change;
      if (from[i]! <= q && q <= to[i]!) atQ += change;
    }
    return costOf(here, Math.max(a[p]! - atP, a[q]! - atQ)) + costOf(there, Math.max(b[p]! + atP, b[q]! + atQ));
  };

  // Take the blocks of a move that are `here` from one load to the other, and the rest back.
  const shift = (many: number, here: number, a: Float64Array, b: Float64Array): void => {
    for (let k = 0; k < many; k++) {
      const i = moved[k]!, end = to[i]!, change = at[i] === here ? bytes[i]! : -bytes[i]!;
      for (let t = from[i]!; t <= end; t++) {
        a[t]! -= change;
        b[t]! += change;
      }
    }
  };

  const hot = HOT * cost;
  let heat = hot;
  for (let n = 0; n < moves && least > enough; n++) {
    if (n % SPELL === 0) heat = hot * (COLD / HOT) ** (n / moves);
    const here = Math.floor(random() * buffers), a = loads[here]!, alive = living[peaks[here]!]!;
    if (a[peaks[here]!] === 0) continue;
    let drawn = Math.floor(random() * alive.length);
    while (at[alive[drawn]!] !== here) drawn = drawn > 0 ? drawn - 1 : alive.length - 1;
    const block = alive[drawn]!, whole = random() < WHOLE;
    const there = (here + 1 + Math.floor(random() * (buffers - 1))) % buffers, b = loads[there]!;
    const many = gather(whole ? kinds[block]! : alive.subarray(drawn, drawn + 1), here, there, n + 1);
    const allowed = costs[here]! + costs[there]! - heat * Math.log(1 - random());
    if (many === 0 || costAtPeaks(many, here, there) > allowed) continue;
    shift(many, here, a, b);
    const peakA = highest(a), peakB = highest(b);
    const costA = costOf(here, a[peakA]!), costB = costOf(there, b[peakB]!);
    if (costA + costB > allowed) {
      shift(many, here, b, a);
      continue;
    }
    for (let k = 0; k < many; k++) at[moved[k]!] = here + there - at[moved[k]!]!;
    cost += costA + costB - costs[here]! - costs[there]!;
    [peaks[here], peaks[there], costs[here], costs[there]] = [peakA, peakB, costA, costB];
    if (cost < least) {
      least = cost;
      best.set(at);
    }
  }
  return best;
}

/** For each block those of the same kind: as large, as long-lived, apart from as many, as in layers that are alike. */
function kindsOf({ count, bytes, from, to, apart }: Columns): readonly Int32Array[] {
  const name = (i: number) => `${bytes[i]},${to[i]! - from[i]!},${apart[i]!.length}`;
  const all = Array.from({ length: count }, (_, i) => i);
  const kinds = new Map([...Map.groupBy(all, name)].map(([name, list]) => [name, Int32Array.from(list)]));
  return all.map((i) => kinds.get(name(i))!);
}

/** The blocks that live at each time. */
function livingAt({ count, from, to, times }: Columns): readonly Int32Array[] {
  const living: number[][] = Array.from({ length: times }, () => []);
  for (let i = 0; i < count; i++) for (let t = from[i]!; t <= to[i]!; t++) living[t]!.push(i);
  return living.map((list) => Int32Array.from(list));
}

/** Where the largest number is. */
function highest(list: Float64Array): number {
  let most = list[0]!, at = 0;
  for (let i = 1; i < list.length; i++) {
    if (list[i]! > most) {
      most = list[i]!;
      at = i;
    }
  }
  return at;
}

/** Random numbers in [0, 1), one after the other. */
function generator(round: number): () => number {
  const [a, b] = randomKey(0, "anneal", round);
  let drawn = a;
  return () => pcg((pcg(drawn = (drawn + 1) >>> 0) + b) >>> 0) / 2 ** 32;
}
