// From labels as rows write them to classes: names in a fixed order, or numbers.
import { DataError, printable } from "../core/errors.ts";
import type { RawLabel } from "./task_rows.ts";

/** What a row is classified as: `problem_type` of a config.json. */
export type ProblemType = "single_label_classification" | "multi_label_classification" | "regression";

/** All of them. */
export const PROBLEM_TYPES: readonly ProblemType[] = [
  "single_label_classification",
  "multi_label_classification",
  "regression",
];

/** The labels of a data set. */
export interface LabelSet {
  readonly kind: ProblemType;
  /** Names in the order of their ids. */
  readonly names: readonly string[];
  /** The class, memberships or numbers of one row, or why it has none. */
  encode(raw: RawLabel): number | readonly number[] | string;
}

/** Options of {@linkcode labelSet}. */
export interface LabelOptions {
  /** The names, where they are known, such as those of a model. */
  readonly names?: readonly string[] | undefined;
  readonly kind?: ProblemType | undefined;
}

/** Most classes that numbers can mean: more is likely an error. */
const MOST_CLASSES = 10_000;

/**
 * The labels of rows. Texts are names, in alphabetical order where none is given; whole numbers from 0 are ids; other
 * numbers a regression; lists of names, or of 0 and 1, several labels.
 */
export function labelSet(labels: readonly RawLabel[], { names, kind }: LabelOptions = {}): LabelSet {
  const chosen = kind ?? kindOf(labels, names);
  if (chosen === "regression") {
    const width = names?.length ?? widthOf(labels);
    return { kind: chosen, names: names ?? numbered(width), encode: (raw) => numbersOf(raw, width) };
  }
  const known = names ?? namesOf(labels);
  const ids = new Map(known.map((name, id) => [name, id]));
  const idOf = (raw: string | number): number | string => {
    const id = ids.get(String(raw)) ?? (typeof raw === "number" ? raw : undefined);
    if (id !== undefined && Number.isInteger(id) && id >= 0 && id < known.length) return id;
    return `${printable(JSON.stringify(raw))} is none of the labels ${shown(known)}`;
  };
  return {
    kind: chosen,
    names: known,
    encode(raw) {
      if (chosen === "single_label_classification") {
        return typeof raw === "object" ? "one label is needed, not a list" : idOf(raw);
      }
      return typeof raw === "object" ? membershipsOf(raw, known.length, idOf) : "a list of labels is needed";
    },
  };
}

function kindOf(labels: readonly RawLabel[], names: readonly string[] | undefined): ProblemType {
  if (labels.some((label) => typeof label === "object")) {
    const vector = (raw: RawLabel) => typeof raw === "object" && raw.every((x) => typeof x === "number");
    const fractions = labels.some((raw) =>
      typeof raw === "object" && raw.some((x) => typeof x === "number" && !isBit(x))
    );
    return labels.every(vector) && fractions ? "regression" : "multi_label_classification";
  }
  const isClass = (x: RawLabel) => typeof x === "string" || (Number.isInteger(x) && (x as number) >= 0);
  return labels.every(isClass) && names?.length !== 1 ? "single_label_classification" : "regression";
}

function namesOf(labels: readonly RawLabel[]): string[] {
  const all = labels.flat();
  const texts = all.filter((raw) => typeof raw === "string");
  if (texts.length > 0) return [...new Set(all.map(String))].sort((a, b) => a < b ? -1 : a > b ? 1 : 0);
  const lists = labels.filter((raw) => typeof raw === "object");
  if (lists.length > 0) return numbered(Math.max(...lists.map((list) => list.length)));
  return numbered(Math.min(MOST_CLASSES, 1 + Math.max(1, ...all as number[])));
}

function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `LABEL_${i}`);
}

function widthOf(labels: readonly RawLabel[]): number {
  return Math.max(1, ...labels.map((raw) => typeof raw === "object" ? raw.length : 1));
}

function numbersOf(raw: RawLabel, width: number): number | readonly number[] | string {
  const list = typeof raw === "object" ? raw : [raw];
  if (list.length !== width || !list.every((x) => typeof x === "number")) return `${width} numbers are needed`;
  return width === 1 ? list[0] as number : list as number[];
}

function membershipsOf(
  raw: readonly (string | number)[],
  count: number,
  idOf: (raw: string | number) => number | string,
): readonly number[] | string {
  if (raw.length === count && raw.every((x) => typeof x === "number" && isBit(x))) return raw as number[];
  const row: number[] = new Array(count).fill(0);
  for (const name of raw) {
    const id = typeof name === "number" ? "a list of numbers has a 0 or 1 for each label" : idOf(name);
    if (typeof id === "string") return id;
    row[id] = 1;
  }
  return row;
}

function isBit(x: number): boolean {
  return x === 0 || x === 1;
}

function shown(names: readonly string[]): string {
  const some = names.slice(0, 5).map((name) => printable(JSON.stringify(name))).join(", ");
  return names.length > 5 ? `${some} and ${names.length - 5} more` : some;
}

/**
 * The error of a row whose label means nothing.
 *
 * @param why What {@linkcode LabelSet.encode} returned.
 */
export function labelError(why: string, place: { readonly path: string; readonly line: number }): DataError {
  return new DataError("data/label", `Cannot use a row as ${why}`, place);
}
