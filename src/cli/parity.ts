// `parity`: reference cases run through the library, one JSON line each with the errors found.
import { closeDevice, openDevice } from "../gpu/device.ts";
import { shorten } from "./paths.ts";
import { defineCommand, type Entry, printableText, report } from "./command.ts";
import { type CaseReport, runCase } from "./parity_case.ts";
import { flag } from "./settings.ts";

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
    const device = await openDevice({ requireGpu });
    let failed = 0;
    try {
      for (const folder of operands) {
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
    if (operands.length > 1) {
      const where = printableText(shorten(operands[0]!));
      terminal.note(`${operands.length - failed} of ${operands.length} cases are ok (the first is ${where})`);
    }
    return failed === 0 ? 0 : 1;
  },
});
