// Exact match and F1 of short answers, as SQuAD's evaluation script (Rajpurkar et al., arXiv:1606.05250) counts them.
import { scores } from "./classification.ts";
import { ngrams, overlap } from "./ngrams.ts";
import { checkPairs, mean } from "./pairs.ts";

/** What {@linkcode answerScores} returns. */
export interface AnswerScores {
  /** Share of answers that equal a reference after normalization, 0 to 1. */
  readonly exactMatch: number;
  /** Mean overlap of words with the closest reference, 0 to 1. */
  readonly f1: number;
}

const ARTICLES = /(?<![\p{L}\p{N}_])(?:a|an|the)(?![\p{L}\p{N}_])/gu;

/** Lower case, without punctuation, articles and superfluous space. */
export function normalizeAnswer(text: string): string {
  return text.toLowerCase().replace(/[!-/:-@[-`{-~]/g, "").replace(ARTICLES, " ").trim().split(/\s+/).join(" ");
}

/**
 * Compare answers with all right answers to their questions; no right answer means that "" is right.
 *
 * @throws {UsageError} `metrics/length` if the lists are empty or differ in length.
 *
 * @example Usage
 * ```ts
 * import { answerScores } from "@graft/graft/metrics";
 *
 * console.log(answerScores(["the Eiffel Tower!"], [["Eiffel Tower", "Tour Eiffel"]])); // { exactMatch: 1, f1: 1 }
 * ```
 */
export function answerScores(predictions: readonly string[], references: readonly (readonly string[])[]): AnswerScores {
  checkPairs("answer scores", predictions, references);
  const best = (score: (a: string, b: string) => number) =>
    mean(predictions.map((text, i) => {
      const right = references[i]!.length > 0 ? references[i]! : [""];
      return Math.max(...right.map((one) => score(normalizeAnswer(text), normalizeAnswer(one))));
    }));
  return { exactMatch: best((a, b) => a === b ? 1 : 0), f1: best(wordF1) };
}

function wordF1(a: string, b: string): number {
  if (a === "" || b === "") return a === b ? 1 : 0;
  const p = a.split(" "), r = b.split(" ");
  return scores(overlap(ngrams(p, 1), ngrams(r, 1)), p.length, r.length).f1;
}
