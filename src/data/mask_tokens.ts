// Hiding tokens for masked language modelling (arXiv:1810.04805, section 3.1): of those that are chosen, eight in ten
// become the mask token, one in ten a random token, and one stays. The choice is a function of (seed, epoch, row), so
// every epoch hides other tokens, and a resumed run the same ones.
import { randomKey, uniform } from "../core/random.ts";
import { type Example, IGNORE } from "./labels.ts";

/** Which tokens are hidden. */
export interface MaskRule {
  readonly maskId: number;
  /** Random tokens are below. */
  readonly vocabSize: number;
  /** Tokens that are never hidden. */
  readonly specialIds: ReadonlySet<number>;
  /** Share of the others that is. */
  readonly probability: number;
}

/** What the choice depends on. */
export interface Draw {
  readonly seed: number;
  readonly epoch: number;
  readonly row: number;
}

/** The example with some tokens hidden and those as labels; at least one, so that every row is trained. */
export function maskTokens(example: Example, rule: MaskRule, { seed, epoch, row }: Draw): Example {
  const { maskId, vocabSize, specialIds, probability } = rule;
  const key = randomKey(seed, "mask", epoch, row);
  const at = (i: number, which: number) => uniform(key, 3 * i + which);
  const places = [...example.ids.keys()].filter((i) => !specialIds.has(example.ids[i]!));
  const chosen = places.filter((i) => at(i, 0) < probability);
  if (chosen.length === 0 && places.length > 0) chosen.push(places.reduce((a, b) => at(b, 0) < at(a, 0) ? b : a));
  const ids = example.ids.slice(), labels = new Int32Array(ids.length).fill(IGNORE);
  for (const i of chosen) {
    labels[i] = ids[i]!;
    const u = at(i, 1);
    if (u < 0.8) ids[i] = maskId;
    else if (u < 0.9) ids[i] = Math.floor(at(i, 2) * vocabSize);
  }
  return { ...example, ids, labels };
}
