// Help, made from the same fields that read the settings.
import type { Entry } from "./command.ts";
import { type Field, flagName } from "./settings.ts";

/** Letters of a help line's first column, unless it is longer. */
const COLUMN = 38;

/** The help of one command. */
export function commandHelp({ name, summary, schema, operands, examples }: Entry): string {
  const options = Object.entries(schema).map(([key, field]) => line(option(key, field), describe(field)));
  return [
    `Usage: deno task ${name} [options]${operands ? ` ${operands.name}` : ""}`,
    "",
    summary,
    "",
    ...(operands ? [line(operands.name, operands.help), ""] : []),
    "Options:",
    ...options,
    line("-h, --help", "print this"),
    "",
    "Examples:",
    ...examples.map((example) => `  ${example}`),
    "",
    "Exit codes: 0 done, 1 failed, 2 wrong usage.",
  ].join("\n");
}

/** The help without a command. */
export function overview(entries: Iterable<Entry>): string {
  return [
    "Graft fine-tunes transformers with low-rank adapters through WebGPU.",
    "",
    "Usage: deno task COMMAND [options]",
    "",
    "Commands:",
    ...[...entries].map(({ name, summary }) => `  ${name.padEnd(12)}${summary}`),
    "",
    "Every command has --help with examples, and --json.",
  ].join("\n");
}

function option(name: string, { placeholder }: Field<unknown>): string {
  return `--${flagName(name)}${placeholder === "" ? "" : ` ${placeholder}`}`;
}

function describe(field: Field<unknown>): string {
  const { help, required, default: value } = field;
  if (required) return `${help} (must be given)`;
  const shown = Array.isArray(value) ? value.join(",") : value;
  return shown === undefined || shown === false || shown === "" ? help : `${help} (${shown})`;
}

function line(left: string, right: string): string {
  const padded = `  ${left}`.padEnd(COLUMN);
  return padded.length > COLUMN ? `${padded}\n${" ".repeat(COLUMN)}${right}` : `${padded}${right}`;
}
