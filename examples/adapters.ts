// Two adapters on one base: chosen by name, switched off, folded into the weights and taken out again.
//
//   deno run --allow-read=examples examples/adapters.ts
import { closeDevice, loadModel, lora, openDevice } from "@graft/graft";

const device = await openDevice();
const model = await loadModel(device, `${import.meta.dirname}/assets/base`);
const batch = { input_ids: [[82, 300, 7, 911, 45, 6, 1200, 33]] };

/** The logits [T·V] of the adapter in use. */
async function logits(): Promise<Float32Array> {
  return (await model.forward(batch)).logits.data;
}

/** Largest difference of two lists of logits. */
function distance(a: Float32Array, b: Float32Array): number {
  return a.reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i]!)), 0);
}

function check(what: string, ok: boolean): void {
  console.log(`${ok ? "ok   " : "WRONG"} ${what}`);
  if (!ok) throw new Error(`Cannot confirm: ${what}`);
}

const base = await logits();

// `init: false` starts both of an adapter's matrices at random, as if they had been trained.
await model.addAdapter(lora({ rank: 4, init: false, targetModules: ["q_proj", "v_proj"] }), { name: "a", seed: 1 });
const withA = await logits();
await model.addAdapter(lora({ rank: 8, init: false, targetModules: "all-linear" }), { name: "b", seed: 2 });
const withB = await logits();
check("each adapter changes the logits in its own way", distance(base, withA) > 0.01 && distance(withA, withB) > 0.01);

model.setAdapter("a");
check("the first one is back, bit for bit", distance(await logits(), withA) === 0);
model.disableAdapter();
check("without an adapter the model is its base, bit for bit", distance(await logits(), base) === 0);

model.setAdapter("b");
await model.merge();
const error = distance(await logits(), withB);
// Rounding of W + s·B·A in f32 instead of two products; the logits are of the order of 10.
check(`merged weights give the same logits (largest difference ${error.toExponential(1)})`, error < 1e-3);
await model.unmerge();
model.disableAdapter();
check("unmerged, the base is restored bit for bit", distance(await logits(), base) === 0);

model.destroy();
closeDevice(device);
