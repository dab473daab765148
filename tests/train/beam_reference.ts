// Beam search once more in float64 over whole forward passes, with the lists of hypotheses of transformers'
// BeamSearchScorer. A prompt is judged done by its best beam that goes on, as transformers does since 4.52.
import { referenceLogits, type ReferenceModel } from "../models/reference.ts";

/** What {@linkcode referenceBeams} follows. */
export interface ReferenceRules {
  readonly W: number;
  readonly maxNewTokens: number;
  readonly minNewTokens?: number;
  readonly ends: readonly number[];
  readonly lengthPenalty?: number;
  readonly earlyStopping?: boolean | "never";
  readonly repetitionPenalty?: number;
  /** Logits behind a text; those of the causal model without. */
  readonly logitsOf?: (text: readonly number[]) => readonly number[];
}

/** A text and its score. */
export interface Hypothesis {
  readonly ids: readonly number[];
  readonly score: number;
}

interface Beam {
  readonly ids: readonly number[];
  readonly sum: number;
}

/** The W best texts behind `prompt`, without their end tokens, the best first; and the smallest gap that decided. */
export function referenceBeams(
  model: ReferenceModel,
  prompt: readonly number[],
  rules: ReferenceRules,
): { readonly found: readonly Hypothesis[]; readonly steps: number; readonly gap: number } {
  const { W, maxNewTokens, minNewTokens = 0, ends, lengthPenalty = 1, earlyStopping = false } = rules;
  const { repetitionPenalty = 1, logitsOf = (text) => referenceLogits(model, text).at(-1)! } = rules;
  const hypotheses: Hypothesis[] = [];
  const add = (hypothesis: Hypothesis) => {
    hypotheses.push(hypothesis);
    hypotheses.sort((a, b) => b.score - a.score);
    hypotheses.splice(W);
  };
  let beams: Beam[] = [{ ids: [], sum: 0 }];
  let gap = Infinity;
  for (let step = 1;; step++) {
    const candidates = beams.flatMap(({ ids, sum }) => {
      const text = [...prompt, ...ids];
      const logs = logSoftmax(logitsOf(text));
      return logs.map((log, token) => {
        const penalized = text.includes(token) ? (log < 0 ? log * repetitionPenalty : log / repetitionPenalty) : log;
        const forbidden = step <= minNewTokens && ends.includes(token);
        return { ids: [...ids, token], sum: forbidden ? -1e30 : sum + penalized };
      });
    }).sort((a, b) => b.sum - a.sum);
    const wanted = Math.max(2, 1 + ends.length) * W;
    for (let i = 0; i < Math.min(wanted, candidates.length - 1); i++) {
      if (candidates[i + 1]!.sum > -1e29) gap = Math.min(gap, candidates[i]!.sum - candidates[i + 1]!.sum);
    }
    const next: Beam[] = [];
    for (const [rank, candidate] of candidates.slice(0, wanted).entries()) {
      const ended = ends.includes(candidate.ids.at(-1)!);
      if (ended || step === maxNewTokens) {
        if (rank >= W) continue;
        add({ ids: ended ? candidate.ids.slice(0, -1) : candidate.ids, score: candidate.sum / step ** lengthPenalty });
      } else if (next.length < W) next.push(candidate);
    }
    if (step === maxNewTokens) return { found: hypotheses, steps: step, gap };
    beams = next;
    if (hypotheses.length < W) continue;
    const length = earlyStopping === "never" && lengthPenalty > 0 ? maxNewTokens : step;
    const margin = hypotheses[W - 1]!.score - beams[0]!.sum / length ** lengthPenalty;
    if (earlyStopping !== true) gap = Math.min(gap, Math.abs(margin));
    if (earlyStopping === true || margin >= 0) return { found: hypotheses, steps: step, gap };
  }
}

function logSoftmax(logits: readonly number[]): number[] {
  const high = Math.max(...logits);
  const log = Math.log(logits.reduce((sum, x) => sum + Math.exp(x - high), 0));
  return logits.map((x) => x - high - log);
}
