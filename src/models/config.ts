// Reading config.json: every problem of a file in one throw.
import { ConfigError, printable } from "../core/errors.ts";

/** A parsed config.json. */
export type Json = Readonly<Record<string, unknown>>;

/** Collects what is wrong while fields are read. */
export interface ConfigReader {
  /** A whole number in [min, max]. */
  count(field: string, options?: { readonly fallback?: number; readonly min?: number; readonly max?: number }): number;
  /** A finite number. */
  number(field: string, fallback?: number): number;
  /** A number above 0. */
  positive(field: string, fallback: number): number;
  /** Whether the field is there and says null. */
  isNull(field: string): boolean;
  /** True or false. */
  flag(field: string, fallback: boolean): boolean;
  /** One of the names in `known`. */
  choice<T extends string>(field: string, known: readonly T[], fallback: T): T;
  /** Note a problem of a field. */
  problem(field: string, text: string): void;
  /** Throw what was noted. */
  finish(): void;
}

/** Largest layer count, width and vocabulary that is believed: larger ones are typing errors. */
const LARGEST = 2 ** 24;

/** Start reading `config`; the code of the error names the first field that is wrong. */
export function readConfig(config: Json): ConfigReader {
  const problems: { field: string; text: string }[] = [];
  const problem = (field: string, text: string) => void problems.push({ field, text });
  const given = (field: string) => Object.hasOwn(config, field) && config[field] !== null ? config[field] : undefined;
  const show = (value: unknown) => value === undefined ? "nothing" : printable(JSON.stringify(value));
  return {
    count(field, { fallback, min = 1, max = LARGEST } = {}) {
      const value = given(field) ?? fallback;
      if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) return value;
      problem(field, `must be a whole number in [${min}, ${max}]: received ${show(value)}`);
      return min;
    },
    number(field, fallback) {
      const value = given(field) ?? fallback;
      if (typeof value === "number" && Number.isFinite(value)) return value;
      problem(field, `must be a number: received ${show(value)}`);
      return 1;
    },
    positive(field, fallback) {
      const value = given(field) ?? fallback;
      if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
      problem(field, `must be a number above 0: received ${show(value)}`);
      return 1;
    },
    isNull: (field) => Object.hasOwn(config, field) && config[field] === null,
    flag(field, fallback) {
      const value = given(field) ?? fallback;
      if (typeof value === "boolean") return value;
      problem(field, `must be true or false: received ${show(value)}`);
      return fallback;
    },
    choice(field, known, fallback) {
      const value = given(field) ?? fallback;
      const found = known.find((name) => name === value);
      if (found === undefined) problem(field, `must be one of ${known.join(", ")}: received ${show(value)}`);
      return found ?? fallback;
    },
    problem,
    finish() {
      const [first] = problems;
      if (first) {
        throw new ConfigError(
          `config/${first.field}`,
          "config.json",
          problems.map(({ field, text }) => `"${field}" ${text}`),
        );
      }
    },
  };
}
