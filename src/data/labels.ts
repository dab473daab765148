// Labels as Hugging Face writes them: label t belongs to token t (the loss shifts them by one), -100 is not trained.

/** The label of a token that is not trained. */
export const IGNORE: number = -100;

/** Token ids with their labels. */
export interface Example {
  /** Token ids. */
  readonly ids: Uint32Array;
  /** Label of each token, as long as `ids`: the id itself (not shifted) or a class, or -100. */
  readonly labels: Int32Array;
  /** Which text each token belongs to, where there are two. */
  readonly types?: Uint8Array;
  /** Class, classes or numbers of the whole row; those of the tokens do not count then. */
  readonly label?: number | readonly number[];
  /** Tokens of the other text, where one is written from this one; the labels of this one's tokens do not count then. */
  readonly target?: Int32Array;
  /** First and last token of the answer. */
  readonly span?: readonly [number, number];
}

/**
 * How many tokens of a row are trained: the labels after the first that are not -100, since nothing predicts the first
 * token. This is the count by which transformers 5.18 divides the loss.
 */
export function trainedTokens(labels: ArrayLike<number>): number {
  let count = 0;
  for (let t = 1; t < labels.length; t++) if (labels[t] !== IGNORE) count++;
  return count;
}
