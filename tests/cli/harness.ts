// Commands as users run them: in a process of their own, with the permissions of their task and no prompts.
import config from "../../deno.json" with { type: "json" };
import { tinyFile } from "../data/tiny_tokenizer.ts";

/** Root of the repository. */
export const ROOT: string = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

/** The reference case that the tests carry. */
export const FIXTURE: string = `${ROOT}/tests/fixtures/llama-lora`;

/** The words of each task of deno.json that runs Graft. */
export const TASKS: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries(config.tasks as Readonly<Record<string, string | { readonly command: string }>>)
    .map(([name, task]) => [name, (typeof task === "string" ? task : task.command).split(" ")] as const)
    .filter(([, words]) => words.includes("src/cli/main.ts")),
);

/** The permissions of a command's task. */
export function permissionsOf(name: string): readonly string[] {
  return (TASKS.get(name) ?? []).filter((word) => word.startsWith("--allow-"));
}

/** How a command ended. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Options of {@linkcode start}. */
export interface StartOptions {
  /** Permissions instead of the task's. */
  readonly permissions?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Working folder. */
  readonly cwd?: string;
}

/** Start a command line of Graft. */
export function start(args: readonly string[], options: StartOptions = {}): Deno.ChildProcess {
  const { permissions = permissionsOf(args[0] ?? ""), env = {}, cwd = ROOT } = options;
  return new Deno.Command("deno", {
    args: ["run", "--no-prompt", "--quiet", ...permissions, `${ROOT}/src/cli/main.ts`, ...args],
    env: { XDG_RUNTIME_DIR: "/tmp", NO_COLOR: "1", ...env },
    cwd,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Run a command line of Graft to its end. */
export async function graft(args: readonly string[], options: StartOptions = {}): Promise<Ended> {
  const { code, stdout, stderr } = await start(args, options).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** A folder with a model, an adapter and rows. */
export interface Workspace {
  readonly folder: string;
  readonly model: string;
  readonly adapter: string;
  readonly data: string;
  /** Remove it. */
  close(): Promise<void>;
}

/** The model of the fixture with a tokenizer of its 101 ids, and rows that it can read. */
export async function makeWorkspace(): Promise<Workspace> {
  const folder = await Deno.makeTempDir({ prefix: "graft-cli-" });
  const [model, adapter, data] = [`${folder}/model`, `${folder}/adapter`, `${folder}/data`];
  for (const path of [model, adapter, data]) await Deno.mkdir(path);
  for (const name of ["config.json", "model.safetensors"]) {
    await Deno.copyFile(`${FIXTURE}/model/${name}`, `${model}/${name}`);
  }
  for (const name of ["adapter_config.json", "adapter_model.safetensors"]) {
    await Deno.copyFile(`${FIXTURE}/adapter_final/${name}`, `${adapter}/${name}`);
  }
  await Deno.writeTextFile(`${model}/tokenizer.json`, JSON.stringify(asciiTokenizer()));
  await Deno.writeTextFile(`${model}/tokenizer_config.json`, '{"eos_token": "<|end|>"}');
  const row = (i: number) => JSON.stringify({ prompt: `${i} + ${i} =`, completion: ` ${2 * i}` });
  const rows = (from: number, count: number) => Array.from({ length: count }, (_, i) => `${row(from + i)}\n`).join("");
  await Deno.writeTextFile(`${data}/train.jsonl`, rows(1, 24));
  await Deno.writeTextFile(`${data}/valid.jsonl`, rows(30, 6));
  return { folder, model, adapter, data, close: () => Deno.remove(folder, { recursive: true }) };
}

/** Byte-level BPE without merges: an end token, the line break and printable ASCII. */
export function asciiTokenizer(end = 2): unknown {
  return tinyFile((file) => {
    const letters = ["Ċ", "Ġ", ...Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i))];
    file.added_tokens[0].id = end;
    file.model.merges = [];
    file.model.vocab = Object.fromEntries([
      ["<pad>", 0],
      ["<s>", 3 - end],
      ...letters.map((letter, i) => [letter, i + 3]),
    ]);
  });
}

/** Paths below a folder, sorted. */
export async function listFiles(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const below = isDirectory ? await listFiles(`${folder}/${name}`) : [];
    found.push(name, ...below.map((path) => `${name}/${path}`));
  }
  return found.sort();
}
