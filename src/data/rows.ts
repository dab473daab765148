// From files to texts: which file, which format, and what a row means.
import { DataError, printable } from "../core/errors.ts";
import { field, isObject, type JsonObject, parseJson } from "./json.ts";
import { decodeUtf8, excerpt, type JsonRow, openData, readJsonl } from "./jsonl.ts";
import { tableRows } from "./table.ts";

/** A text to train on: only the completion is trained, or all where the prompt is empty. */
export interface Sample {
  /** The text that is given. */
  readonly prompt: string;
  /** The text to learn. */
  readonly completion: string;
  /** Line of the file, counted from 1. */
  readonly line: number;
}

/** Options of {@linkcode readSamples}. */
export interface SampleOptions {
  /** Keep the blank lines between the paragraphs of a text file, so that the pieces together are the file. */
  readonly keepBlankLines?: boolean;
  /** Called with the error of a bad row; throw it, or leave the row out. */
  readonly onBadRow: (error: DataError) => void;
}

const EXTENSIONS = ["jsonl", "json", "txt", "csv", "tsv"] as const;

/** Other names of a split. */
const SYNONYMS: Readonly<Record<string, readonly string[]>> = { valid: ["valid", "validation", "dev"] };

/** The kinds of row that are understood, as messages show them. */
const KINDS = '{"text"}, {"prompt", "completion"} or {"instruction", "input"?, "output"}';

/**
 * The file of a split: `path` itself where it is a file, or train.jsonl (.json, .txt) in the folder `path`; undefined
 * where the folder has no such file.
 *
 * @throws {DataError} `data/missing` where `path` does not exist.
 */
export async function findSplit(path: string, split: string): Promise<string | undefined> {
  const stat = await statOrUndefined(path);
  if (stat === undefined) throw new DataError("data/missing", "Cannot read data as the path does not exist", { path });
  if (!stat.isDirectory) return path;
  for (const name of SYNONYMS[split] ?? [split]) {
    for (const extension of EXTENSIONS) {
      const file = `${path}/${name}.${extension}`;
      if (await statOrUndefined(file) !== undefined) return file;
    }
  }
}

/**
 * The texts of a .jsonl, .json (a list of rows) or .txt file (its paragraphs).
 *
 * @throws {DataError} `data/format` for another kind of file, and as `readJsonl`; a row that has no known fields, or a
 * field that is not a text, is `data/field` and goes to `onBadRow`.
 */
export async function* readSamples(path: string, options: SampleOptions): AsyncGenerator<Sample, void, void> {
  if (/\.txt$/i.test(path)) return yield* paragraphs(await readAll(path), options);
  const { onBadRow } = options;
  for await (const { value, line } of readObjects(path, onBadRow)) {
    const sample = toSample(value, { path, line });
    if (sample instanceof DataError) onBadRow(sample);
    else yield sample;
  }
}

/**
 * The rows of a .jsonl, .json (a list), .csv or .tsv file as objects.
 *
 * @throws {DataError} `data/format` for another kind of file, `data/csv`, `data/header`, and as `readJsonl`; rows that
 * cannot be read go to `onBadRow`.
 */
export async function* readObjects(
  path: string,
  onBadRow: (error: DataError) => void,
): AsyncGenerator<JsonRow, void, void> {
  const extension = path.slice(path.lastIndexOf(".") + 1).toLowerCase();
  if (extension === "csv" || extension === "tsv") return yield* tableRows(await readAll(path), path);
  if (extension === "json") return yield* listedRows(await readAll(path), path);
  if (extension === "jsonl" || extension === "ndjson") {
    return yield* readJsonl(path, { skipBadRows: Infinity, onSkip: onBadRow });
  }
  throw new DataError("data/format", "Cannot read data as the name must end in .jsonl, .json, .csv, .tsv or .txt", {
    path,
  });
}

/** What a row means, or why it means nothing. */
function toSample(row: unknown, place: { readonly path: string; readonly line: number }): Sample | DataError {
  if (!isObject(row)) return new DataError("data/field", "Cannot use a row as it must be an object", place);
  const has = (...names: string[]): boolean => names.every((name) => Object.hasOwn(row, name));
  const fields = has("prompt", "completion")
    ? ["prompt", "completion"]
    : has("instruction", "output")
    ? ["instruction", "output", ...has("input") ? ["input"] : []]
    : has("text")
    ? ["text"]
    : undefined;
  if (fields === undefined) {
    const found = Object.keys(row).map((name) => JSON.stringify(name)).join(", ");
    return new DataError("data/field", `Cannot use a row with the fields ${excerpt(found) || "(none)"}`, {
      ...place,
      hint: `Rows of these kinds are supported: ${KINDS}.`,
    });
  }
  const wrong = fields.filter((name) => typeof field(row, name) !== "string");
  if (wrong.length > 0) {
    const received = wrong.map((name) => `"${name}" ${excerpt(JSON.stringify(field(row, name)))}`).join(", ");
    return new DataError("data/field", `Cannot use a row as its fields must be texts: received ${received}`, place);
  }
  const [first, second, third] = fields.map((name) => field(row, name) as string);
  const malformed = fields.find((name) => !(field(row, name) as string).isWellFormed());
  if (malformed !== undefined) {
    const message = `Cannot use a row as "${malformed}" holds half a surrogate pair`;
    return new DataError("data/encoding", message, place);
  }
  if (fields[0] === "text") return { prompt: "", completion: first!, line: place.line };
  const prompt = fields[0] === "prompt" ? first! : alpaca(first!, third ?? "");
  return { prompt, completion: second!, line: place.line };
}

/** The prompt of Stanford Alpaca (github.com/tatsu-lab/stanford_alpaca), which most instruction sets use. */
export function alpaca(instruction: string, input: string): string {
  const task = "Below is an instruction that describes a task";
  const ask = "Write a response that appropriately completes the request.";
  return input === ""
    ? `${task}. ${ask}\n\n### Instruction:\n${instruction}\n\n### Response:\n`
    : `${task}, paired with an input that provides further context. ${ask}\n\n### Instruction:\n${instruction}\n\n` +
      `### Input:\n${input}\n\n### Response:\n`;
}

async function readAll(path: string): Promise<string> {
  const file = await openData(path);
  const text = decodeUtf8(new Uint8Array(await new Response(file.readable).arrayBuffer()), { path });
  if (text.trim() === "") throw new DataError("data/empty", "Cannot read rows as the file has none", { path });
  return text;
}

function listedRows(text: string, path: string): { readonly value: JsonObject; readonly line: number }[] {
  try {
    const { value, lines } = parseJson(text);
    if (Array.isArray(value) && value.length > 0) return value.map((value, i) => ({ value, line: lines[i]! }));
    throw new DataError("data/empty", "Cannot read rows as the file must hold a list of rows", {
      path,
      hint: "Call a file with one object on each line .jsonl.",
    });
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new DataError("data/json", `Cannot read as JSON: ${printable(cause.message)}`, { path, cause });
  }
}

function* paragraphs(file: string, { keepBlankLines = false }: SampleOptions): Generator<Sample> {
  const text = file.replaceAll("\r\n", "\n");
  const borders = [...text.matchAll(/\n[^\S\n]*\n\s*/g).map((match) => match.index + match[0].length), text.length];
  let start = 0;
  let line = 1;
  for (const end of borders) {
    const piece = text.slice(start, end);
    const lead = piece.length - piece.trimStart().length;
    const completion = keepBlankLines ? piece : piece.trim();
    const first = line + piece.slice(0, lead).split("\n").length - 1;
    if (completion !== "") yield { prompt: "", completion, line: first };
    line += piece.split("\n").length - 1;
    start = end;
  }
}

async function statOrUndefined(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
