// Descriptions of software packages that do not exist, each with its synopsis: rows to learn summarizing from; and
// such rows of files. What the
// synopsis says stands somewhere in the description, in one of several orders, among things that it leaves out.

import { readJsonl } from "@graft/graft";

/** A text and what is to be written from it. */
export interface SummaryRow {
  readonly document: string;
  readonly summary: string;
}

const STARTS = ["lum", "kar", "ves", "dor", "mil", "tan", "bra", "sol", "fen", "pix", "zor", "quil"];
const ENDS = ["ino", "eta", "ax", "ora", "ium", "ely", "ock", "ant", "ude", "ish", "ova", "ent"];
const NATURES = ["small", "fast", "portable", "modular", "graphical", "simple", "robust", "modern", "tiny", "secure"];
const KINDS = ["library", "editor", "server", "viewer", "compiler", "daemon", "toolkit", "shell", "plugin", "parser"];
const ACTIONS = ["reading", "drawing", "sorting", "checking", "sending", "converting", "storing", "comparing"];
const THINGS = ["images", "maps", "letters", "tables", "songs", "genomes", "logs", "calendars", "passwords", "fonts"];
const PEOPLE = ["Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry"];
const LANGUAGES = ["Python", "Haskell", "Perl", "Rust", "Java", "Ruby"];

/** Numbers in [0, 1), always the same (Lehmer, modulus 2^31 − 1). */
export function dice(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}

/** `count` rows. */
export function packageRows(count: number): SummaryRow[] {
  const next = dice(7);
  const pick = (list: readonly string[]): string => list[Math.floor(next() * list.length)]!;
  return Array.from({ length: count }, () => {
    const name = pick(STARTS) + pick(ENDS);
    const nature = pick(NATURES), kind = pick(KINDS), purpose = `${pick(ACTIONS)} ${pick(THINGS)}`;
    const document = pick([
      `${name} was begun by ${pick(PEOPLE)} in ${
        1990 + Math.floor(next() * 30)
      }. It is a ${nature} ${kind} for ${purpose}.`,
      `If you need ${purpose}, ${name} does it: a ${nature} ${kind} that ${pick(PEOPLE)} wrote in ${pick(LANGUAGES)}.`,
      `This ${nature} ${kind} is meant for ${purpose}. It is written in ${pick(LANGUAGES)} and called ${name}.`,
      `${pick(PEOPLE)} and friends made ${name}, a ${kind} for ${purpose}. It is ${nature} and needs no ${
        pick(LANGUAGES)
      }.`,
    ]);
    return { document, summary: `${nature} ${kind} for ${purpose}` };
  });
}

/** Rows to learn and rows to test: of a folder with train.jsonl and test.jsonl, of a file, or made here. */
export async function summaryRows(
  path: string | undefined,
): Promise<{ readonly rows: readonly SummaryRow[]; readonly held: readonly SummaryRow[] }> {
  if (path !== undefined && (await Deno.stat(path)).isDirectory) {
    return { rows: await readRows(`${path}/train.jsonl`), held: await readRows(`${path}/test.jsonl`) };
  }
  const rows = path === undefined ? packageRows(1600) : await readRows(path);
  return { rows: rows.filter((_, i) => i % 16 !== 0), held: rows.filter((_, i) => i % 16 === 0) };
}

async function readRows(file: string): Promise<SummaryRow[]> {
  const rows: SummaryRow[] = [];
  for await (const { value: { document, summary }, line } of readJsonl(file)) {
    if (typeof document !== "string" || typeof summary !== "string") {
      throw new TypeError(`Cannot use line ${line} of ${file} as it has no texts "document" and "summary"`);
    }
    rows.push({ document, summary });
  }
  return rows;
}
