// The learning rates of methods that are told none: in the table, on the command line, and in `train`.
import { assert, assertEquals } from "@std/assert";
import { LEARNING_RATES } from "../../src/adapters/defaults.ts";
import { defaultRate } from "../../src/adapters/rates.ts";
import { finetune } from "../../src/cli/finetune.ts";
import { methodConfig, methodFields, METHODS, type MethodSettings } from "../../src/cli/method_settings.ts";
import { createTerminal, type Stream } from "../../src/cli/terminal.ts";
import { GPT2, randomWeights, writeModel } from "../models/folder.ts";
import { withFolder } from "../temp_folder.ts";
import { asciiTokenizer } from "./harness.ts";

const defaults = Object.fromEntries(Object.entries(methodFields).map(([name, field]) => [name, field.default]));
const configOf = (given: Partial<MethodSettings>) => methodConfig({ ...defaults, ...given } as MethodSettings);

Deno.test("rates: the table holds for wide models; narrower ones get more, up to ten times", () => {
  for (const method of METHODS) {
    const config = configOf({ method });
    assertEquals(defaultRate(config, 1280), LEARNING_RATES[method], method);
    assertEquals(defaultRate(config, 4096), LEARNING_RATES[method], method);
    assertEquals(defaultRate(config, 128), Number((10 * LEARNING_RATES[method]).toPrecision(2)), method);
    assertEquals(defaultRate(config, 16), defaultRate(config, 128), method);
  }
  // 1280 / 768 · 2e-4 = 3.33e-4, 1280 / 576 · 5e-3 = 1.11e-2
  assertEquals([defaultRate(configOf({}), 768), defaultRate(configOf({ method: "ia3" }), 576)], [3.3e-4, 1.1e-2]);
  // Layers that make the vectors learn like those of P-tuning, not like the vectors.
  const projected = configOf({ method: "prefix-tuning", prefixProjection: true });
  assertEquals(defaultRate(projected, 1280), LEARNING_RATES["p-tuning"]);
});

/** What a dry run prints. */
async function dryRun(args: readonly string[]): Promise<string> {
  let text = "";
  const stream: Stream = { terminal: false, write: (piece) => void (text += piece) };
  const { run } = await finetune.prepare([...args, "--dry-run"]);
  const code = await run(
    createTerminal({ json: false, plain: true, stdout: stream, stderr: stream }),
    new AbortController().signal,
  );
  assertEquals(code, 0, text);
  return text;
}

Deno.test("rates: finetune --dry-run prints that of every method, and writes it into the settings", () =>
  withFolder(async (folder) => {
    const config = { ...GPT2, vocab_size: 99 };
    await writeModel(`${folder}/model`, config, randomWeights(config));
    await Deno.writeTextFile(`${folder}/model/tokenizer.json`, JSON.stringify(asciiTokenizer()));
    await Deno.writeTextFile(`${folder}/rows.txt`, "one\n\ntwo\n\nthree");
    const job = ["--model", `${folder}/model`, "--data", `${folder}/rows.txt`, "--output", `${folder}/out`];
    const rates = METHODS.map((method) => [method, defaultRate(configOf({ method }), config.n_embd)] as const);
    for (const [method, rate] of rates) {
      const text = await dryRun([...job, "--method", method]);
      assert(text.includes(`; learning rate ${rate}\n`) && text.includes(`\nlearning_rate: ${rate}\n`), text);
    }
    const told = await dryRun([...job, "--method", "ia3", "--learning-rate", "0.125"]);
    assert(told.includes("; learning rate 0.125\n"), told);
  }));
