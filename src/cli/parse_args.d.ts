/** What `parseArgs` of Deno's standard library is asked for here: the npm copy has no types. */
export interface ParseArgsOptions {
  /** Flags without a value. */
  readonly boolean: readonly string[];
  /** Flags with a value, kept as text. */
  readonly string: readonly string[];
  /** Flags whose values are collected in a list. */
  readonly collect: readonly string[];
  /** Flags that `--no-…` sets to false. */
  readonly negatable: readonly string[];
  /** Short names. */
  readonly alias: Readonly<Record<string, string>>;
  /** Asked about every argument that is no known flag; `false` leaves it out. */
  readonly unknown: (argument: string, key?: string) => boolean;
}

/** Flags and, under `_`, the other arguments. */
export function parseArgs(
  args: readonly string[],
  options: ParseArgsOptions,
): { readonly [flag: string]: unknown; readonly _: readonly string[] };
