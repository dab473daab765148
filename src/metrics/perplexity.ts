// Perplexity: e to the mean loss of a token.
import { UsageError } from "../core/errors.ts";

/** A loss and the tokens that it is the mean of. */
export interface TokenLoss {
  /** Nats a token. */
  readonly loss: number;
  readonly tokens: number;
}

/** Sums over the tokens of a row. */
export interface TokenRow {
  /** Nats. */
  readonly loss: number;
  /** Tokens that were predicted. */
  readonly tokens: number;
  /** Those that were the likeliest. */
  readonly correct: number;
}

/**
 * Mean loss over parts of a text, every token weighing the same, and its perplexity.
 *
 * @throws {UsageError} `metrics/length` if there are no tokens.
 *
 * @example Usage
 * ```ts
 * import { perplexity } from "@graft/graft/metrics";
 *
 * console.log(perplexity([{ loss: Math.log(8), tokens: 10 }]).perplexity.toFixed(3)); // 8.000
 * ```
 */
export function perplexity(parts: readonly TokenLoss[]): { readonly loss: number; readonly perplexity: number } {
  const tokens = parts.reduce((sum, part) => sum + part.tokens, 0);
  if (!(tokens > 0)) throw new UsageError("metrics/length", "Cannot compute a perplexity without tokens");
  const loss = parts.reduce((sum, part) => sum + part.loss * part.tokens, 0) / tokens;
  return { loss, perplexity: Math.exp(loss) };
}
