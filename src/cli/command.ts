// What a command is: its settings, its help, and a function that runs it.
import { debugLevel } from "../core/env.ts";
import { GraftError, printable, UsageError } from "../core/errors.ts";
import { complete, type Given, readKeys, readValues, readWords, refuse } from "./arguments.ts";
import { type Field, flag, flagName, keyName, type Schema, type Settings } from "./settings.ts";
import { readSettingsFile } from "./settings_file.ts";
import type { Terminal } from "./terminal.ts";

/** Arguments of a command that are no flags. */
export interface Operands {
  /** How the help calls them, such as `"CASE_DIR…"`. */
  readonly name: string;
  /** One line. */
  readonly help: string;
  /** How many there must be. */
  readonly min: number;
  /** How many there may be. */
  readonly max: number;
}

/** What a command may use while it runs. */
export interface Context<S extends Schema> {
  /** Where its words go. */
  readonly terminal: Terminal;
  /** Arguments that are no flags. */
  readonly operands: readonly string[];
  /** Settings that the command line or the settings file gave. */
  readonly given: Given<S>;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

/** A command. */
export interface Command<S extends Schema> {
  readonly name: string;
  /** What it does, in a sentence. */
  readonly summary: string;
  readonly schema: S;
  readonly operands?: Operands;
  /** Command lines that work. */
  readonly examples: readonly string[];
  /** Values that replace defaults, depending on what is given. */
  readonly presets?: (given: Given<S>) => Given<S>;
  /** Run it; the result is the exit code. */
  readonly run: (settings: Settings<S>, context: Context<S>) => Promise<number>;
}

/** A command whose settings have been read. */
export interface Ready {
  /** Run it; the result is the exit code. */
  readonly run: (terminal: Terminal, signal: AbortSignal) => Promise<number>;
}

/** A command for the table of commands, where those of different settings stand side by side. */
export interface Entry {
  readonly name: string;
  readonly summary: string;
  readonly schema: Schema;
  readonly operands: Operands | undefined;
  readonly examples: readonly string[];
  /**
   * Read its settings.
   *
   * @throws {UsageError} with everything that is wrong.
   */
  readonly prepare: (args: readonly string[]) => Promise<Ready>;
}

/** The switch that every command has. */
const JSON_FLAG: Field<boolean> = flag("print the result as JSON on stdout, everything else on stderr", {
  transient: true,
});

/** Make the entry of a command. */
export function defineCommand<S extends Schema>(command: Command<S>): Entry {
  const { name, summary, operands, examples, run, presets = () => ({}) } = command;
  const schema = { ...command.schema, json: JSON_FLAG };
  return {
    name,
    summary,
    schema,
    operands,
    examples,
    async prepare(args) {
      const { given, rest } = await readGiven(schema, operands, args);
      const settings = complete(command.schema, given as Given<S>, presets(given as Given<S>));
      const context = { operands: rest, given: given as Given<S> };
      return { run: (terminal, signal) => run(settings, { ...context, terminal, signal }) };
    },
  };
}

async function readGiven(
  schema: Schema,
  operands: Operands | undefined,
  args: readonly string[],
): Promise<{ readonly given: Given<Schema>; readonly rest: readonly string[] }> {
  const words = readWords(schema, args);
  const flags = readValues(schema, words.given, (name) => `--${flagName(name)}`);
  const problems = [...words.problems, ...flags.problems, ...operandProblems(operands, words.rest)];
  const path = flags.given.config;
  let file: Given<Schema> = {};
  if (typeof path === "string") {
    const keys = readKeys(schema, await readSettingsFile(path));
    const values = readValues(schema, keys.raw, keyName);
    problems.push(...[...keys.problems, ...values.problems].map((problem) => `${printable(path)}: ${problem}`));
    file = values.given;
  }
  refuse("usage/arguments", problems);
  return { given: { ...file, ...flags.given }, rest: words.rest };
}

function operandProblems(operands: Operands | undefined, rest: readonly string[]): string[] {
  const { min = 0, max = 0, name = "" } = operands ?? {};
  if (rest.some((word) => word === "")) return [`${name || "an argument"} must not be empty`];
  if (rest.length < min) return [`${name} must be given: ${operands!.help}`];
  return rest.slice(max).map((word) => `"${printable(word)}" is one argument too many`);
}

/** The line, or lines, that tell a user what went wrong, and the exit code. */
export function report(error: unknown): { readonly text: string; readonly code: 1 | 2 } {
  const stack = debugLevel() >= 1 && error instanceof Error ? `\n${printableText(error.stack ?? "")}` : "";
  if (error instanceof GraftError) {
    return { text: `error[${error.code}]: ${error.message}${stack}`, code: error instanceof UsageError ? 2 : 1 };
  }
  if (error instanceof Deno.errors.NotCapable) {
    const hint = "  Give Deno this permission, or run the command as `deno task` does.";
    return { text: `error[permission]: ${printableText(error.message)}\n${hint}${stack}`, code: 1 };
  }
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const hint = "  This is a bug in Graft, not your mistake. Please report it with the output of DEBUG=1.";
  return { text: `error[internal]: ${printableText(message)}\n${hint}${stack}`, code: 1 };
}

/** Text of several lines with everything else that could steer a terminal escaped. */
export function printableText(text: string): string {
  return text.split(/(\n|\t)/).map((part) => part === "\n" || part === "\t" ? part : printable(part)).join("");
}
