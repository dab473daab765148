// Running other programs: their output, or why there is none.
import { UsageError } from "../mod.ts";

/** Options of {@linkcode command}. */
export interface CommandOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly seconds?: number;
}

/**
 * What a program prints.
 *
 * @throws {UsageError} `bench/peer` if it cannot be started, fails or takes too long, with the end of its messages.
 */
export async function command(
  name: string,
  args: readonly string[],
  { cwd, env = {}, seconds = 300 }: CommandOptions,
): Promise<string> {
  const fail = (why: string) => new UsageError("bench/peer", `Cannot run ${name} ${args.join(" ")}: ${why}`);
  const limit = AbortSignal.timeout(1000 * seconds);
  try {
    const process = new Deno.Command(name, { args: [...args], cwd, env, stdin: "null", signal: limit });
    const { success, code, stdout, stderr } = await process.output();
    if (success) return new TextDecoder().decode(stdout);
    if (limit.aborted) throw fail(`it took more than ${seconds} s`);
    throw fail(`exit code ${code}: ${lastLines(new TextDecoder().decode(stderr))}`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) throw fail("it is not installed");
    throw error;
  }
}

/** The end of a program's messages, without the escapes of a terminal. */
export function lastLines(text: string, length = 300): string {
  // deno-lint-ignore no-control-regex
  return text.replace(/\x1b\[[\d;]*m/g, "").trim().slice(-length).replace(/\s+/g, " ");
}

/** What a script of a peer reports: milliseconds and loss of every step. */
export interface Measured {
  readonly ms: readonly number[];
  readonly losses: readonly number[];
  readonly dispatches?: number;
  readonly note?: string;
}

/**
 * The report on the last line of what a script printed, or `before` lines above it.
 *
 * @throws {UsageError} `bench/peer` if there is none.
 */
export function parseMeasured(text: string, before = 0): Measured {
  const line = text.trim().split("\n").at(-1 - before) ?? "";
  try {
    const found: Measured = JSON.parse(line);
    if (found.ms.length > 0 && found.ms.length === found.losses.length) return found;
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error;
  }
  throw new UsageError("bench/peer", `Cannot read the report of a peer: it printed ${JSON.stringify(lastLines(text))}`);
}

/** Whether there is a file or folder. */
export async function exists(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)) !== undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
