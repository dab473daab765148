// The architecture as a test: imports only point to a smaller layer, and what must not be mentioned is not.
import { assertEquals } from "@std/assert";

const LAYERS: Readonly<Record<string, number>> = {
  "deno.json": 0,
  core: 0,
  shaders: 0,
  metrics: 1,
  graph: 1,
  io: 1,
  data: 1,
  ops: 2,
  gpu: 2,
  nn: 3,
  optim: 3,
  models: 4,
  adapters: 4,
  objectives: 5,
  train: 6,
  cli: 7,
  "mod.ts": 7,
};

/** Public entries that live in a folder but gather what users need from several: nothing below may import them. */
const ENTRIES: readonly string[] = ["src/ops/mod.ts"];

const MAX_LINES = 300;

/** Files below a folder (or the file itself), as paths relative to the root. */
function* sources(path: string): Generator<string> {
  const info = Deno.statSync(new URL(`../${path}`, import.meta.url));
  if (info.isFile) yield path;
  if (!info.isDirectory) return;
  for (const { name } of Deno.readDirSync(new URL(`../${path}`, import.meta.url))) {
    const inner = `${path}/${name}`;
    if (name.endsWith(".ts")) yield inner;
    else if (!name.includes(".") && !inner.endsWith("/fixtures")) yield* sources(inner);
  }
}

/** The folder that a file belongs to: `"ops"` for `"src/ops/matmul.ts"`. */
function folder(path: string): string {
  if (ENTRIES.includes(path)) return "mod.ts";
  return path.replace(/^src\//, "").split("/")[0]!;
}

/** What is wrong with the text of one file. */
function problemsOf(path: string, text: string): string[] {
  const problems: string[] = [];
  const say = (problem: string) => problems.push(`${path} ${problem}`);
  if (text.trimEnd().split("\n").length > MAX_LINES) say(`has more than ${MAX_LINES} lines`);
  const here = folder(path);
  const library = here in LAYERS;
  if (!library && here !== "tests") return problems;
  for (const word of [/\bTODO\b/, /\beval\(/, /\bnew Function\b/]) {
    if (path !== "tests/layering_test.ts" && word.test(text)) say(`contains ${word.source}`);
  }
  if (!library) return problems;
  if (here === "graph" && /navigator\.gpu|\bGPU[A-Z]\w+/.test(text)) say("mentions WebGPU");
  for (const match of text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*"(\.[^"]*|@graft\/[^"]*)"/g)) {
    if (match[1]!.startsWith("@graft/")) {
      // The examples in docstrings import the public name; code does not.
      const line = text.slice(0, match.index).split("\n").at(-1)!;
      if (!/^\s*\*/.test(line)) say(`imports ${match[1]}`);
      continue;
    }
    const target = new URL(match[1]!, `file:///${path}`).pathname.slice(1);
    const there = folder(target);
    if (there === here) continue;
    const upward = !(LAYERS[there]! < LAYERS[here]!);
    if (upward) say(`imports ${target}, which is not in a lower layer`);
    if (there === "shaders" && here !== "ops" && here !== "optim" && here !== "mod.ts") say(`imports ${target}`);
  }
  return problems;
}

Deno.test("layers: imports point down, files are short, nothing is left to do", () => {
  const problems: string[] = [];
  for (const path of ["src", "shaders", "tests", "mod.ts"].flatMap((p) => exists(p) ? [...sources(p)] : [])) {
    problems.push(...problemsOf(path, Deno.readTextFileSync(new URL(`../${path}`, import.meta.url))));
  }
  assertEquals(problems, []);
});

Deno.test("layers: what is forbidden is found", () => {
  const bad: readonly (readonly [path: string, text: string])[] = [
    ["src/gpu/a.ts", 'import { add } from "../ops/elementwise.ts";'],
    ["src/io/a.ts", 'import type { Row } from "../data/rows.ts";'],
    ["src/core/a.ts", 'export * from "../graph/graph.ts";'],
    ["src/train/a.ts", 'import { wgsl } from "../../shaders/wgsl.ts";'],
    ["src/graph/a.ts", "let device: GPUDevice;"],
    ["src/graph/a.ts", "await navigator.gpu.requestAdapter();"],
    ["src/nn/a.ts", 'import { near } from "../../tests/device.ts";'],
    ["src/nn/a.ts", 'const x = await import("../../examples/x.ts");'],
    ["src/nn/a.ts", 'import { openDevice } from "@graft/graft";'],
    ["shaders/a.ts", "\n".repeat(300) + "1"],
    ["tests/a_test.ts", "// TODO"],
    ["src/cli/a.ts", "new Function('x')"],
  ];
  for (const [path, text] of bad) assertEquals(problemsOf(path, text).length, 1, `${path}: ${text.trim()}`);
  const good = 'import { size } from "../core/dims.ts";\n * import { openDevice } from "@graft/graft";';
  assertEquals(problemsOf("src/gpu/a.ts", good), []);
});

function exists(path: string): boolean {
  try {
    return Deno.statSync(new URL(`../${path}`, import.meta.url)) !== undefined;
  } catch {
    return false;
  }
}
