// The files that all frameworks read: layout.json, the weights before a full and a LoRA run, LoRA's A, and tokens.
//
// Those of ../shared/peers where they exist: their losses are published. Otherwise files of our own of the same shape,
// and the losses are compared with each other.
import { normal, randomKey, uniform } from "../../src/core/random.ts";
import { UsageError } from "../../mod.ts";
import type { PeersLayout } from "./graft_model.ts";
import { command, exists } from "../process.ts";

const SHARED = new URL("../../../shared/peers/common", import.meta.url).pathname;
const SHARED_FILES = ["gen.py", "layout.json", "base.bin", "loraA.bin", "tokensA.i32", "tokensB.i32"];

/** Python of the system: the one that Debian's numpy and PyTorch are installed for. */
export const PYTHON = "/usr/bin/python3";

/** Fill `folder`; says whether the published losses hold for what is there. */
export async function writeInputs(
  folder: string,
  say: (text: string) => void,
  { shared = SHARED }: { readonly shared?: string } = {},
): Promise<"published" | "own"> {
  if (await exists(shared)) {
    for (const file of SHARED_FILES) {
      // Written afresh: the shared folder is read-only, and so would be copies.
      await Deno.writeFile(`${folder}/${file}`, await Deno.readFile(`${shared}/${file}`));
    }
    try {
      await command(PYTHON, ["gen.py"], { cwd: folder });
      const drawn = await Deno.readFile(`${folder}/loraA.bin`), given = await Deno.readFile(`${shared}/loraA.bin`);
      if (drawn.every((byte, i) => byte === given[i])) return "published";
      say("peers: this numpy draws other numbers than the published run; own weights instead");
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      say("peers: no python3 with numpy to draw the published weights; own weights instead");
    }
  } else say("peers: no ../shared/peers; own weights instead of the published ones");
  await writeOwn(folder);
  return "own";
}

const SIZES = { L: 4, D: 128, H: 4, F: 512, V: 1024, T: 128, B: 8, r: 8, alpha: 16 } as const;
const BATCHES = 64;

/** Names, shapes and standard deviations of GPT-2's tensors; 1 is a gain, 0 a bias. */
function tensors(): { readonly name: string; readonly shape: number[]; readonly std: number }[] {
  const { L, D, F, V, T } = SIZES;
  const dense = (name: string, In: number, Out: number, std = 0.02) => [
    { name: `${name}_w`, shape: [In, Out], std },
    { name: `${name}_b`, shape: [Out], std: 0 },
  ];
  const norm = (name: string) => [
    { name: `${name}_g`, shape: [D], std: 1 },
    { name: `${name}_b`, shape: [D], std: 0 },
  ];
  const residual = 0.02 / Math.sqrt(2 * L);
  const block = (i: number) => [
    ...norm(`h${i}.ln1`),
    ...dense(`h${i}.qkv`, D, 3 * D),
    ...dense(`h${i}.o`, D, D, residual),
    ...norm(`h${i}.ln2`),
    ...dense(`h${i}.fc`, D, F),
    ...dense(`h${i}.pr`, F, D, residual),
  ];
  return [
    { name: "wte", shape: [V, D], std: 0.02 },
    { name: "wpe", shape: [T, D], std: 0.02 },
    ...Array.from({ length: L }, (_, i) => block(i)).flat(),
    ...norm("lnf"),
  ];
}

async function writeOwn(folder: string): Promise<void> {
  const { L, D, r } = SIZES;
  let offset = 0;
  const placed = tensors().map(({ name, shape, std }) => {
    const size = shape.reduce((a, b) => a * b, 1);
    offset += size;
    return { name, shape, std, size, offset: offset - size };
  });
  const layout: PeersLayout = {
    ...SIZES,
    adamw: { lr: 1e-3, b1: 0.9, b2: 0.999, eps: 1e-8, wd: 0.01 },
    layout: placed.map(({ name, shape, offset }) => ({ name, shape, offset })),
  };
  await Deno.writeTextFile(`${folder}/layout.json`, JSON.stringify(layout));
  for (const [seed, file] of ["init.bin", "base.bin"].entries()) {
    const weights = new Float32Array(offset);
    for (const { name, std, size, offset } of placed) {
      const key = randomKey(seed, name);
      for (let i = 0; i < size; i++) weights[offset + i] = std === 1 ? 1 : std * normal(key, i);
    }
    await writeWords(`${folder}/${file}`, weights);
  }
  const key = randomKey(0, "lora A");
  const bound = 1 / Math.sqrt(D);
  await writeWords(`${folder}/loraA.bin`, Float32Array.from({ length: L * D * r }, (_, i) => spread(key, i, bound)));
  await writeWords(`${folder}/tokensA.i32`, sequences("A", 5, 7));
  await writeWords(`${folder}/tokensB.i32`, sequences("B", 9, 101));
}

const spread = (key: ReturnType<typeof randomKey>, i: number, bound: number) => bound * (2 * uniform(key, i) - 1);

/** Rows whose next token is (x · times + plus) mod 256 in 85 % of cases, and any token else. */
function sequences(name: string, times: number, plus: number): Int32Array<ArrayBuffer> {
  const { B, T, V } = SIZES;
  const key = randomKey(0, "tokens", name);
  const tokens = new Int32Array(BATCHES * B * (T + 1));
  for (let i = 0; i < tokens.length; i++) {
    if (i % (T + 1) === 0) tokens[i] = Math.floor(256 * uniform(key, 2 * i));
    else if (uniform(key, 2 * i) < 0.85) tokens[i] = (tokens[i - 1]! * times + plus) % 256;
    else tokens[i] = Math.floor(V * uniform(key, 2 * i + 1));
  }
  return tokens;
}

function writeWords(path: string, words: Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>): Promise<void> {
  return Deno.writeFile(path, new Uint8Array(words.buffer));
}
