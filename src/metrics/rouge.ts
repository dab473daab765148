// ROUGE (Lin, 2004) as Google's rouge_score computes it without stemming: lower case, runs of a-z and 0-9 are tokens.
import { type Scores, scores } from "./classification.ts";
import { ngrams, overlap } from "./ngrams.ts";
import { checkPairs, mean } from "./pairs.ts";

/** Scores of one pair, or means over many. */
export interface RougeScores {
  /** Shared words. */
  readonly rouge1: Scores;
  /** Shared pairs of neighbouring words. */
  readonly rouge2: Scores;
  /** Longest common subsequence of the texts. */
  readonly rougeL: Scores;
  /** The same line by line: every line of the reference against all lines of the prediction. */
  readonly rougeLsum: Scores;
}

/** Options of {@linkcode rouge}. */
export interface RougeOptions {
  /** Text to tokens; {@linkcode rougeTokens} by default. */
  readonly tokenize?: (text: string) => string[];
}

/** The tokens of rouge_score. */
export function rougeTokens(text: string): string[] {
  return text.toLowerCase().split(/[^a-z0-9]+/).filter((token) => token !== "");
}

/**
 * Mean ROUGE scores over pairs of texts, 0 to 1.
 *
 * @throws {UsageError} `metrics/length` if the lists are empty or differ in length.
 *
 * @example Usage
 * ```ts
 * import { rouge } from "@graft/graft/metrics";
 *
 * console.log(rouge(["the cat sat"], ["the cat sat down"]).rouge1.recall); // 0.75
 * ```
 */
export function rouge(
  predictions: readonly string[],
  references: readonly string[],
  { tokenize = rougeTokens }: RougeOptions = {},
): RougeScores {
  checkPairs("ROUGE", predictions, references);
  const pairs = predictions.map((text, i) => rougeOfPair(text, references[i]!, tokenize));
  const average = (name: keyof RougeScores): Scores => ({
    precision: mean(pairs.map((pair) => pair[name].precision)),
    recall: mean(pairs.map((pair) => pair[name].recall)),
    f1: mean(pairs.map((pair) => pair[name].f1)),
  });
  return {
    rouge1: average("rouge1"),
    rouge2: average("rouge2"),
    rougeL: average("rougeL"),
    rougeLsum: average("rougeLsum"),
  };
}

function rougeOfPair(prediction: string, reference: string, tokenize: (text: string) => string[]): RougeScores {
  const p = tokenize(prediction), r = tokenize(reference);
  const byLine = (text: string) => text.split("\n").map(tokenize).filter((line) => line.length > 0);
  return {
    rouge1: rougeN(p, r, 1),
    rouge2: rougeN(p, r, 2),
    rougeL: scores(subsequence(r, p).length, p.length, r.length),
    rougeLsum: lineScores(byLine(prediction), byLine(reference)),
  };
}

function rougeN(p: readonly string[], r: readonly string[], n: number): Scores {
  const size = (tokens: readonly string[]) => Math.max(0, tokens.length - n + 1);
  return scores(overlap(ngrams(p, n), ngrams(r, n)), size(p), size(r));
}

// A word counts once for every line of the reference that has it in a common subsequence with some line of the
// prediction, but never more often than it occurs on either side.
function lineScores(prediction: readonly (readonly string[])[], reference: readonly (readonly string[])[]): Scores {
  const left = ngrams(prediction.flat(), 1), right = ngrams(reference.flat(), 1);
  const take = (counts: Map<string, number>, word: string) => counts.set(word, counts.get(word)! - 1);
  let hits = 0;
  for (const line of reference) {
    const union = new Set(prediction.flatMap((other) => subsequence(line, other)));
    for (const i of [...union].sort((a, b) => a - b)) {
      const word = line[i]!;
      if (!(left.get(word)! > 0 && right.get(word)! > 0)) continue;
      take(left, word);
      take(right, word);
      hits++;
    }
  }
  return scores(hits, prediction.flat().length, reference.flat().length);
}

/** Places in `a` of a longest common subsequence of `a` and `b`. */
function subsequence(a: readonly string[], b: readonly string[]): number[] {
  const width = b.length + 1;
  const longest = new Uint32Array((a.length + 1) * width);
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      longest[i * width + j] = a[i - 1] === b[j - 1]
        ? longest[(i - 1) * width + j - 1]! + 1
        : Math.max(longest[(i - 1) * width + j]!, longest[i * width + j - 1]!);
    }
  }
  const places: number[] = [];
  for (let i = a.length, j = b.length; i > 0 && j > 0;) {
    if (a[i - 1] === b[j - 1]) {
      places.push(i - 1);
      i--;
      j--;
    } else if (longest[i * width + j - 1]! > longest[(i - 1) * width + j]!) j--;
    else i--;
  }
  return places.reverse();
}
