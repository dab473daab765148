// The corpus, a mutation fuzz, lazy reading from disk, and byte-identical writing.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { FormatError, GraftError, ModelError, SecurityError } from "../../src/core/errors.ts";
import { openSafetensors, parseSafetensors, type SafetensorsFile } from "../../src/io/safetensors.ts";
import { encodeSafetensors, writeSafetensors } from "../../src/io/safetensors_write.ts";
import { corpus, type CorpusCase, file } from "./safetensors_corpus.ts";

const prototypes = () => [Object.prototype, Array.prototype, Function.prototype].map((p) => Reflect.ownKeys(p).length);

function verdict(read: () => unknown): string {
  try {
    read();
    return "ok";
  } catch (error) {
    if (error instanceof GraftError) return error.code;
    throw error;
  }
}

function check({ name, bytes, expected, message }: CorpusCase): string | undefined {
  const code = verdict(() => parseSafetensors(bytes));
  if (code !== expected) return `${name}: expected ${expected}, received ${code}`;
  if (message === undefined) return undefined;
  const { message: text } = assertThrows(() => parseSafetensors(bytes), FormatError);
  return text.includes(message) ? undefined : `${name}: "${text}" lacks "${message}"`;
}

Deno.test("safetensors: every file of the corpus gets its verdict", () => {
  const before = prototypes();
  const wrong = corpus.map(check).filter((problem) => problem !== undefined);
  assertEquals(wrong, []);
  const valid = corpus.filter((c) => c.expected === "ok").length;
  assert(corpus.length - valid >= 125);
  assertEquals(new Set(corpus.map((c) => `${c.expected} ${c.name}`)).size, corpus.length);
  assertEquals(prototypes(), before);
  console.log(`${corpus.length - valid} malformed files refused, ${valid} valid ones read, ${wrong.length} wrong`);
});

Deno.test("safetensors: a file on disk gets the verdict of the file in memory", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/x.safetensors`;
  for (const { name, bytes, expected } of corpus) {
    await Deno.writeFile(path, bytes);
    let code = "ok";
    try {
      (await openSafetensors(path)).close();
    } catch (error) {
      code = (error as GraftError).code;
      assert((error as Error).message.includes(path), name);
    }
    assertEquals(code, expected, name);
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("safetensors: hostile headers are refused within 50 ms", () => {
  for (
    const hostile of [
      "[".repeat(100_000),
      '{"a":'.repeat(100_000),
      `{"${"x".repeat(1e6)}`,
      `{"a":"${"\\n".repeat(1e6)}`,
    ]
  ) {
    const start = performance.now();
    assertThrows(() => parseSafetensors(file(hostile)), FormatError);
    const spent = performance.now() - start;
    assert(spent < 500, `${spent} ms`); // ten times the target, for a loaded machine
  }
});

Deno.test("safetensors: a stated header length takes no memory", () => {
  const before = Deno.memoryUsage();
  for (const length of [2n ** 64n - 1n, 2n ** 63n, 100_000_001n, 100_000_000n]) {
    assertThrows(() => parseSafetensors(file("{}", 0, length)), FormatError);
  }
  const after = Deno.memoryUsage();
  assert(after.external - before.external < 1e6);
});

// A small deterministic generator (mulberry32), so that a failure can be repeated.
function randomInts(seed: number): (below: number) => number {
  return (below) => {
    seed = (seed + 0x6d2b79f5) >>> 0;
    let t = Math.imul(seed ^ (seed >>> 15), seed | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

Deno.test("safetensors: 20,000 mutants give typed errors only", () => {
  const seed = crypto.getRandomValues(new Uint32Array(1))[0]!;
  const random = randomInts(seed);
  const origin = encodeSafetensors([
    { name: "a", dtype: "F32", shape: [2, 2], data: new Uint8Array(16) },
    { name: "b.\u00e9", dtype: "BF16", shape: [3], data: new Uint8Array(6) },
    { name: "c", dtype: "U8", shape: [], data: new Uint8Array(1) },
  ], { metadata: { format: "pt" } });
  const header = Number(new DataView(origin.buffer).getBigUint64(0, true));
  const tokens = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"',
    "\\",
    "0",
    "-",
    "e9",
    ".",
    "18446744073709551616",
    "null",
    "\u0000",
  ];
  let refused = 0;
  for (let i = 0; i < 20_000; i++) {
    let bytes = origin.slice();
    for (let n = 1 + random(3); n > 0; n--) {
      const at = random(8 + header);
      const kind = random(4);
      if (kind === 0) bytes[at] = random(256);
      else if (kind === 1) bytes = bytes.slice(0, random(bytes.length + 1));
      else {
        const insert = new TextEncoder().encode(tokens[random(tokens.length)]!);
        const rest = bytes.subarray(Math.min(bytes.length, at + (kind === 2 ? 0 : insert.length)));
        bytes = new Uint8Array([...bytes.subarray(0, at), ...insert, ...rest]);
        // Half of the insertions keep the length right, so that the JSON reader sees them.
        if (random(2) === 0 && bytes.length >= 8) {
          new DataView(bytes.buffer).setBigUint64(0, BigInt(Math.max(0, bytes.length - 8 - 23)), true);
        }
      }
    }
    const code = verdict(() => {
      const { tensors } = parseSafetensors(bytes);
      for (const { begin, end } of tensors.values()) assert(begin <= end && end <= bytes.length - 8);
    });
    if (code !== "ok") {
      assert(code.startsWith("st/"), `seed ${seed}: ${code}`);
      refused++;
    }
  }
  console.log(`20,000 mutants: ${refused} refused, ${20_000 - refused} read, 0 untyped errors, seed ${seed}`);
});

Deno.test("safetensors: tensors are read lazily, in any order and at once", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/x.safetensors`;
  const tensors = Array.from({ length: 20 }, (_, i) => ({
    name: `t${i}`,
    dtype: "U8" as const,
    shape: [1000 + i],
    data: new Uint8Array(1000 + i).fill(i),
  }));
  await writeSafetensors(path, tensors.map((t) => ({ ...t, data: () => t.data })), { metadata: { format: "pt" } });
  assertEquals(await Deno.readFile(path), encodeSafetensors(tensors, { metadata: { format: "pt" } }));

  const open = await openSafetensors(path);
  assertEquals(open.metadata.get("format"), "pt");
  const read = await Promise.all(tensors.toReversed().map(({ name }) => open.read(name)));
  assertEquals(read.toReversed(), tensors.map(({ data }) => data));
  const missing = await assertRejects(() => open.read("\u001b[2J"), ModelError);
  assert(!missing.message.includes("\u001b"));
  assertEquals(missing.code, "model/missing-tensor");

  await Deno.truncate(path, 2000);
  const short = await assertRejects(() => open.read("t19"), FormatError, "became shorter");
  assertEquals(short.code, "st/size");
  open.close();
  open.close();
  await Deno.remove(folder, { recursive: true });
});

Deno.test("safetensors: only regular files are opened", async () => {
  const folder = await Deno.makeTempDir();
  const error = await assertRejects(() => openSafetensors(folder), SecurityError);
  assertEquals(error.code, "path/not-regular");
  const missing = await assertRejects(() => openSafetensors(`${folder}/none`), GraftError);
  assertEquals(missing.code, "io/enoent");
  await Deno.remove(folder, { recursive: true });
});

Deno.test("safetensors: the writer sorts as the reference does and refuses what it cannot write", () => {
  const dtypes = ["U8", "F16", "BF16", "F32", "I64", "F64", "BOOL", "I32"] as const;
  const bytes = { U8: 1, F16: 2, BF16: 2, F32: 4, I64: 8, F64: 8, BOOL: 1, I32: 4 };
  const entries = dtypes.flatMap((dtype) =>
    ["\u{10000}", "b", "\uffee", "a"].map((n) => ({
      name: `${n} ${dtype}`,
      dtype,
      shape: [1],
      data: new Uint8Array(bytes[dtype]),
    }))
  );
  const { tensors } = parseSafetensors(encodeSafetensors(entries));
  const expected = ["I64", "F64", "F32", "I32", "BF16", "F16", "U8", "BOOL"].flatMap((dtype) =>
    ["a", "b", "\uffee", "\u{10000}"].map((n) => `${n} ${dtype}`)
  );
  assertEquals([...tensors.keys()], expected);

  const a = { name: "a", dtype: "F32", shape: [1], data: new Uint8Array(4) } as const;
  const code = (list: Parameters<typeof encodeSafetensors>[0]) => verdict(() => encodeSafetensors(list));
  assertEquals(code([a, a]), "st/duplicate-key");
  assertEquals(code([{ ...a, name: "__metadata__" }]), "st/name");
  assertEquals(code([{ ...a, name: "\ud800" }]), "st/name");
  assertEquals(code([{ ...a, shape: [2] }]), "st/size-mismatch");
  assertEquals(code([{ ...a, dtype: "F4", shape: [1] }]), "st/size-mismatch");
  assertEquals(code([{ ...a, name: "__proto__" }, { ...a, name: 'quote " \n' }]), "ok");
});

Deno.test("safetensors: files of PyTorch are written again byte for byte", async () => {
  const root = new URL("../../../shared/", import.meta.url).pathname;
  const paths: string[] = [];
  try {
    for (const { name, isDirectory } of Deno.readDirSync(`${root}fixtures`)) {
      if (!isDirectory || name === "numerics") continue;
      for (const part of ["adapter_init/adapter_model", "adapter_final/adapter_model", "model/model", "expected"]) {
        paths.push(`${root}fixtures/${name}/${part}.safetensors`);
      }
    }
    for (const { name } of Deno.readDirSync(`${root}models`)) {
      if (name.endsWith("-hf")) paths.push(`${root}models/${name}/model.safetensors`);
    }
  } catch {
    console.log("skipped, no ../shared");
    return;
  }
  let same = 0;
  const other: string[] = [];
  for (const path of paths) {
    const original = await Deno.readFile(path).catch(() => undefined);
    if (original === undefined) continue;
    if (await isRewrittenAlike(original, parseSafetensors(original))) same++;
    else other.push(path.slice(root.length));
  }
  assertEquals(other, []);
  assert(same >= 40);
  console.log(`${same} files of PyTorch written again byte for byte`);
});

async function isRewrittenAlike(original: Uint8Array, source: SafetensorsFile): Promise<boolean> {
  const entries = [];
  for (const [name, { dtype, shape }] of source.tensors) {
    entries.push({ name, dtype, shape, data: await source.read(name) });
  }
  const metadata = source.metadata.size === 0 ? {} : { metadata: Object.fromEntries(source.metadata) };
  const again = encodeSafetensors(entries.toReversed(), metadata);
  return again.length === original.length && again.every((byte, i) => byte === original[i]);
}
