/**
 * The command line: `deno task NAME …`.
 *
 * @module
 */
import { UsageError } from "../core/errors.ts";
import { printableText, report } from "./command.ts";
import { commands } from "./commands.ts";
import { commandHelp, overview } from "./help.ts";
import { nearest } from "./nearest.ts";
import { createTerminal } from "./terminal.ts";
import { VERSION } from "./version.ts";

/**
 * Run a command line.
 *
 * @param args The words after the program's name.
 * @returns The exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
 */
export async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  const json = rest.includes("--json");
  const terminal = createTerminal({ json });
  const controller = new AbortController();
  const interrupt = () => {
    // The second time the user has waited long enough.
    if (controller.signal.aborted) Deno.exit(130);
    controller.abort();
    terminal.note("Stopping after this step … (Ctrl-C again stops at once)");
  };
  try {
    if (name === undefined || name === "--help" || name === "-h" || name === "help") {
      terminal.say(overview(commands.values()));
      return name === undefined ? 2 : 0;
    }
    if (name === "--version") {
      terminal.say(`graft ${VERSION} (deno ${Deno.version.deno})`);
      return 0;
    }
    const command = commands.get(name);
    if (!command) throw unknownCommand(name);
    if (beforeDashes(rest).some((word) => word === "--help" || word === "-h")) {
      terminal.say(commandHelp(command));
      return 0;
    }
    const { run } = await command.prepare(rest);
    Deno.addSignalListener("SIGINT", interrupt);
    return await run(terminal, controller.signal);
  } catch (error) {
    const { text, code } = report(error);
    terminal.note(text);
    if (json) terminal.result({ error: { code: codeOf(error), message: text } });
    return code;
  } finally {
    Deno.removeSignalListener("SIGINT", interrupt);
  }
}

function unknownCommand(name: string): UsageError {
  const meant = nearest(name, commands.keys());
  return new UsageError("usage/command", `Cannot run "${printableText(name)}": there is no such command`, {
    hint: meant === undefined ? `Commands: ${[...commands.keys()].join(", ")}.` : `Did you mean ${meant}?`,
  });
}

function beforeDashes(words: readonly string[]): readonly string[] {
  const end = words.indexOf("--");
  return end < 0 ? words : words.slice(0, end);
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "internal";
}

if (import.meta.main) Deno.exitCode = await main(Deno.args);
