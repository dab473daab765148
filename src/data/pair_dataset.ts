// A data set of texts that are written from others, for encoder-decoders: the source in the tokenizer's frame, the target
// with its end token. Every row ends as an example or in a count of the report.
import { DataError } from "../core/errors.ts";
import { checkBounds, checkTokens } from "./check_reading.ts";
import type { Dataset, DatasetReport } from "./dataset.ts";
import { frameOf } from "./frame.ts";
import { type Example, IGNORE } from "./labels.ts";
import { type PairRow, pairRow } from "./pair_rows.ts";
import { findSplit, readObjects } from "./rows.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Options of {@linkcode loadPairDataset}. */
export interface PairDatasetOptions {
  /** Tokenizer of the model. */
  readonly tokenizer: Tokenizer;
  /** Tokens of the longest source (1024, or `positions` where that is less); longer ones lose their end. */
  readonly maxLength?: number;
  /** Tokens of the longest target, its end token included (128). */
  readonly maxTargetLength?: number;
  /** Put before every source, such as `"summarize: "`. */
  readonly sourcePrefix?: string;
  /** Which file of a folder: train, valid (or dev), test. */
  readonly split?: "train" | "valid" | "test";
  /** Read at most this many rows. */
  readonly limit?: number;
  /** How many bad rows may be left out before the next one is an error. */
  readonly skipBadRows?: number;
  /** Rows of the model's embedding; an id at or above is an error. */
  readonly vocabSize?: number;
  /** Positions that the model knows. */
  readonly positions?: number;
}

/** Examples with their texts. */
export interface PairDataset extends Dataset {
  /** The texts of each example. */
  readonly rows: readonly PairRow[];
  /** What stands before every source. */
  readonly sourcePrefix: string;
}

/** Targets are summaries and answers. */
const MAX_TARGET = 128;

/**
 * Load a file (.jsonl, .json, .csv, .tsv), or one split of a folder.
 *
 * Rows: `{"document", "summary"}`, `{"article", "highlights"}`, `{"prompt", "completion"}`, `{"input", "output"}`,
 * `{"source", "target"}`, `{"instruction", "input"?, "output"}` with Alpaca's prompt, and `{"question", "context"?,
 * "answer" | "answers"}`, which becomes `question: … context: …` as in T5.
 *
 * @throws {UsageError} `usage/max-length`, `usage/limit`.
 * @throws {DataError} as `readJsonl`, and `data/field` for a row of no known kind, `data/token-range` for an id that the
 * model does not have, `data/no-labels` where nothing is left.
 *
 * @example Usage
 * ```ts no-eval
 * import { loadModel, loadPairDataset, openDevice } from "@graft/graft";
 *
 * const base = await loadModel(await openDevice(), "models/flan-t5-small");
 * const data = await loadPairDataset("news", { tokenizer: base.tokenizer, sourcePrefix: "summarize: " });
 * console.log(data.examples.length, data.rows[0]!.target);
 * ```
 */
export async function loadPairDataset(path: string, options: PairDatasetOptions): Promise<PairDataset> {
  const { split = "train", skipBadRows = 0, limit = Infinity, sourcePrefix = "" } = options;
  const lengths = checkLengths(options);
  const file = await findSplit(path, split);
  if (file === undefined) {
    throw new DataError("data/missing", `Cannot load the ${split} split as the folder has no file called ${split}`, {
      path,
    });
  }
  let skipped = 0;
  const bad = (error: DataError): void => {
    if (++skipped > skipBadRows) throw error;
  };
  const rows: PairRow[] = [], examples: Example[] = [];
  const counts = { truncated: 0, tokensLost: 0 };
  for await (const { value, line } of readObjects(file, bad)) {
    const row = pairRow(value, { path: file, line });
    if (row instanceof DataError) {
      bad(row);
      continue;
    }
    const { example, lost } = encodePair(row, { ...options, ...lengths, sourcePrefix });
    checkTokens([...example.ids, ...example.target!], { ...options, path: file, line });
    rows.push(row);
    examples.push(example);
    if (lost > 0) counts.truncated++;
    counts.tokensLost += lost;
    if (rows.length >= limit) break;
  }
  const report = { path: file, rows: rows.length, skipped, dropped: 0, doubledBos: 0, ...counts };
  if (rows.length === 0) throw new DataError("data/no-labels", "Cannot use these rows as none is left", { path: file });
  return { examples, rows, sourcePrefix, report: { ...report, ...measure(examples, options.tokenizer) } };
}

interface EncodeOptions extends Required<Pick<PairDatasetOptions, "sourcePrefix" | "maxLength" | "maxTargetLength">> {
  readonly tokenizer: Tokenizer;
}

function encodePair(
  { source, target }: PairRow,
  { tokenizer, sourcePrefix, maxLength, maxTargetLength }: EncodeOptions,
): { readonly example: Example; readonly lost: number } {
  const plain = (text: string) => tokenizer.encode(text, { specialTokens: false });
  const frame = frameOf(tokenizer);
  const read = plain(sourcePrefix + source), written = plain(target);
  const [end] = tokenizer.eosIds, ends = end === undefined ? [] : [end];
  const room = maxLength - frame.single, targetRoom = maxTargetLength - ends.length;
  const ids = Uint32Array.from(frame.wrap(read.slice(0, room)).ids);
  return {
    example: {
      ids,
      labels: new Int32Array(ids.length).fill(IGNORE),
      target: Int32Array.from([...written.slice(0, targetRoom), ...ends]),
    },
    lost: Math.max(0, read.length - room) + Math.max(0, written.length - targetRoom),
  };
}

function measure(
  examples: readonly Example[],
  { eosIds }: Tokenizer,
): Pick<DatasetReport, "examples" | "ending" | "tokens" | "trainedTokens" | "longest" | "longestTarget" | "task"> {
  const sum = (f: (example: Example) => number): number => examples.reduce((total, example) => total + f(example), 0);
  const most = (f: (example: Example) => number): number => examples.reduce((most, e) => Math.max(most, f(e)), 0);
  const trainedTokens = sum(({ target }) => target!.length);
  return {
    task: "seq2seq-lm",
    examples: examples.length,
    ending: sum(({ target }) => eosIds.includes(target!.at(-1)!) ? 1 : 0),
    tokens: sum(({ ids }) => ids.length) + trainedTokens,
    trainedTokens,
    longest: most(({ ids }) => ids.length),
    longestTarget: most(({ target }) => target!.length),
  };
}

function checkLengths(
  options: PairDatasetOptions,
): { readonly maxLength: number; readonly maxTargetLength: number } {
  const { positions = Infinity, maxLength = Math.min(1024, positions), limit } = options;
  const { maxTargetLength = Math.min(MAX_TARGET, positions) } = options;
  for (const length of [maxLength, maxTargetLength]) checkBounds({ length, least: 2, positions, limit });
  return { maxLength, maxTargetLength };
}
