// What a model is fed, in Hugging Face's names and shapes, and the check that nothing impossible reaches the GPU: an
// embedding row that does not exist would be read as zeros or as another row, without an error.
import { ConfigError } from "../core/errors.ts";
import { IGNORE } from "./labels.ts";

/** Token ids of B rows of T tokens, as in Hugging Face. */
export interface Batch {
  /** Token ids [B, T], each in [0, V). */
  readonly input_ids: readonly (readonly number[])[];
  /** 1 for a token, 0 for padding [B, T]; all ones where it is absent. */
  readonly attention_mask?: readonly (readonly number[])[];
  /** The label of each token, not shifted [B, T]: an id in [0, V), or -100 where it is not trained. */
  readonly labels?: readonly (readonly number[])[];
}

/** Sizes of a batch. */
export interface BatchSize {
  /** Rows. */
  readonly B: number;
  /** Tokens of a row, with padding. */
  readonly T: number;
}

/** Options of {@linkcode checkBatch}. */
export interface CheckBatchOptions {
  /** Rows of the embedding, V. */
  readonly vocabSize: number;
  /** Positions that the model knows; T may not be above. */
  readonly positions?: number;
}

/** Problems listed in one message. */
const SHOWN = 20;

/**
 * Check a batch and return its size: rows of one length, ids in [0, V), mask 0 or 1, labels -100 or in [0, V).
 *
 * @throws {ConfigError} `data/batch` with all problems (the first 20 in words).
 *
 * @example Usage
 * ```ts
 * import { checkBatch } from "@graft/graft";
 *
 * const { B, T } = checkBatch({ input_ids: [[1, 2, 3], [4, 5, 0]] }, { vocabSize: 10 });
 * if (B !== 2 || T !== 3) throw new Error("unexpected size");
 * ```
 */
export function checkBatch(batch: Batch, { vocabSize: V, positions = Infinity }: CheckBatchOptions): BatchSize {
  const problems: string[] = [];
  const isId = (id: number): boolean => Number.isInteger(id) && id >= 0 && id < V;
  const B = batch.input_ids.length;
  const T = batch.input_ids[0]?.length ?? 0;
  if (B === 0 || T === 0) problems.push(`input_ids must have rows and tokens: received [${B}, ${T}]`);
  if (T > positions) problems.push(`input_ids has rows of ${T} tokens: the model has ${positions} positions`);

  const check = (name: keyof Batch, what: string, ok: (value: number) => boolean): void => {
    const rows = batch[name];
    if (rows === undefined) return;
    if (rows.length !== B) problems.push(`${name} must have ${B} rows like input_ids: received ${rows.length}`);
    for (const [b, row] of rows.entries()) {
      if (row.length !== T) {
        problems.push(`${name}[${b}] must have ${T} values like input_ids[0]: received ${row.length}`);
      }
      for (let t = 0; t < row.length; t++) {
        if (!ok(row[t]!)) problems.push(`${name}[${b}][${t}] must be ${what}: received ${row[t]}`);
      }
    }
  };
  check("input_ids", `an integer in [0, ${V})`, isId);
  check("attention_mask", "0 or 1", (m) => m === 0 || m === 1);
  check("labels", `-100 or an integer in [0, ${V})`, (label) => label === IGNORE || isId(label));

  if (problems.length === 0) return { B, T };
  const rest = problems.length > SHOWN ? [`and ${problems.length - SHOWN} more`] : [];
  throw new ConfigError("data/batch", "this batch", [...problems.slice(0, SHOWN), ...rest]);
}
