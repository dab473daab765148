// Every example runs as its header says: in a process of its own with exactly those flags, and it checks its own result.
import { assert, assertEquals } from "@std/assert";
import { sharedFolder } from "../shared.ts";

const ROOT = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

/** Examples that need texts from the network, and minutes. */
const RECIPES: readonly string[] = ["make_data.ts", "pretrain.ts"];

const MAX_LINES = 80;

const examples = [...Deno.readDirSync(`${ROOT}/examples`)].map(({ name }) => name)
  .filter((name) => name.endsWith(".ts")).sort();

/** Real data, below ../shared/datasets, that examples take as their argument. */
const REAL: Readonly<Record<string, readonly [path: string, ...rest: readonly string[]]>> = {
  "domain.ts": ["medical-pubmedqa/pubmedqa_pqal.jsonl"],
  "question_answering.ts": ["qa-t0/adversarial_qa.squad.jsonl"],
  "sentiment.ts": ["sst2", "600", "1"],
  "summarization.ts": ["summarization-debian"],
};

/** The words behind `deno` in the header of an example, without the arguments in brackets. */
function commandOf(name: string): string[] {
  const text = Deno.readTextFileSync(`${ROOT}/examples/${name}`);
  const lines = text.match(/^\/\/ {3}deno run .*$/gm) ?? [];
  assertEquals(lines.length, 1, `examples/${name} must say how to run it, once`);
  return lines[0]!.replace(/^\/\/ +deno /, "").replace(/ \[.*\]$/, "").split(" ");
}

/** What an example prints; it must succeed. */
async function outputOf(name: string, data: readonly string[] = []): Promise<string> {
  const [run, ...flags] = commandOf(name);
  assertEquals([run, flags.at(-1)], ["run", `examples/${name}`]);
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: ["run", "--no-prompt", "--quiet", ...flags, ...data],
    cwd: ROOT,
    env: { DENO_WEBGPU_BACKEND: "vulkan", XDG_RUNTIME_DIR: "/tmp", NO_COLOR: "1" },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assertEquals(code, 0, text(stderr));
  assert(stdout.length > 0, "it must say what it found");
  return text(stdout);
}

for (const name of examples.filter((name) => !RECIPES.includes(name))) {
  Deno.test(`examples/${name}`, async () => {
    await outputOf(name);
  });
}

for (const [name, [data, ...rest]] of Object.entries(REAL)) {
  Deno.test(`examples/${name} on ${data}`, async () => {
    const folder = sharedFolder();
    if (folder !== undefined) console.log(await outputOf(name, [`${folder}/datasets/${data}`, ...rest]));
  });
}

Deno.test("examples are short, and the table lists all of them", () => {
  const table = Deno.readTextFileSync(`${ROOT}/examples/README.md`);
  for (const name of examples) {
    const lines = Deno.readTextFileSync(`${ROOT}/examples/${name}`).trimEnd().split("\n").length;
    assert(lines <= MAX_LINES, `examples/${name} has ${lines} lines`);
    assert(table.includes(`[${name}](${name})`), `examples/README.md does not list ${name}`);
  }
});
