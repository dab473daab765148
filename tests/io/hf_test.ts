// Model folders: every way in which an index can lie, what is odd but usable, and saving.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type GraftError, ModelError, UsageError } from "../../src/core/errors.ts";
import { openModelFolder } from "../../src/io/hf.ts";
import { saveModelFolder, type Weight } from "../../src/io/hf_save.ts";
import { encodeSafetensors } from "../../src/io/safetensors_write.ts";

type Files = Readonly<Record<string, string | Uint8Array>>;

async function withFiles(files: Files, act: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    for (const [name, content] of Object.entries(files)) {
      if (typeof content === "string") await Deno.writeTextFile(`${folder}/${name}`, content);
      else await Deno.writeFile(`${folder}/${name}`, content);
    }
    await act(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function weights(...names: string[]): Uint8Array {
  const data = new Uint8Array(Float32Array.of(1, -2).buffer);
  return encodeSafetensors(names.map((name) => ({ name, dtype: "F32", shape: [2], data })));
}

function index(map: unknown): string {
  return JSON.stringify({ metadata: { total_size: 16 }, weight_map: map });
}

async function refused(files: Files, code: string, ...parts: string[]): Promise<void> {
  await withFiles(files, async (folder) => {
    const error = await assertRejects(() => openModelFolder(folder)) as GraftError;
    assertEquals(error.code, code, error.message);
    for (const part of [folder, ...parts]) assert(error.message.includes(part), `"${error.message}" lacks "${part}"`);
  });
}

const config = "{}";
const INDEX = "model.safetensors.index.json";

Deno.test("openModelFolder: config, tensors, warnings, reading", async () => {
  const files = {
    "config.json":
      '\ufeff{"model_type":"gpt2","__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":1}}}',
    "generation_config.json": '{"eos_token_id":[1,2]}',
    "model.safetensors": weights("a", "__proto__"),
    [INDEX]: "broken",
  };
  await withFiles(files, async (folder) => {
    const before = Reflect.ownKeys(Object.prototype).length;
    const model = await openModelFolder(folder);
    assertEquals(model.config["model_type"], "gpt2");
    assertEquals(model.config["toString"], undefined);
    assertEquals(model.generationConfig?.["eos_token_id"], [1, 2]);
    assertEquals([...model.tensors.keys()], ["__proto__", "a"]);
    assertEquals(model.tensors.get("a")?.shape, [2]);
    assertEquals(await model.read("__proto__"), Float32Array.of(1, -2));
    assertEquals(model.warnings.length, 1);
    assert(model.warnings[0]!.includes("single file"));
    assertEquals(await model.file("tokenizer.json"), undefined);
    assertEquals(await model.file("config.json"), `${folder}/config.json`);
    const missing = await assertRejects(() => model.read("b\u001b"), ModelError);
    assertEquals(missing.code, "model/missing-tensor");
    assert(!missing.message.includes("\u001b"));
    model.close();
    assertEquals(Reflect.ownKeys(Object.prototype).length, before);
    assertEquals(({} as { polluted?: boolean }).polluted, undefined);
  });
});

Deno.test("openModelFolder: shards", async () => {
  const files = {
    "config.json": config,
    [INDEX]: index({ a: "1.safetensors", b: "2.safetensors", constructor: "2.safetensors" }),
    "1.safetensors": weights("a"),
    "2.safetensors": weights("b", "constructor", "extra"),
  };
  await withFiles(files, async (folder) => {
    const model = await openModelFolder(folder);
    assertEquals([...model.tensors.keys()].sort(), ["a", "b", "constructor", "extra"]);
    assertEquals(await model.read("b"), Float32Array.of(1, -2));
    assertEquals(model.generationConfig, undefined);
    assertEquals(model.warnings.length, 1);
    assert(model.warnings[0]!.includes("extra"));
    model.close();
  });
});

Deno.test("openModelFolder: an index that lies", async () => {
  const base = { "config.json": config, "1.safetensors": weights("a"), "2.safetensors": weights("b") };
  const shards = (map: unknown, more: Files = {}) => ({ ...base, [INDEX]: index(map), ...more });
  const some = { a: "1.safetensors", b: "2.safetensors" };
  await refused(
    shards({ ...some, c: "3.safetensors", d: "4.safetensors" }),
    "model/shard-missing",
    "2 of 4",
    "3.safetensors, 4.safetensors",
  );
  await refused(
    shards({ a: "2.safetensors", b: "2.safetensors", c: "1.safetensors" }),
    "model/index-mismatch",
    '"a" is listed in 2.safetensors and stored in 1.safetensors',
    '"c"',
    "nowhere",
  );
  await refused(
    shards(some, { "2.safetensors": weights("a", "b") }),
    "model/index-mismatch",
    "stored in 1.safetensors and 2.safetensors",
  );
  await refused(
    shards(some, { "1.safetensors": weights("a", "x"), "2.safetensors": weights("b", "x") }),
    "model/index-mismatch",
    '"x" is not listed',
  );
  await refused(shards({ ...some, c: "1.safetensors" }), "model/index-mismatch", '"c"', "nowhere");
  await refused(shards(undefined), "index/weight-map", "nothing");
  for (const map of [{}, [], null, 5, "x", { a: 1 }, { a: null }, { a: ["1.safetensors"] }]) {
    await refused(shards(map), "index/weight-map");
  }
  await refused({ ...base, [INDEX]: "[]" }, "index/weight-map");
  await refused({ ...base, [INDEX]: '{"weight_map":{"a":"1.safetensors","a":"2.safetensors"}}' }, "json/duplicate-key");
  await refused(shards(some, { "2.safetensors": weights("b").subarray(0, 60) }), "st/header-past-end", "2.safetensors");
  for (const name of ["../x", "/etc/passwd", "a/b", "..\\x", "C:\\x", "%2e%2e/x", "x\u0000", "", "."]) {
    await refused(shards({ a: name }), "path/escape");
  }
});

Deno.test("openModelFolder: no model", async () => {
  await refused({}, "model/no-config");
  await refused({ "config.json": config }, "model/no-weights");
  await refused({ "config.json": config, "model.fp16.safetensors": "" }, "model/no-weights", "model.fp16.safetensors");
  for (
    const name of [
      "pytorch_model.bin",
      "pytorch_model.bin.index.json",
      "pytorch_model-00001-of-00002.bin",
      "consolidated.00.pth",
    ]
  ) {
    await refused({ "config.json": config, [name]: "" }, "model/pickle", "safetensors");
  }
  await refused({ "config.json": "[]" }, "config/object", "an array");
  await refused({ "config.json": "{" }, "json/syntax", "config.json");
  await refused({ "config.json": "x".repeat(10) }, "json/syntax");
  for (const path of ["/tmp/nonexistent-graft-model", new URL(import.meta.url).pathname]) {
    assertEquals((await assertRejects(() => openModelFolder(path), ModelError)).code, "model/not-found");
  }
  await withFiles({ "config.json": config }, async (folder) => {
    await Deno.mkdir(`${folder}/model.safetensors`);
    assertEquals((await assertRejects(() => openModelFolder(folder)) as GraftError).code, "path/not-regular");
  });
  const quantized = encodeSafetensors([{ name: "q", dtype: "F8_E4M3", shape: [1], data: new Uint8Array(1) }]);
  await withFiles({ "config.json": config, "model.safetensors": quantized }, async (folder) => {
    const model = await openModelFolder(folder);
    assertEquals((await assertRejects(() => model.read("q"), ModelError, '"q"')).code, "model/dtype");
    model.close();
  });
});

const saved: readonly Weight[] = [
  { name: "b", shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) },
  { name: "a", shape: [3], data: () => Promise.resolve(Float32Array.of(0.5, 1e6, -1)) },
  { name: "c", shape: [], data: Float32Array.of(7) },
];

Deno.test("saveModelFolder: what is saved opens again, in each type, whole and sharded", async () => {
  const source = {
    "tokenizer.json": '{"x":1}',
    "generation_config.json": '{"eos_token_id":1}',
    "private.txt": "stays",
  };
  for (const dtype of ["f32", "f16", "bf16"] as const) {
    for (const maxShardBytes of [5e9, 16]) {
      await withFiles(source, async (folder) => {
        const out = `${folder}/out`;
        const report = await saveModelFolder(out, {
          config: { model_type: "gpt2", dtype: "float64" },
          tensors: saved,
          dtype,
          source: folder,
          extraFiles: { "README.md": "# hello" },
          maxShardBytes,
        });
        assertEquals(report.bytes, dtype === "f32" ? 32 : 16);
        assertEquals([...report.overflowed], dtype === "f16" ? [["a", 1]] : []);
        const model = await openModelFolder(out);
        assertEquals(model.config["dtype"], { f32: "float32", f16: "float16", bf16: "bfloat16" }[dtype]);
        assertEquals("torch_dtype" in model.config, false);
        assertEquals(await model.read("b"), Float32Array.of(1, 2, 3, 4));
        assertEquals((await model.read("a"))[1], { f32: 1e6, f16: Infinity, bf16: 999424 }[dtype]);
        assertEquals(model.tensors.get("c")?.shape, []);
        assertEquals(model.warnings, []);
        assertEquals(model.generationConfig?.["eos_token_id"], 1);
        model.close();
        const names = Array.from(Deno.readDirSync(out), ({ name }) => name).sort();
        assertEquals(names, report.files.toSorted());
        assert(names.includes("tokenizer.json") && names.includes("README.md") && !names.includes("private.txt"));
        if (maxShardBytes === 16 && dtype === "f32") {
          assert(names.includes("model-00002-of-00002.safetensors") && names.includes(INDEX));
          const { metadata } = JSON.parse(await Deno.readTextFile(`${out}/${INDEX}`));
          assertEquals(metadata, { total_size: 32 });
        }
      });
    }
  }
});

Deno.test("saveModelFolder: refuses a folder with files, names that are there twice, sizes that do not fit", async () => {
  await withFiles({ "x": "mine" }, async (folder) => {
    const options = { config: {}, tensors: saved };
    const error = await assertRejects(() => saveModelFolder(folder, options), UsageError);
    assertEquals(error.code, "out/not-empty");
    const code = async (tensors: readonly Weight[], maxShardBytes = 5e9) =>
      (await assertRejects(() =>
        saveModelFolder(`${folder}/new`, { config: {}, tensors, maxShardBytes })
      ) as GraftError).code;
    assertEquals(await code([...saved, saved[0]!]), "st/duplicate-key");
    assertEquals(await code([...saved, saved[0]!], 4), "st/duplicate-key");
    assertEquals(await code([{ name: "a", shape: [3], data: Float32Array.of(1) }]), "st/size-mismatch");
    await saveModelFolder(`${folder}/new`, { config: {}, tensors: saved });
    assertEquals(JSON.parse(await Deno.readTextFile(`${folder}/new/config.json`)), { torch_dtype: "float32" });
  });
});

const narrow = `/tmp/graft-narrow-${Deno.pid}`;
Deno.test({
  name: "saveModelFolder: needs permission for its own folder only",
  permissions: { read: [narrow], write: [narrow] },
  async fn() {
    await saveModelFolder(narrow, { config: {}, tensors: saved });
    const model = await openModelFolder(narrow);
    assertEquals((await model.read("c"))[0], 7);
    model.close();
    await Deno.remove(narrow, { recursive: true });
  },
});

Deno.test("openModelFolder: the shared models open and are read", async () => {
  const root = new URL("../../../shared/models/", import.meta.url).pathname;
  for (const name of ["stories260K-hf", "babyllama105-hf", "gpt2-nano-sort-hf"]) {
    const found = await Deno.stat(`${root}${name}`).catch(() => undefined);
    if (found === undefined) return console.log("skipped, no ../shared");
    const model = await openModelFolder(`${root}${name}`);
    let count = 0;
    for (const [tensor, { shape }] of model.tensors) {
      const values = await model.read(tensor);
      assertEquals(values.length, shape.reduce((a, b) => a * b, 1));
      assert(values.every(Number.isFinite));
      count += values.length;
    }
    const expected = { "stories260K-hf": 260_032, "babyllama105-hf": 936_448, "gpt2-nano-sort-hf": 85_728 }[name]!;
    assert(Math.abs(count - expected) <= expected * 0.02, `${name}: ${count}`);
    assertEquals(model.warnings, []);
    model.close();
  }
});
