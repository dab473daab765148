// Adapter folders: the round trip, byte-identical weights of PEFT, and folders that are no PEFT adapter.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { CheckpointError, type GraftError } from "../../src/core/errors.ts";
import { readAdapterFolder, writeAdapterFolder } from "../../src/io/adapter_file.ts";
import { encodeSafetensors } from "../../src/io/safetensors_write.ts";
import { fromF32 } from "../../src/io/tensor_dtype.ts";
import { withFolder } from "../temp_folder.ts";

const config = {
  peft_type: "LORA",
  r: 2,
  lora_alpha: 4,
  target_modules: ["q_proj"],
  base_model_name_or_path: "org/name",
  task_type: "CAUSAL_LM",
};
const tensors = new Map([
  ["base_model.model.q_proj.lora_B.weight", { shape: [3, 2], data: Float32Array.of(1, 2, 3, 4, 5, NaN) }],
  ["base_model.model.q_proj.lora_A.weight", { shape: [2, 1], data: Float32Array.of(-0, 1e-45) }],
]);

Deno.test("adapter folder: what is written is read again, bit for bit", async () => {
  await withFolder(async (folder) => {
    await writeAdapterFolder(`${folder}/out`, { config, tensors });
    const read = await readAdapterFolder(`${folder}/out`);
    assertEquals(read.config, { ...config, inference_mode: true });
    assertEquals(read.warnings, []);
    assertEquals([...read.tensors.keys()], [...tensors.keys()].sort());
    for (const [name, { shape, data }] of tensors) {
      assertEquals(read.tensors.get(name)?.shape, shape);
      assertEquals(new Uint32Array(read.tensors.get(name)!.data.buffer), new Uint32Array(data.buffer));
    }
    const json = await Deno.readTextFile(`${folder}/out/adapter_config.json`);
    assert(json.startsWith('{\n  "base_model_name_or_path": "org/name",\n  "inference_mode": true,'));
    const card = await Deno.readTextFile(`${folder}/out/README.md`);
    assert(card.includes('base_model: "org/name"') && card.includes("library_name: peft"));
  });
});

Deno.test("adapter folder: an older adapter is replaced, a README of the user stays", async () => {
  await withFolder(async (folder) => {
    await writeAdapterFolder(folder, { config, tensors });
    await Deno.writeTextFile(`${folder}/README.md`, "mine");
    await Deno.mkdir(`${folder}/checkpoint-5`);
    await writeAdapterFolder(folder, {
      config: { ...config, r: 1 },
      tensors: new Map([["x", { shape: [1], data: Float32Array.of(1) }]]),
    });
    const read = await readAdapterFolder(folder);
    assertEquals(read.config["r"], 1);
    assertEquals([...read.tensors.keys()], ["x"]);
    assertEquals(await Deno.readTextFile(`${folder}/README.md`), "mine");
    await writeAdapterFolder(folder, { config, tensors, readme: "new" });
    assertEquals(await Deno.readTextFile(`${folder}/README.md`), "new");
    const names = Array.from(Deno.readDirSync(folder), ({ name }) => name).sort();
    assertEquals(names, ["README.md", "adapter_config.json", "adapter_model.safetensors", "checkpoint-5"]);
  });
});

Deno.test("adapter folder: refused writes leave nothing", async () => {
  await withFolder(async (folder) => {
    const out = `${folder}/out`;
    const code = async (options: Parameters<typeof writeAdapterFolder>[1]) =>
      (await assertRejects(() => writeAdapterFolder(out, options)) as GraftError).code;
    assertEquals(await code({ config: { r: 2 }, tensors }), "adapter/peft-type");
    assertEquals(await code({ config: { ...config, lora_alpha: NaN }, tensors }), "json/not-finite");
    const short = new Map([["a\u001b", { shape: [2], data: Float32Array.of(1) }]]);
    assertEquals(await code({ config, tensors: short }), "adapter/shape");
    await assertRejects(() => Deno.stat(out), Deno.errors.NotFound);
  });
});

Deno.test("adapter folder: a local path or hostile text does not reach the card's header", async () => {
  for (const base of ["/home/me/secret", 'x"\ninjected: true', "../x/y", null, 5]) {
    await withFolder(async (folder) => {
      await writeAdapterFolder(folder, { config: { ...config, base_model_name_or_path: base }, tensors });
      const card = await Deno.readTextFile(`${folder}/README.md`);
      assert(!card.includes("base_model:") && !card.includes("secret") && !card.includes("injected"));
    });
  }
});

Deno.test("adapter folder: f16 and bf16 weights come as f32", async () => {
  for (const [dtype, stored] of [["F16", "f16"], ["BF16", "bf16"]] as const) {
    await withFolder(async (folder) => {
      const data = fromF32(Float32Array.of(1.5, -2), stored).bytes;
      await Deno.writeTextFile(`${folder}/adapter_config.json`, '{"peft_type":"LORA"}');
      await Deno.writeFile(
        `${folder}/adapter_model.safetensors`,
        encodeSafetensors([{ name: "a", dtype, shape: [2], data }]),
      );
      assertEquals((await readAdapterFolder(folder)).tensors.get("a")?.data, Float32Array.of(1.5, -2));
    });
  }
});

Deno.test("adapter folder: what is no PEFT adapter", async () => {
  const peft = '{"peft_type":"LORA"}';
  const rows: readonly (readonly [code: string, files: Readonly<Record<string, string>>])[] = [
    ["adapter/no-config", {}],
    ["adapter/no-config", { "adapter_model.safetensors": "" }],
    ["adapter/no-weights", { "adapter_config.json": peft }],
    ["adapter/pickle", { "adapter_config.json": peft, "adapter_model.bin": "" }],
    ["adapter/no-weights", {
      "adapter_config.json": '{"fine_tune_type":"lora","lora_parameters":{"rank":8}}',
      "adapter_model.safetensors": "",
    }],
    ["adapter/peft-type", { "adapter_config.json": '{"r":8}', "adapter_model.safetensors": "" }],
    ["adapter/config", { "adapter_config.json": "[]" }],
    ["json/syntax", { "adapter_config.json": '{"peft_type":"LORA",}' }],
    ["json/duplicate-key", { "adapter_config.json": '{"peft_type":"LORA","r":1,"r":2}' }],
    ["st/header-too-small", { "adapter_config.json": peft, "adapter_model.safetensors": "" }],
  ];
  for (const [code, files] of rows) {
    await withFolder(async (folder) => {
      for (const [name, text] of Object.entries(files)) await Deno.writeTextFile(`${folder}/${name}`, text);
      const error = await assertRejects(() => readAdapterFolder(folder)) as GraftError;
      assertEquals(error.code, code, error.message);
      assert(error.message.includes(folder));
    });
  }
  const missing = await assertRejects(() => readAdapterFolder("/tmp/nonexistent-graft-adapter"), CheckpointError);
  assertEquals(missing.code, "adapter/not-found");
});

Deno.test("adapter folder: prototypes stay as they are", async () => {
  await withFolder(async (folder) => {
    const before = Reflect.ownKeys(Object.prototype).length;
    const evil =
      '{"peft_type":"LORA","__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"toString":null}';
    await Deno.writeTextFile(`${folder}/adapter_config.json`, evil);
    await Deno.writeFile(`${folder}/adapter_model.safetensors`, encodeSafetensors([]));
    const { config, warnings } = await readAdapterFolder(folder);
    assertEquals(Object.keys(config), ["peft_type", "__proto__", "constructor", "toString"]);
    assertEquals(warnings.length, 1);
    await writeAdapterFolder(folder, { config, tensors });
    const text = await Deno.readTextFile(`${folder}/adapter_config.json`);
    assert(text.includes('"__proto__": {\n    "polluted": 1'));
    assertEquals(Reflect.ownKeys(Object.prototype).length, before);
    assertEquals(({} as { polluted?: number }).polluted, undefined);
  });
});

Deno.test("adapter folder: PEFT's own adapters are read, and their weights written byte for byte", async () => {
  const root = new URL("../../../shared/fixtures/", import.meta.url).pathname;
  if (await Deno.stat(root).catch(() => undefined) === undefined) return console.log("skipped, no ../shared");
  let count = 0;
  for (const { name } of Deno.readDirSync(root)) {
    const from = `${root}${name}/adapter_init`;
    if (await Deno.stat(`${from}/adapter_config.json`).catch(() => undefined) === undefined) continue;
    await withFolder(async (folder) => {
      const adapter = await readAdapterFolder(from);
      await writeAdapterFolder(folder, adapter);
      const file = "adapter_model.safetensors";
      assertEquals(await Deno.readFile(`${folder}/${file}`), await Deno.readFile(`${from}/${file}`), name);
      const again = JSON.parse(await Deno.readTextFile(`${folder}/adapter_config.json`));
      assertEquals(again, JSON.parse(await Deno.readTextFile(`${from}/adapter_config.json`)));
      count++;
    });
  }
  assert(count >= 20);
  console.log(`${count} adapters of PEFT read and written byte for byte`);
});
