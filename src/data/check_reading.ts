// What all loaders of data sets check: lengths and limits before they read, token ids as they go.
import { DataError, UsageError } from "../core/errors.ts";

/** Options that bound what is read. */
export interface ReadingBounds {
  /** Tokens of the longest example. */
  readonly length: number;
  /** The shortest length that makes sense. */
  readonly least: number;
  /** Positions that the model knows. */
  readonly positions: number;
  /** Most rows. */
  readonly limit: number | undefined;
}

/**
 * Check a length and a limit.
 *
 * @throws {UsageError} `usage/max-length`, `usage/limit`.
 */
export function checkBounds({ length, least, positions, limit }: ReadingBounds): void {
  if (!Number.isInteger(length) || length < least || length > positions) {
    const most = positions === Infinity ? "" : ` and at most ${positions}, the positions of the model`;
    const message = `Cannot use a length as it must be an integer of at least ${least}${most}: received ${length}`;
    throw new UsageError("usage/max-length", message);
  }
  if (limit !== undefined && !(limit >= 1)) {
    throw new UsageError("usage/limit", `Cannot read rows as the limit must be at least 1: received ${limit}`);
  }
}

/** Where tokens come from, and the rows of the embedding that they may name. */
export interface TokenRange {
  readonly vocabSize?: number;
  readonly path: string;
  readonly line?: number;
}

/**
 * Check that the model has all tokens.
 *
 * @throws {DataError} `data/token-range` naming the first that it has not.
 */
export function checkTokens(ids: Iterable<number>, { vocabSize = Infinity, path, line }: TokenRange): void {
  for (const id of ids) {
    if (id < vocabSize) continue;
    throw new DataError("data/token-range", `Cannot use a token as it has id ${id}: the model has ${vocabSize} rows`, {
      path,
      ...line === undefined ? {} : { line },
      hint: "The tokenizer belongs to another model, or tokens were added without resizing the embedding.",
    });
  }
}
