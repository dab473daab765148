// From the words of a command line, and a settings file, to settings. Flags win over the file, the file over presets,
// presets over defaults. All problems are found before anything is done, and told in one error.
// @ts-types="./parse_args.d.ts"
import { parseArgs } from "@std/cli/parse-args";
import { printable, UsageError } from "../core/errors.ts";
import { nearest } from "./nearest.ts";
import { type Field, flagName, keyName, quoted, type Schema, type Settings } from "./settings.ts";

/** Words of a command line, sorted. */
export interface Words {
  /** Raw values by the names of the settings. */
  readonly given: ReadonlyMap<string, unknown>;
  /** Arguments that are no flags. */
  readonly rest: readonly string[];
  /** What is wrong with them. */
  readonly problems: readonly string[];
}

/** Settings that were given, those of the schema's defaults left out. */
export type Given<S extends Schema> = Partial<Settings<S>>;

/** Sort the words of a command line; values are not read yet. */
export function readWords(schema: Schema, args: readonly string[]): Words {
  const problems: string[] = [];
  const names = new Map(Object.keys(schema).map((name) => [flagName(name), name]));
  const switches = [...names].filter(([, name]) => isSwitch(schema[name]!)).map(([flag]) => flag);
  const valued = [...names.keys()].filter((flag) => !switches.includes(flag));
  const parsed = parseArgs(joinNegative(args, valued), {
    boolean: [...switches, "help"],
    negatable: switches,
    string: [...valued, "_"],
    collect: valued,
    alias: { h: "help" },
    unknown: (argument, key) => {
      if (key === undefined) return true;
      problems.push(unknownFlag(argument, [...names.keys(), "help"]));
      return false;
    },
  });
  for (const argument of args) {
    const [, flag = "", value] = /^--([^=]+)=(.*)$/s.exec(argument) ?? [];
    if (switches.includes(flag) && value !== "true" && value !== "false") {
      problems.push(`--${flag} must be true or false: received ${quoted(value)}`);
    }
  }
  const given = new Map<string, unknown>();
  for (const flag of valued) {
    const values = parsed[flag] as readonly string[];
    const several = schema[names.get(flag)!]!.several === true;
    if (values.length > 1 && !several) problems.push(`--${flag} is given ${values.length} times`);
    else if (values.includes("")) problems.push(`--${flag} needs a value`);
    else if (values.length > 0) given.set(names.get(flag)!, several ? values : values[0]);
  }
  for (const flag of switches) {
    if (args.some((word) => new RegExp(`^--(no-)?${flag}(=.*)?$`, "s").test(word))) {
      given.set(names.get(flag)!, parsed[flag]);
    }
  }
  return { given, rest: parsed._, problems };
}

/** Read raw values by the schema. `place` says where a setting was given, such as `"--rank"`. */
export function readValues<S extends Schema>(
  schema: S,
  raw: ReadonlyMap<string, unknown>,
  place: (name: string) => string,
): { readonly given: Given<S>; readonly problems: readonly string[] } {
  const given: Record<string, unknown> = {};
  const problems: string[] = [];
  for (const [name, value] of raw) {
    const reading = schema[name]!.read(value);
    if ("must" in reading) problems.push(`${place(name)} must be ${reading.must}: received ${quoted(value)}`);
    else given[name] = reading.value;
  }
  return { given: given as Given<S>, problems };
}

/** Raw values of a settings file by the names of the settings; null counts as not given. */
export function readKeys(
  schema: Schema,
  file: unknown,
): { readonly raw: ReadonlyMap<string, unknown>; readonly problems: readonly string[] } {
  if (file === null) return { raw: new Map(), problems: [] };
  if (typeof file !== "object" || Array.isArray(file)) {
    return { raw: new Map(), problems: ["the settings file must hold lines such as `rank: 8`"] };
  }
  const names = new Map(Object.keys(schema).map((name) => [keyName(name), name]));
  const raw = new Map<string, unknown>();
  const problems: string[] = [];
  for (const [key, value] of Object.entries(file)) {
    const name = names.get(key);
    const meant = nearest(key, names.keys());
    if (name !== undefined && value !== null) raw.set(name, value);
    if (name !== undefined) continue;
    problems.push(`unknown setting ${printable(key)}${meant === undefined ? "" : `: did you mean ${meant}?`}`);
  }
  return { raw, problems };
}

/**
 * Settings that are given, preset or left at their defaults.
 *
 * @throws {UsageError} `usage/required` naming those that must be given.
 */
export function complete<S extends Schema>(schema: S, given: Given<S>, presets: Given<S> = {}): Settings<S> {
  const missing = Object.keys(schema).filter((name) => schema[name]!.required && given[name] === undefined);
  refuse("usage/required", missing.map((name) => `--${flagName(name)} must be given: ${schema[name]!.help}`));
  const entries = Object.entries(schema).map(([name, { default: value }]) =>
    [name, given[name] ?? presets[name] ?? value] as const
  );
  return Object.fromEntries(entries) as Settings<S>;
}

/**
 * Throw if there are problems.
 *
 * @throws {UsageError} with all of them.
 */
export function refuse(code: string, problems: readonly string[], hint = "See --help."): void {
  const [first, ...more] = problems;
  if (first === undefined) return;
  const list = more.length === 0 ? ` ${first}` : `\n${problems.map((problem) => `  - ${problem}`).join("\n")}`;
  throw new UsageError(code, `Cannot understand the command:${list}`, { hint });
}

/** Whether a field is a switch, which takes no value. */
export function isSwitch({ placeholder }: Field<unknown>): boolean {
  return placeholder === "";
}

function unknownFlag(argument: string, flags: readonly string[]): string {
  const [typed = ""] = argument.split("=");
  const meant = nearest(typed.replace(/^-+/, "").replace(/^no-/, ""), flags);
  return `unknown option ${printable(typed)}${meant === undefined ? "" : `: did you mean --${meant}?`}`;
}

/** `--rate -1` as `--rate=-1`: a number may start with the sign that options start with. */
function joinNegative(args: readonly string[], valued: readonly string[]): string[] {
  const joined: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const word = args[i]!, next = args[i + 1];
    const takes = word.startsWith("--") && valued.includes(word.slice(2));
    if (takes && next !== undefined && /^-[\d.]/.test(next)) joined.push(`${word}=${args[++i]}`);
    else joined.push(word);
  }
  return joined;
}
