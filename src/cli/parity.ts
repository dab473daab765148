// `parity`: reference cases run through the library, one JSON line each with the errors found.
import { printable } from "../core/errors.ts";
import { closeDevice, openDevice } from "../gpu/device.ts";
import { statOrUndefined } from "../io/files.ts";
import { refuse } from "./arguments.ts";
import { defineCommand, type Entry, report } from "./command.ts";
import { plural } from "./format.ts";
import { type CaseReport, runCase } from "./parity_case.ts";
import { pathProblems } from "./paths.ts";
import { flag } from "./settings.ts";
import type { Terminal } from "./terminal.ts";

/** The command. */
export const parity: Entry = defineCommand({
  name: "parity",
  summary: "Runs reference cases (computed with PyTorch, transformers and PEFT) and reports the errors.",
  schema: { requireGpu: flag("refuse a software driver") },
  operands: {
    name: "CASE_DIR…",
    help: "folders with case.json, expected.safetensors and model/",
    min: 1,
    max: Infinity,
  },
  examples: ["deno task parity ../shared/fixtures/llama-lora", "deno task parity ../shared/fixtures/*"],
  async run({ requireGpu }, { operands, terminal, signal }) {
    const folders = await caseFolders(operands, terminal);
    const device = await openDevice({ requireGpu });
    let failed = 0;
    try {
      for (const folder of folders) {
        const name = folder.replace(/[\\/]+$/, "").split(/[\\/]/).at(-1)!;
        let line: CaseReport | { readonly error: string; readonly ok: false };
        try {
          line = await runCase(device, folder);
        } catch (error) {
          const { text } = report(error);
          line = { error: text.split("\n").map((part) => part.trim()).join(" "), ok: false };
        }
        if (!line.ok) failed++;
        // The lines are JSON in any case: they are what this command is for.
        const text = JSON.stringify({ case: name, ...line });
        if (terminal.json) terminal.result(JSON.parse(text));
        else terminal.say(text);
        if (signal.aborted) return 130;
      }
    } finally {
      closeDevice(device);
    }
    terminal.note(`${folders.length - failed} of ${plural(folders.length, "case")} ok.`);
    return failed === 0 ? 0 : 1;
  },
});

/** The case folders among paths: a pattern such as `fixtures/*` brings other files along, which are named and left out. */
async function caseFolders(paths: readonly string[], terminal: Terminal): Promise<readonly string[]> {
  const problems: string[] = [], folders: string[] = [];
  for (const path of paths) {
    problems.push(...await pathProblems("CASE_DIR", path, "any"));
    if (await statOrUndefined(`${path}/case.json`)) folders.push(path);
  }
  refuse("usage/path", problems);
  if (folders.length === 0) return paths;
  const others = paths.filter((path) => !folders.includes(path));
  if (others.length > 0) terminal.note(`No cases, left out: ${others.map(printable).join(", ")}`);
  return folders;
}
