// Settings of commands. One field gives the type, default, range, help line, flag and key of a setting at once:
// `learningRate` is the flag --learning-rate, and the key learning_rate of a settings file.
import { printable } from "../core/errors.ts";

/** What reading a value gives: the value, or what it must be. */
export type Reading<T> = { readonly value: T } | { readonly must: string };

/** One setting. */
export interface Field<T> {
  /** Used where the setting is not given. */
  readonly default: T;
  /** One line. */
  readonly help: string;
  /** What stands for the value in the help, such as `"N"`; empty for a switch. */
  readonly placeholder: string;
  /** Whether it must be given. */
  readonly required: boolean;
  /** Whether it belongs to one call and is left out of the settings file of a run. */
  readonly transient: boolean;
  /** Whether the flag may be given several times; `read` then gets a list. */
  readonly several?: boolean;
  /** Read a value from a flag (text, or a boolean for a switch) or from a settings file. */
  readonly read: (raw: unknown) => Reading<NonNullable<T>>;
}

/** The settings of a command by name, in the order of the help. */
export type Schema = Readonly<Record<string, Field<unknown>>>;

/** The values that a schema describes. */
export type Settings<S extends Schema> = { readonly [K in keyof S]: S[K] extends Field<infer T> ? T : never };

/** Options of every field. */
export interface FieldOptions<D> {
  /** Used where the setting is not given. */
  readonly default?: D;
  /** What stands for the value in the help. */
  readonly placeholder?: string;
  /** See {@linkcode Field.transient}. */
  readonly transient?: boolean;
}

/** Options of a number: the range. */
export interface NumberOptions<D> extends FieldOptions<D> {
  /** Smallest value. */
  readonly min?: number;
  /** Values must be above this. */
  readonly above?: number;
  /** Largest value. */
  readonly max?: number;
  /** Values must be below this. */
  readonly below?: number;
}

function field<T, D>(
  help: string,
  { default: value, placeholder = "", transient = false }: FieldOptions<D>,
  read: (raw: unknown) => Reading<NonNullable<T>>,
): Field<T | D> {
  return { default: value as D, help, placeholder, required: false, transient, read: read as Field<T | D>["read"] };
}

/** A number in decimal or scientific notation. */
export function real<D extends number | undefined = undefined>(
  help: string,
  options: NumberOptions<D> = {},
): Field<number | D> {
  return field<number, D>(help, { placeholder: "X", ...options }, (raw) => number(raw, options, "a number"));
}

/** A whole number. */
export function count<D extends number | undefined = undefined>(
  help: string,
  options: NumberOptions<D> = {},
): Field<number | D> {
  return field<number, D>(help, { placeholder: "N", ...options }, (raw) => {
    const reading = number(raw, options, "a whole number");
    return "must" in reading || Number.isSafeInteger(reading.value) ? reading : { must: "a whole number" };
  });
}

/** One of some words. */
export function choice<const W extends string, D extends W | undefined = undefined>(
  help: string,
  words: readonly W[],
  options: FieldOptions<D> = {},
): Field<W | D> {
  return field<W, D>(help, { placeholder: words.join("|"), ...options }, (raw) => {
    const found = words.find((word) => word === raw);
    return found === undefined ? { must: `one of ${words.join(", ")}` } : { value: found as NonNullable<W> };
  });
}

/** A switch: `--packing`, `--no-packing`; true or false in a file. */
export function flag(help: string, options: { readonly transient?: boolean } = {}): Field<boolean> {
  return field<boolean, boolean>(help, { ...options, default: false }, (raw) => {
    return typeof raw === "boolean" ? { value: raw } : { must: "true or false" };
  });
}

/** Any text that is not empty. */
export function text<D extends string | undefined = undefined>(
  help: string,
  options: FieldOptions<D> = {},
): Field<string | D> {
  return field<string, D>(help, { placeholder: "TEXT", ...options }, (raw) => {
    return typeof raw === "string" && raw !== "" ? { value: raw } : { must: "text" };
  });
}

/** A file or folder. */
export function path<D extends string | undefined = undefined>(
  help: string,
  options: FieldOptions<D> = {},
): Field<string | D> {
  return field<string, D>(help, { placeholder: "PATH", ...options }, (raw) => {
    if (typeof raw !== "string" || raw.trim() === "") return { must: "a path" };
    return raw.includes("\0") ? { must: "a path without zero bytes" } : { value: raw };
  });
}

/** Words parted by commas, or a list in a file. */
export function list(help: string, options: FieldOptions<readonly string[]> = {}): Field<readonly string[]> {
  return field<readonly string[], readonly string[]>(help, { placeholder: "A,B", default: [], ...options }, (raw) => {
    const words = typeof raw === "string" ? raw.split(",").map((word) => word.trim()) : raw;
    const usable = Array.isArray(words) && words.every((word) => typeof word === "string" && word !== "");
    return usable ? { value: words } : { must: "words parted by commas" };
  });
}

/** Files or folders: one for each time that the flag is given, or a list in a file. */
export function paths(
  help: string,
  options: FieldOptions<readonly string[] | undefined> = {},
): Field<readonly string[] | undefined> {
  const one = path("").read;
  const settings = { placeholder: "PATH", ...options };
  const made = field<readonly string[], readonly string[] | undefined>(help, settings, (raw) => {
    const list = Array.isArray(raw) ? raw : [raw];
    const wrong = list.map(one).find((reading) => "must" in reading);
    return wrong && "must" in wrong ? wrong : { value: list };
  });
  return { ...made, several: true };
}

/** The field, which must then be given. */
export function required<T>(optional: Field<T | undefined>): Field<T> {
  return { ...optional, required: true } as unknown as Field<T>;
}

/** `learningRate` → `learning-rate`. */
export function flagName(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** `learningRate` → `learning_rate`. */
export function keyName(name: string): string {
  return flagName(name).replaceAll("-", "_");
}

/** The range as a sentence continues: "from 0", "above 0 and below 1"; empty without limits. */
export function range({ min, above, max, below }: NumberOptions<unknown>): string {
  if (min !== undefined && max !== undefined) return `from ${min} to ${max}`;
  return [
    ...(min === undefined ? [] : [`of at least ${min}`]),
    ...(above === undefined ? [] : [`above ${above}`]),
    ...(max === undefined ? [] : [`of at most ${max}`]),
    ...(below === undefined ? [] : [`below ${below}`]),
  ].join(" and ");
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

function number(raw: unknown, options: NumberOptions<unknown>, what: string): Reading<number> {
  const limits = range(options);
  const must = limits === "" ? what : `${what} ${limits}`;
  const value = typeof raw === "number" ? raw : typeof raw === "string" && NUMBER.test(raw) ? Number(raw) : NaN;
  const { min = -Infinity, above = -Infinity, max = Infinity, below = Infinity } = options;
  const fits = Number.isFinite(value) && value >= min && value > above && value <= max && value < below;
  return fits ? { value } : { must };
}

/** A value as it was written, for messages. */
export function quoted(raw: unknown): string {
  const written = typeof raw === "string" ? `"${raw}"` : typeof raw === "number" ? String(raw) : JSON.stringify(raw);
  return printable(written.length > 80 ? `${written.slice(0, 80)}…` : written);
}
