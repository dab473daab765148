// Rows of .csv (RFC 4180) and .tsv files. A .tsv has no quotes: what looks like one is a letter of the text.
import { parse } from "csv-parse/sync";
import { DataError, printable } from "../core/errors.ts";
import type { JsonObject } from "./json.ts";
import type { JsonRow } from "./jsonl.ts";

/** Columns of a .tsv without a header, by how many there are. */
const COLUMNS: ReadonlyMap<number, readonly string[]> = new Map([
  [2, ["sentence", "label"]],
  [3, ["text", "text_pair", "label"]],
]);

/** Names by which a first line is known to be a header. */
const HEADER = new Set([
  ..."sentence text label labels text_pair premise hypothesis sentence1 sentence2 question answer".split(" "),
  ..."prompt completion instruction input output source target document summary".split(" "),
]);

/** Columns whose numbers are numbers, not texts. */
const NUMERIC = new Set(["label"]);

/**
 * The rows of a table.
 *
 * @throws {DataError} `data/csv` where it is no table, `data/header` where its columns have no names.
 */
export function tableRows(text: string, path: string): JsonRow[] {
  const tsv = /\.tsv$/i.test(path);
  const [first, ...rest] = tsv ? tsvLines(text) : csvLines(text, path);
  if (!first) throw new DataError("data/empty", "Cannot read rows as the file has none", { path });
  const named = first.cells.some((cell) => HEADER.has(cell.trim().toLowerCase()));
  const names = named ? first.cells.map((cell) => cell.trim()) : tsv ? COLUMNS.get(first.cells.length) : undefined;
  if (!names) {
    const found = printable(JSON.stringify(first.cells).slice(0, 80));
    throw new DataError("data/header", `Cannot read a table as its first line names no column: received ${found}`, {
      ...{ path, line: first.line },
      hint: "Write the names in the first line, such as text and label.",
    });
  }
  return (named ? rest : [first, ...rest]).map(({ cells, line }) => {
    if (cells.length !== names.length) {
      const message = `Cannot read a line as it must have ${names.length} columns: received ${cells.length}`;
      throw new DataError("data/csv", message, { path, line });
    }
    return {
      value: Object.fromEntries(names.map((name, i) => [name, cellValue(name, cells[i]!)])) as JsonObject,
      line,
    };
  });
}

interface Line {
  readonly cells: string[];
  readonly line: number;
}

function tsvLines(text: string): Line[] {
  return text.split(/\r?\n/).map((row, i) => ({ cells: row.split("\t"), line: i + 1 })).filter(({ cells }) =>
    cells.some((cell) => cell.trim() !== "")
  );
}

function csvLines(text: string, path: string): Line[] {
  try {
    const records: unknown = parse(text, {
      ...{
        bom: true,
        info: true,
        skip_empty_lines: true,
        relax_column_count: true,
        record_delimiter: ["\r\n", "\n", "\r"],
      },
    });
    const list = records as readonly { readonly record: string[]; readonly info: { readonly lines: number } }[];
    return list.map(({ record, info }) => ({ cells: record, line: info.lines }));
  } catch (cause) {
    const message = `Cannot read as CSV: ${printable(cause instanceof Error ? cause.message : String(cause))}`;
    throw new DataError("data/csv", message, { path, cause });
  }
}

function cellValue(name: string, cell: string): string | number {
  return NUMERIC.has(name) && /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(cell.trim()) ? Number(cell) : cell;
}
