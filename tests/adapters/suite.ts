// What every fine-tuning method promises, whatever it computes: one list of tests, run on a method and a base model.
import { assert, assertEquals, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import { type AdapterConfig, type Batch, evaluate, type GraftDevice, loadModel, type Model, train } from "../../mod.ts";
import { CheckpointError, NumericError, UsageError } from "../../src/core/errors.ts";
import { readAdapterFolder, writeAdapterFolder } from "../../src/io/adapter_file.ts";
import { encodeSafetensors } from "../../src/io/safetensors_write.ts";
import { fromF32, toF32 } from "../../src/io/tensor_dtype.ts";
import { gpuTest } from "../device.ts";
import { bits, datasetOf, fixture, worstDifference } from "../models/folder.ts";
import { withFolder } from "../temp_folder.ts";

/** A method on a base model. */
export interface SuiteCase {
  /** The fixture that has the base model, batches, and adapters as PEFT saves them. */
  readonly name: string;
  /** The settings that made the fixture's adapter. */
  readonly config: AdapterConfig;
  /** The same with dropout, where the method has it. */
  readonly withDropout?: AdapterConfig;
  /** Whether a fresh adapter changes nothing; "almost": up to the rounding of a factor of one. */
  readonly startsAsBase: boolean | "almost";
  /** Whether the adapter can be folded into the weights. */
  readonly merges: boolean;
  /** Which of its tensors are never trained. */
  readonly isFrozen?: (key: string) => boolean;
}

interface Context {
  readonly folder: string;
  readonly batches: readonly Batch[];
  /** A fresh base model. */
  readonly load: () => Promise<Model>;
}

const ADAPTER = "adapter_model.safetensors";

/** Register the tests of one case. */
export function adapterSuite(suite: SuiteCase): void {
  const test = (what: string, body: (context: Context) => Promise<void>) =>
    gpuTest(`${suite.name}: ${what}`, async (device: GraftDevice) => {
      const folder = fixture(suite.name);
      const { batches } = JSON.parse(await Deno.readTextFile(`${folder}/case.json`));
      const models: Model[] = [];
      const load = async () => {
        const model = await loadModel(device, `${folder}/model`);
        models.push(model);
        return model;
      };
      try {
        await body({ folder, batches, load });
      } finally {
        models.forEach((model) => model.destroy());
      }
    });

  test("training changes the adapter and nothing else; off is the base, and a saved file is the same adapter", (c) =>
    trainsAlone(suite, c));
  test("adapters of f16 and bf16 load as rounded", (c) => loadsHalves(c));
  test("adapters live side by side", (c) => sideBySide(suite, c));
  test("a file that does not fit is refused, with its tensors listed", (c) => refusesFiles(c));
  if (suite.merges) {
    test("merged is unmerged to rounding, and undone bit for bit", (c) => merges(c));
    test("a merge that is not finite changes nothing", (c) => refusesMerge(c));
  } else test("merging is refused, with what to do instead", (c) => cannotMerge(c));
  if (suite.withDropout) test("dropout acts in training only, the same for the same seed", (c) => drops(suite, c));
}

async function trainsAlone(
  { config, startsAsBase, isFrozen = () => false }: SuiteCase,
  { folder, batches, load }: Context,
): Promise<void> {
  const [model, other] = [await load(), await load()];
  const first = batches[0]!;
  const base = await run(model, first);
  const weights = await model.weights();
  const hash = await fileHash(`${folder}/model/model.safetensors`);
  await model.addAdapter(config);
  const fresh = await run(model, first);
  if (startsAsBase === true) assertEquals(fresh, base);
  if (startsAsBase) assert(worstDifference(fresh, base) < 1e-5);
  const before = await model.adapterTensors();
  for await (const _ of train(model, { data: batches.slice(0, 3), learningRate: 1e-2 }));

  for (const [key, data] of await model.adapterTensors()) {
    (isFrozen(key) ? assertEquals : assertNotEquals)(bits(data), bits(before.get(key)!), key);
  }
  for (const [key, data] of await model.weights()) assertEquals(bits(data), bits(weights.get(key)!), key);
  assertEquals(await fileHash(`${folder}/model/model.safetensors`), hash);
  const trained = await run(model, first);
  assertNotEquals(trained, fresh);
  model.disableAdapter();
  assertEquals(await run(model, first), base);
  model.setAdapter("default");
  assertEquals(await run(model, first), trained);

  await withFolder(async (out) => {
    await model.saveAdapter(out);
    const [ours, theirs] = [await readAdapterFolder(out), await readAdapterFolder(`${folder}/adapter_init`)];
    const shapes = (file: typeof ours) => [...file.tensors].map(([key, { shape }]) => `${key} [${shape}]`).sort();
    assertEquals(shapes(ours), shapes(theirs));
    await other.addAdapter(config, { name: "another seed", seed: 7 });
    if (startsAsBase === false) assertNotEquals(await run(other, first), fresh);
    await other.loadAdapter(out);
    assertEquals(await run(other, first), trained);
  });
}

async function loadsHalves({ folder, batches, load }: Context): Promise<void> {
  const model = await load();
  const { config, tensors } = await readAdapterFolder(`${folder}/adapter_final`);
  await model.loadAdapter(`${folder}/adapter_final`);
  const full = await run(model, batches[0]!);
  for (const [dtype, type, limit] of [["f16", "F16", 1e-2], ["bf16", "BF16", 1e-1]] as const) {
    await withFolder(async (out) => {
      await writeAdapterFolder(out, { config, tensors });
      const entries = [...tensors].map(([name, { shape, data }]) => ({
        name,
        shape,
        dtype: type,
        data: fromF32(data, dtype).bytes,
      }));
      await Deno.writeFile(`${out}/${ADAPTER}`, encodeSafetensors(entries, { metadata: { format: "pt" } }));
      await model.loadAdapter(out, { name: dtype });
      const loaded = await model.adapterTensors();
      for (const { name, data } of entries) assertEquals(bits(loaded.get(name)!), bits(toF32(type, data)), name);
      const worst = worstDifference(full, await run(model, batches[0]!));
      assert(worst > 0 && worst < limit, `${dtype}: ${worst}`); // factors rounded to 11 and 8 bits
    });
  }
}

async function sideBySide({ config }: SuiteCase, { folder, batches, load }: Context): Promise<void> {
  const model = await load();
  const first = batches[0]!;
  const base = await run(model, first);
  assertEquals((await assertRejects(() => model.saveAdapter("never"), CheckpointError)).code, "adapter/none");
  await model.loadAdapter(`${folder}/adapter_init`, { name: "a" });
  const a = await run(model, first);
  // A name that begins like another: their buffers must not be mistaken for each other.
  await model.loadAdapter(`${folder}/adapter_final`, { name: "a b" });
  const b = await run(model, first);
  assertNotEquals(a, b);
  const trainable = model.parameters.trained;
  model.setAdapter("a");
  assertEquals(await run(model, first), a);
  assertEquals(model.activeAdapter, "a");
  for await (const _ of train(model, { data: [first], learningRate: 1e-3 }));
  assertNotEquals(await run(model, first), a);
  model.setAdapter("a b");
  assertEquals(await run(model, first), b);
  assertEquals(model.parameters.trained, trainable);
  model.disableAdapter();
  assertEquals([model.activeAdapter, model.parameters.trained], [undefined, 0]);
  assertEquals(await run(model, first), base);
  assertThrows(() => train(model, { data: [first] }), UsageError, "every weight is frozen");
  assertThrows(() => model.setAdapter("c\x1b"), UsageError, 'called "c\\u{1b}": the model has "a", "a b"');
  assertEquals((await assertRejects(() => model.addAdapter(config, { name: "a" }), UsageError)).code, "adapter/exists");
}

async function merges({ folder, batches, load }: Context): Promise<void> {
  const model = await load();
  const first = batches[0]!;
  const base = await run(model, first);
  const weights = await model.weights();
  await model.loadAdapter(`${folder}/adapter_final`);
  const adapted = await run(model, first);
  await model.merge();
  const merged = await run(model, first);
  assertEquals((await assertRejects(() => model.merge(), CheckpointError)).code, "merge/already");
  assertThrows(() => model.disableAdapter(), CheckpointError, "unmerge() first");
  await model.unmerge();
  for (const [key, data] of await model.weights()) assertEquals(bits(data), bits(weights.get(key)!), key);
  assertEquals(await run(model, first), adapted);
  assertEquals((await assertRejects(() => model.unmerge(), CheckpointError)).code, "merge/none");
  await withFolder(async (out) => {
    await model.saveMerged(`${out}/merged`);
    const reloaded = await loadModel(model.device, `${out}/merged`);
    const again = await run(reloaded, first);
    reloaded.destroy();
    assertEquals(again, merged);
  });
  const worst = worstDifference(adapted, merged);
  console.log(`merged against unmerged logits: ${worst.toExponential(1)}`);
  assert(worst < 1e-5); // f32 logits around 1
  assert(worstDifference(base, merged) > 1e-2);
}

async function cannotMerge({ folder, batches, load }: Context): Promise<void> {
  const model = await load();
  await model.loadAdapter(`${folder}/adapter_final`);
  const adapted = await run(model, batches[0]!);
  const error = await assertRejects(() => model.merge(), CheckpointError, "Use it beside the base");
  assertEquals(error.code, "merge/method");
  await assertRejects(() => model.saveMerged("never"), CheckpointError);
  assertEquals(await run(model, batches[0]!), adapted);
}

async function refusesMerge({ folder, batches, load }: Context): Promise<void> {
  const model = await load();
  const base = await run(model, batches[0]!);
  const { config, tensors } = await readAdapterFolder(`${folder}/adapter_final`);
  const last = [...tensors.values()].at(-1)!;
  last.data[last.data.length - 1] = NaN;
  await withFolder(async (out) => {
    await writeAdapterFolder(out, { config, tensors });
    await model.loadAdapter(out);
    const error = await assertRejects(() => model.merge(), NumericError, "nothing was changed");
    assertEquals(error.code, "merge/non-finite");
    await assertRejects(() => model.saveMerged(`${out}/merged`), NumericError);
    await assertRejects(() => Deno.stat(`${out}/merged`), Deno.errors.NotFound);
  });
  assertEquals(model.activeAdapter, "default");
  model.disableAdapter();
  assertEquals(await run(model, batches[0]!), base);
}

async function drops({ withDropout, config }: SuiteCase, { batches, load }: Context): Promise<void> {
  const figures = async (settings: AdapterConfig, seed: number) => {
    const model = await load();
    await model.addAdapter(settings);
    const losses: number[] = [];
    const data = Array(4).fill(batches[0]!);
    for await (const { loss } of train(model, { data, learningRate: 2e-2, seed })) losses.push(loss);
    const tensors = await model.adapterTensors();
    const values = [await run(model, batches[0]!), await run(model, batches[0]!)];
    return { losses, tensors: [...tensors.values()].map(bits), values };
  };
  const [plain, dropped, same, another] = [
    await figures(config, 1),
    await figures(withDropout!, 1),
    await figures(withDropout!, 1),
    await figures(withDropout!, 2),
  ];
  assertEquals(dropped, same);
  assertNotEquals(dropped.losses, plain.losses);
  assertNotEquals(dropped.losses, another.losses);
  assertEquals(dropped.values[0], dropped.values[1]); // evaluation draws nothing

  const model = await load();
  await model.addAdapter(withDropout!);
  for await (const _ of train(model, { data: batches.slice(0, 2), learningRate: 2e-2 }));
  const { loss } = await model.forward(batches[0]!);
  const evaluated = await evaluate(model, datasetOf([batches[0]!]));
  assert(Math.abs(evaluated.loss - loss!) < 1e-6); // sums of a dozen f32 losses in another order
}

async function refusesFiles({ folder, load }: Context): Promise<void> {
  const model = await load();
  const { config, tensors } = await readAdapterFolder(`${folder}/adapter_final`);
  const [key] = tensors.keys();
  const one = tensors.get(key!)!;
  const without = [...tensors].filter(([name]) => name !== key);
  const [rows = 1, ...rest] = one.shape;
  const broken: Readonly<Record<string, [Map<string, typeof one>, string]>> = {
    "missing": [new Map(without), `1 of ${tensors.size} tensors are missing: ${key}`],
    "surplus": [new Map([...tensors, ["extra\x1b", one]]), "belong to nothing in this model: extra\\u{1b}"],
    "shape": [
      new Map([...without, [key!, {
        shape: [rows + 1, ...rest],
        data: new Float32Array(one.data.length / rows * (rows + 1)),
      }]]),
      `${key} is [${[rows + 1, ...rest]}], this model needs [${one.shape}]`,
    ],
    "infix": [
      new Map([...tensors].map(([name, value]) => [name.replace(/(\.weight)?$/, ".default$1"), value])),
      `${tensors.size} of ${tensors.size} tensors are missing`,
    ],
    "empty": [new Map(), "are missing"],
  };
  for (const [what, [content, text]] of Object.entries(broken)) {
    await withFolder(async (out) => {
      await writeAdapterFolder(out, { config, tensors: content });
      // deno-lint-ignore no-explicit-any
      const error: any = await assertRejects(() => model.loadAdapter(out), Error, undefined, what);
      assertEquals(error.code, "adapter/keys");
      assert(error.message.includes(text) && error.message.startsWith(out), error.message);
    });
  }
  assertEquals(model.activeAdapter, undefined);
  await withFolder(async (out) => {
    const warnings: string[] = [];
    await writeAdapterFolder(out, { config: { ...config, "new\x1bfield": 1 }, tensors });
    await model.loadAdapter(out, { warn: (text) => warnings.push(text) });
    assertEquals(warnings, ["adapter_config.json has unknown fields: new\\u{1b}field"]);
  });
}

async function run(model: Model, batch: Batch): Promise<Float32Array> {
  return (await model.forward(batch)).logits.data;
}

async function fileHash(path: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", await Deno.readFile(path));
  return new Uint8Array(digest).toHex();
}
