// `inspect`: what a file or folder holds, and what is wrong with it. It opens no device.
import { printable } from "../core/errors.ts";
import { statOrUndefined } from "../io/files.ts";
import { resolveModelFolder } from "../io/hub_cache.ts";
import { refuse } from "./arguments.ts";
import { defineCommand, type Entry, printableText } from "./command.ts";
import type { Findings } from "./findings.ts";
import { plural } from "./format.ts";
import { inspectAdapter } from "./inspect_adapter.ts";
import { inspectModel } from "./inspect_model.ts";
import { inspectTensors } from "./inspect_tensors.ts";
import { pathProblems } from "./paths.ts";
import { flag, path } from "./settings.ts";
import type { Terminal } from "./terminal.ts";

const schema = {
  model: path("model folder that an adapter is to fit", { placeholder: "DIR" }),
  all: flag("list all tensors"),
  values: flag("read all weights and report values that are not finite"),
};

/** Tensors listed without --all. */
const LISTED = 12;

/** The command. */
export const inspect: Entry = defineCommand({
  name: "inspect",
  summary: "Prints what a safetensors file, model or adapter holds, and what is wrong with it.",
  schema,
  operands: { name: "PATH", help: "a .safetensors file, a model folder or an adapter folder", min: 1, max: 1 },
  examples: [
    "deno task inspect models/smollm2",
    "deno task inspect out --model models/smollm2",
    "deno task inspect model.safetensors --all --json",
  ],
  async run(settings, { operands, terminal }) {
    const { all, values } = settings, target = await resolveModelFolder(operands[0]!);
    const model = settings.model === undefined ? undefined : await resolveModelFolder(settings.model);
    refuse("usage/path", [
      ...await pathProblems("PATH", target, "any"),
      ...await pathProblems("--model", model, "folder"),
    ]);
    const findings = await look(target.replace(/(?<=.)\/+$/, ""), { model, values });
    show(terminal, findings, { path: target, all });
    terminal.result({ path: target, ...findings, facts: Object.fromEntries(findings.facts) });
    return findings.problems.length === 0 ? 0 : 1;
  },
});

async function look(
  path: string,
  { model, values }: { readonly model: string | undefined; readonly values: boolean },
): Promise<Findings> {
  const info = await statOrUndefined(path);
  if (info?.isDirectory) {
    if (await statOrUndefined(`${path}/adapter_config.json`)) return inspectAdapter(path, { model });
    if (await statOrUndefined(`${path}/config.json`)) return inspectModel(path, { values });
    return unknown("the folder has neither config.json (a model) nor adapter_config.json (an adapter)");
  }
  return path.endsWith(".safetensors")
    ? inspectTensors(path, { values })
    : unknown("the file is no .safetensors file; other formats are not read yet");
}

function unknown(problem: string): Findings {
  return { kind: "unknown", facts: [], tensors: [], problems: [problem], warnings: [] };
}

function show(
  terminal: Terminal,
  { kind, facts, tensors, problems, warnings }: Findings,
  { path, all }: { readonly path: string; readonly all: boolean },
): void {
  const { bold, good, bad } = terminal.style;
  terminal.say(`${bold(printable(path))}: ${kind === "unknown" ? "not recognized" : kind}`);
  const width = Math.max(0, ...facts.map(([name]) => name.length)) + 2;
  for (const [name, value] of facts) terminal.say(`  ${name.padEnd(width)}${printableText(value)}`);
  for (const { name, dtype, shape } of all ? tensors : tensors.slice(0, LISTED)) {
    terminal.say(`    ${printable(name)}  ${dtype} [${shape.join(", ")}]`);
  }
  if (!all && tensors.length > LISTED) terminal.say(`    … and ${tensors.length - LISTED} more (--all)`);
  for (const warning of warnings) terminal.say(`  warning: ${printableText(warning)}`);
  if (problems.length === 0) terminal.say(good("  nothing is wrong with it"));
  else terminal.say(bad(`  ${plural(problems.length, "problem")}:`));
  for (const problem of problems) terminal.say(bad(`  - ${printableText(problem)}`));
}
