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
  /** Which of the sentences of a row a token belongs to [B, T]; all zeros where it is absent. */
  readonly token_type_ids?: readonly (readonly number[])[];
  /** The position of each token [B, T], in [0, T); its column where they are absent, also behind padding. */
  readonly position_ids?: readonly (readonly number[])[];
  /**
   * What is to be predicted; -100 is not trained. Language models: the id of each token, not shifted [B, T]. Tokens: the
   * class of each [B, T]. Sequences: the class of each [B], or numbers [B, L] (a 1 for each class that a row belongs to,
   * or the values of a regression, which may be [B] for one).
   */
  readonly labels?: readonly (readonly number[])[] | readonly number[];
  /** First token of each answer [B]; T or more for none. */
  readonly start_positions?: readonly number[];
  /** Last token of each answer [B]; T or more for none. */
  readonly end_positions?: readonly number[];
}

/** Sizes of a batch. */
export interface BatchSize {
  /** Rows. */
  readonly B: number;
  /** Tokens of a row, with padding. */
  readonly T: number;
}

/** What labels must be. */
export type LabelRule =
  /** Classes of tokens [B, T]. */
  | { readonly of: "tokens"; readonly classes: number }
  /** Classes of rows [B]. */
  | { readonly of: "rows"; readonly classes: number }
  /** Finite numbers [B, width], or [B] for a width of one. */
  | { readonly of: "numbers"; readonly width: number }
  /** Tokens of another sequence [B, any], as many for each row. */
  | { readonly of: "targets"; readonly classes: number; readonly positions: number }
  /** There are none: `start_positions` and `end_positions` are used. */
  | { readonly of: "spans" };

/** Options of {@linkcode checkBatch}. */
export interface CheckBatchOptions {
  /** Rows of the embedding, V. */
  readonly vocabSize: number;
  /** Positions that the model knows; T may not be above. */
  readonly positions?: number;
  /** Sentences that a row may have (1). */
  readonly tokenTypes?: number;
  /** What the labels must be; ids of tokens by default. */
  readonly labels?: LabelRule;
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
export function checkBatch(
  batch: Batch,
  { vocabSize: V, positions = Infinity, tokenTypes = 1, labels = { of: "tokens", classes: V } }: CheckBatchOptions,
): BatchSize {
  const problems: string[] = [];
  const B = batch.input_ids.length;
  const T = batch.input_ids[0]?.length ?? 0;
  if (B === 0 || T === 0) problems.push(`input_ids must have rows and tokens: received [${B}, ${T}]`);
  if (T > positions) problems.push(`input_ids has rows of ${T} tokens: the model has ${positions} positions`);

  type Check = { readonly what: string; readonly ok: (value: number) => boolean };
  const check = (name: keyof Batch, { what, ok }: Check, width: number | undefined): void => {
    const rows = batch[name];
    if (rows === undefined) return;
    if (rows.length !== B) problems.push(`${name} must have ${B} rows like input_ids: received ${rows.length}`);
    for (const [b, row] of rows.entries()) {
      const values = typeof row === "number" ? [row] : row;
      const isList = typeof row !== "number";
      if (width === undefined ? isList : !isList && width !== 1) {
        problems.push(`${name}[${b}] must be ${width === undefined ? "one value" : "a list"}: received ${row}`);
        continue;
      }
      if (width !== undefined && values.length !== width) {
        const like = width === T ? " like input_ids[0]" : "";
        problems.push(`${name}[${b}] must have ${width} values${like}: received ${values.length}`);
      }
      for (const [t, value] of values.entries()) {
        const place = isList ? `${name}[${b}][${t}]` : `${name}[${b}]`;
        if (!ok(value)) problems.push(`${place} must be ${what}: received ${value}`);
      }
    }
  };
  const below = (end: number): Check => ({
    what: `an integer in [0, ${end})`,
    ok: (x) => Number.isInteger(x) && x >= 0 && x < end,
  });
  const label = (classes: number): Check => ({
    what: `-100 or ${below(classes).what}`,
    ok: (x) => x === IGNORE || below(classes).ok(x),
  });
  check("input_ids", below(V), T);
  check("attention_mask", { what: "0 or 1", ok: (m) => m === 0 || m === 1 }, T);
  check("token_type_ids", below(tokenTypes), T);
  check("position_ids", below(T), T);
  if (labels.of === "tokens") check("labels", label(labels.classes), T);
  if (labels.of === "rows") check("labels", label(labels.classes), undefined);
  if (labels.of === "numbers") check("labels", { what: "a finite number", ok: Number.isFinite }, labels.width);
  if (labels.of === "targets") {
    const first = batch.labels?.[0];
    const length = typeof first === "object" ? first.length : 1;
    if (length > labels.positions) {
      problems.push(`labels has rows of ${length} tokens: the model has ${labels.positions} positions`);
    }
    check("labels", label(labels.classes), length);
  }
  if (labels.of === "spans") {
    const place = { what: "an integer of at least 0", ok: (x: number) => Number.isInteger(x) && x >= 0 };
    check("start_positions", place, undefined);
    check("end_positions", place, undefined);
  }

  if (problems.length === 0) return { B, T };
  const rest = problems.length > SHOWN ? [`and ${problems.length - SHOWN} more`] : [];
  throw new ConfigError("data/batch", "this batch", [...problems.slice(0, SHOWN), ...rest]);
}
