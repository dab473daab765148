// A data set: the rows of a file as token ids and labels, with a report that hides nothing. Every row ends as an
// example or in a count of the report.
import { DataError } from "../core/errors.ts";
import type { TaskName } from "../core/task_name.ts";
import { checkBounds, checkTokens } from "./check_reading.ts";
import { encodePiece, encodeSample, endOfStream, pack } from "./encode.ts";
import { type Example, IGNORE, trainedTokens } from "./labels.ts";
import { findSplit, readSamples, type Sample } from "./rows.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Options of {@linkcode loadDataset}. */
export interface DatasetOptions {
  /** Tokenizer of the model. */
  readonly tokenizer: Tokenizer;
  /** Tokens of the longest example (1024, or `positions` where that is less). */
  readonly maxLength?: number;
  /** Which file of a folder: train.jsonl, valid.jsonl, test.jsonl (or .json, .txt). */
  readonly split?: "train" | "valid" | "test";
  /** Cut a longer example (`"truncate"`, keeping its start) or refuse it (`"error"`). */
  readonly onOverflow?: "truncate" | "error";
  /**
   * Join all examples and cut them into windows of `maxLength` tokens, as for pre-training: nothing is padded or cut
   * off, and attention crosses the borders of the examples. A text file is then one stream instead of paragraphs.
   */
  readonly packing?: boolean;
  /** Read at most this many rows. */
  readonly limit?: number;
  /** How many bad rows may be left out before the next one is an error. */
  readonly skipBadRows?: number;
  /** Rows of the model's embedding; an id at or above is an error. */
  readonly vocabSize?: number;
  /** Positions that the model knows; `maxLength` may not be above. */
  readonly positions?: number;
}

/** What became of the rows. */
export interface DatasetReport {
  /** The file. */
  readonly path: string;
  /** Rows (or paragraphs) read, without bad ones. */
  readonly rows: number;
  /** Bad rows left out. */
  readonly skipped: number;
  /** Rows left out because none of their tokens would be trained. */
  readonly dropped: number;
  /** Rows cut to the longest length. */
  readonly truncated: number;
  /** Tokens cut off. */
  readonly tokensLost: number;
  /** Rows that wrote the begin token which the tokenizer adds as well; it was taken out once. */
  readonly doubledBos: number;
  /** Examples; windows where they are packed. */
  readonly examples: number;
  /** Examples that train an end token; where none does, the model will not learn to stop. */
  readonly ending: number;
  /** Tokens of all examples. */
  readonly tokens: number;
  /** Tokens that are trained. */
  readonly trainedTokens: number;
  /** Tokens of the longest example. */
  readonly longest: number;
  /** Tokens of the longest text that is written from another. */
  readonly longestTarget?: number;
  /** The task, where it is not a language model's. */
  readonly task?: TaskName;
  /** Rows or words by their labels. */
  readonly labelCounts?: Readonly<Record<string, number>>;
}

/** Examples and the report about them. */
export interface Dataset {
  /** Examples in the order of the file. */
  readonly examples: readonly Example[];
  /** What became of the rows. */
  readonly report: DatasetReport;
}

/**
 * Load a file, or one split of a folder. Rows `{"text"}` train every token; `{"prompt", "completion"}` and
 * `{"instruction", "input"?, "output"}` (with Alpaca's prompt) train only the completion. An end token is added where it
 * is missing. A .txt file gives its paragraphs.
 *
 * @throws {UsageError} `usage/max-length`, `usage/limit`.
 * @throws {DataError} as `readJsonl`, and `data/field` for a row of no known kind, `data/too-long` where
 * `onOverflow` is `"error"`, `data/token-range` for an id that the model does not have, `data/no-labels` where nothing
 * is left to train.
 *
 * @example Usage
 * ```ts no-eval
 * import { describe, loadDataset, loadTokenizer } from "@graft/graft";
 *
 * const tokenizer = await loadTokenizer("models/smollm2");
 * const { examples, report } = await loadDataset("train.jsonl", { tokenizer, maxLength: 512 });
 * console.log(examples.length, describe(report));
 * ```
 */
export async function loadDataset(path: string, options: DatasetOptions): Promise<Dataset> {
  const maxLength = checkOptions(options);
  const { split = "train", packing = false, skipBadRows = 0 } = options;
  const file = await findSplit(path, split);
  if (file === undefined) {
    const message = `Cannot load the ${split} split as the folder has no ${split}.jsonl, ${split}.json or ${split}.txt`;
    throw new DataError("data/missing", message, { path });
  }
  let skipped = 0;
  const onBadRow = (error: DataError): void => {
    if (++skipped > skipBadRows) throw error;
  };
  const samples = readSamples(file, { keepBlankLines: packing, onBadRow });
  const { examples, ...counts } = await encodeAll(samples, { ...options, maxLength, path: file });
  const report = { path: file, skipped, ...counts, ...measure(examples, options.tokenizer) };
  if (report.trainedTokens > 0) return { examples, report };
  throw new DataError("data/no-labels", `Cannot train on these rows as none of their tokens would be trained`, {
    path: file,
    hint: `${report.rows} rows were read and ${report.truncated} cut to ${maxLength} tokens. Is the prompt longer?`,
  });
}

/** The report in a few lines for people. */
export function describe(report: DatasetReport): string {
  const count = (n: number, what: string): string => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
  const labels = Object.entries(report.labelCounts ?? {});
  const share = (100 * report.trainedTokens / report.tokens).toFixed(0);
  const notes: [number, string][] = [
    [report.skipped, `${count(report.skipped, "bad row")} left out`],
    [report.dropped, `${count(report.dropped, "row")} dropped, as none of their tokens would be trained`],
    [report.truncated, `${count(report.truncated, "row")} truncated, ${count(report.tokensLost, "token")} lost`],
    [report.doubledBos, `${count(report.doubledBos, "begin token")} written twice, taken out once`],
    [labels.length, `labels: ${labels.map(([name, n]) => `${name} ${n.toLocaleString("en")}`).join(", ")}`],
    [
      report.ending === 0 && (report.task ?? "seq2seq-lm") === "seq2seq-lm" ? 1 : 0,
      "no end token is trained: the model will not learn to stop",
    ],
  ];
  return [
    `${count(report.rows, "row")} of ${report.path}: ${count(report.examples, "example")}, ` +
    `${count(report.tokens, "token")}${
      report.task === undefined ? ` (${share} % trained)` : ""
    }, longest ${report.longest}${report.longestTarget === undefined ? "" : ` and ${report.longestTarget}`}`,
    ...notes.filter(([n]) => n > 0).map(([, text]) => `  ${text}`),
  ].join("\n");
}

interface EncodeAllOptions extends DatasetOptions {
  readonly maxLength: number;
  readonly path: string;
}

type Counts = Pick<DatasetReport, "rows" | "dropped" | "truncated" | "tokensLost" | "doubledBos">;

/** Rows are encoded as they come: a file may be larger than memory, as long as its tokens are not. */
async function encodeAll(
  samples: AsyncIterable<Sample>,
  options: EncodeAllOptions,
): Promise<Counts & { readonly examples: Example[] }> {
  const { tokenizer, maxLength, packing = false, limit = Infinity, path } = options;
  const stream = packing && path.endsWith(".txt");
  const examples: Example[] = [];
  const counts = { rows: 0, dropped: 0, truncated: 0, tokensLost: 0, doubledBos: 0 };
  for await (const sample of samples) {
    const place = { ...options, line: sample.line };
    const { doubledBos, ...whole } = stream
      ? encodePiece(sample, tokenizer, { first: counts.rows === 0 })
      : encodeSample(sample, tokenizer);
    checkTokens(whole.ids, place);
    const example = packing ? whole : fit(whole, place);
    const lost = whole.ids.length - example.ids.length;
    counts.rows++;
    if (doubledBos) counts.doubledBos++;
    if (lost > 0) counts.truncated++;
    counts.tokensLost += lost;
    if (stream || trainedTokens(example.labels) > 0) examples.push(example);
    else counts.dropped++;
    if (counts.rows >= limit) break;
  }
  if (stream) {
    const end = endOfStream(tokenizer);
    checkTokens(end.ids, options);
    examples.push(end);
  }
  return { ...counts, examples: packing ? trainable(pack(examples, maxLength)) : examples };
}

/** Windows may lie inside one long prompt. */
function trainable(examples: readonly Example[]): Example[] {
  return examples.filter(({ labels }) => trainedTokens(labels) > 0);
}

function fit(example: Example, options: EncodeAllOptions & { readonly line: number }): Example {
  const { maxLength, onOverflow = "truncate", path, line } = options;
  if (example.ids.length <= maxLength) return example;
  if (onOverflow === "truncate") {
    return { ids: example.ids.slice(0, maxLength), labels: example.labels.slice(0, maxLength) };
  }
  const message = `Cannot use a row as it has ${example.ids.length} tokens: the longest length is ${maxLength}`;
  throw new DataError("data/too-long", message, { path, line, hint: "Raise the length, or let rows be truncated." });
}

function measure(
  examples: readonly Example[],
  { eosIds }: Tokenizer,
): Pick<DatasetReport, "examples" | "ending" | "tokens" | "trainedTokens" | "longest"> {
  const sum = (f: (example: Example) => number): number => examples.reduce((total, example) => total + f(example), 0);
  const ends = new Set(eosIds);
  return {
    examples: examples.length,
    ending: sum(({ labels }) => labels.some((label, t) => t > 0 && label !== IGNORE && ends.has(label)) ? 1 : 0),
    tokens: sum(({ ids }) => ids.length),
    trainedTokens: sum(({ labels }) => trainedTokens(labels)),
    longest: examples.reduce((longest, { ids }) => Math.max(longest, ids.length), 0),
  };
}

function checkOptions({ positions = Infinity, maxLength = Math.min(1024, positions), limit }: DatasetOptions): number {
  checkBounds({ length: maxLength, least: 2, positions, limit });
  return maxLength;
}
