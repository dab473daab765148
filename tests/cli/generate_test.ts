// `generate` as users run it: one prompt, a file of them, and what it refuses.
import { assert, assertEquals } from "@std/assert";
import { graft, makeWorkspace } from "./harness.ts";

Deno.test("cli: generate continues files of prompts in batches as it continues each alone", async () => {
  const { model, adapter, folder, close } = await makeWorkspace();
  try {
    const prompts = ["9 + 9 =", "a", "what is it?", "9 + 9 ="];
    await Deno.writeTextFile(`${folder}/prompts.txt`, `${prompts.join("\n\n")}\n`);
    await Deno.writeTextFile(
      `${folder}/rows.jsonl`,
      prompts.map((prompt) => `${JSON.stringify({ prompt })}\n`).join(""),
    );
    const setting = ["generate", "--model", model, "--adapter", adapter, "--max-new-tokens", "6"];
    const drawn = [...setting, "--temperature", "1.5", "--seed", "7", "--num-return-sequences", "2"];
    const output = `${folder}/texts.jsonl`;
    const [whole, batched, one] = await Promise.all([
      graft([...drawn, "--prompts", `${folder}/prompts.txt`, "--json"]),
      graft([...drawn, "--prompts", `${folder}/rows.jsonl`, "--batch-size", "3", "--output", output, "--verbose"]),
      graft([...drawn, "--prompt", prompts[0]!, "--json"]),
    ]);
    for (const { code, stderr } of [whole, batched, one]) assertEquals(code, 0, stderr);
    const result = JSON.parse(whole.stdout);
    assertEquals(result.texts.map((row: { prompt: string }) => row.prompt), prompts.flatMap((text) => [text, text]));
    assert(result.tokens > 0 && result.tokens <= 48 && result.tokens_per_second > 0);
    const lines = (await Deno.readTextFile(output)).trim().split("\n").map((line) => JSON.parse(line));
    assertEquals(lines, result.texts);
    assert(batched.stdout.includes("8 texts in") && batched.stderr.includes("a second"), batched.stdout);
    assertEquals(JSON.parse(one.stdout).texts, result.texts.slice(0, 2));

    const beams = await graft([
      ...[...setting, "--prompts", `${folder}/prompts.txt`, "--num-beams", "3", "--num-return-sequences", "2"],
      ...["--length-penalty", "0.5", "--early-stopping", "never", "--compare", "--json"],
    ]);
    assertEquals(beams.code, 0, beams.stderr);
    const { texts } = JSON.parse(beams.stdout);
    assertEquals(texts.length, 8);
    assertEquals(texts.slice(0, 2), texts.slice(6));
    assert(texts.every((row: { base: unknown }) => typeof row.base === "string"));
  } finally {
    await close();
  }
});

Deno.test("cli: generate refuses what does not fit together before it loads anything", async () => {
  const { model, folder, close } = await makeWorkspace();
  try {
    await Deno.writeTextFile(`${folder}/rows.jsonl`, '{"prompt": "a"}\n{"answer": "b"}\n');
    const cases: readonly (readonly [readonly string[], string, number])[] = [
      [["--prompt", "a", "--output", `${folder}/x`], "--output needs --prompts", 2],
      [["--prompt", "a", "--num-beams", "2", "--temperature", "1"], "temperature must be 0", 2],
      [["--prompt", "a", "--num-return-sequences", "2"], "needs a temperature or beams", 2],
      [["--prompt", "a", "--min-new-tokens", "200"], "minNewTokens must be", 2],
      [["--prompts", `${folder}/rows.jsonl`], "rows.jsonl", 1],
      [["--prompts", `${folder}/rows.jsonl`, "--output", folder], "it is a folder", 2],
    ];
    const ended = await Promise.all(cases.map(([args]) => graft(["generate", "--model", model, ...args])));
    for (const [i, [args, text, code]] of cases.entries()) {
      assertEquals(ended[i]!.code, code, `${args}: ${ended[i]!.stderr}`);
      assert(ended[i]!.stderr.includes(text), ended[i]!.stderr);
    }
  } finally {
    await close();
  }
});
