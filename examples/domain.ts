// Domain adaptation: the bundled base, which has read Moby Dick and the Bible, learns the language of the law (licences
// of the SPDX list, CC0), or of the texts of a JSONL file. What it forgets is measured; without the adapter, nothing.
//
//   deno run --allow-read examples/domain.ts [file.jsonl, such as ../shared/datasets/medical-pubmedqa/pubmedqa_pqal.jsonl]
import licences from "spdx-license-list/spdx-full.json" with { type: "json" };
import { assertEquals } from "@std/assert";
import { closeDevice, evaluate, loadDataset, loadModel, lora, openDevice, readJsonl, train } from "@graft/graft";

const assets = `${import.meta.dirname}/assets`;
const WINDOW = 128;

const device = await openDevice();
const model = await loadModel(device, `${assets}/base`);
const { tokenizer } = model;

/** Windows of tokens, each text from its start. */
const windowsOf = (texts: readonly string[]) =>
  texts.flatMap((text) => {
    const ids = Uint32Array.from(tokenizer.encode(text.replace(/\s+/g, " ")));
    const count = Math.ceil(ids.length / WINDOW);
    return Array.from({ length: count }, (_, i) => ids.subarray(i * WINDOW, (i + 1) * WINDOW))
      .filter(({ length }) => length > 1).map((window) => ({ ids: window, labels: Int32Array.from(window) }));
  });

async function readTexts(path: string): Promise<string[]> {
  const texts: string[] = [];
  for await (const { value } of readJsonl(path)) {
    texts.push(Object.values(value).filter((field) => typeof field === "string" && field.length > 20).join("\n"));
  }
  return texts;
}

const [file] = Deno.args;
const texts = file ? await readTexts(file) : Object.values(licences).map(({ licenseText }) => licenseText);
// Every tenth text is held out.
const held = { examples: windowsOf(texts.filter((_, i) => i % 10 === 0)).slice(0, 32) };
const data = { examples: windowsOf(texts.filter((_, i) => i % 10 !== 0)).slice(0, 320) };
const old = await loadDataset(`${assets}/old`, { tokenizer, maxLength: WINDOW, split: "valid", limit: 32 });
console.log(`${texts.length} texts; ${data.examples.length} windows of ${WINDOW} tokens are learned`);

const before = { domain: await evaluate(model, held), old: await evaluate(model, old) };
await model.addAdapter(lora({ rank: 16, alpha: 32, targetModules: "all-linear" }));
for await (const { step, steps, loss } of train(model, { data, learningRate: 4e-3, warmupSteps: 5, epochs: 1 })) {
  if (step % 20 === 0) console.log(`step ${step}/${steps}  loss ${loss.toFixed(3)}`);
}
const after = { domain: await evaluate(model, held), old: await evaluate(model, old) };
model.disableAdapter();
const without = await evaluate(model, held);

const row = (name: string, a: { perplexity: number }, b: { perplexity: number }) =>
  console.log(`${name.padEnd(30)} perplexity ${a.perplexity.toFixed(1)} before, ${b.perplexity.toFixed(1)} after`);
row("new domain, texts not seen", before.domain, after.domain);
row("old domain", before.old, after.old);
row("new domain, adapter off", before.domain, without);

assertEquals(without, before.domain); // the base is untouched, bit for bit
if (!(after.domain.perplexity < 0.8 * before.domain.perplexity)) {
  throw new Error("Cannot call this a success: the perplexity of the new domain fell by less than a fifth");
}
model.destroy();
closeDevice(device);
