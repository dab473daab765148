// Texts to continue: from the command line, or from a file with one on every line.
import { DataError } from "../core/errors.ts";
import { field } from "../data/json.ts";
import { readJsonl } from "../data/jsonl.ts";
import { readText } from "../io/files.ts";
import { refuse } from "./arguments.ts";

/** Fields that may hold the text of a row. */
const FIELDS = ["prompt", "text"];

/**
 * The prompts of a file: rows with a "prompt" or a "text" where its name ends in .jsonl, else its lines that are not
 * blank.
 *
 * @throws {UsageError} `usage/prompt` if there is none.
 * @throws {DataError} `data/field` for a row without a text, and as `readJsonl`.
 */
export async function readPrompts(path: string): Promise<string[]> {
  if (!/\.(jsonl|ndjson)$/i.test(path)) {
    const lines = (await readText(path)).split(/\r?\n/).filter((line) => line.trim() !== "");
    refuse("usage/prompt", lines.length === 0 ? ["the file of --prompts has no text"] : []);
    return lines;
  }
  const prompts: string[] = [];
  for await (const { value, line } of readJsonl(path)) {
    const text = FIELDS.map((name) => field(value, name)).find((found) => typeof found === "string");
    if (typeof text !== "string" || !text.isWellFormed()) {
      throw new DataError("data/field", `Cannot continue a row without a text in "prompt" or "text"`, { path, line });
    }
    prompts.push(text);
  }
  return prompts;
}
