// Adapters away from their start.
import type { Model } from "../../mod.ts";
import { normal, randomKey } from "../../src/core/random.ts";
import { writeAdapter } from "../../src/train/tensors.ts";

/** Move every trained tensor of the adapter in use away from its start, so that zeros hide nothing. */
export async function disturb(model: Model, by = 0.2): Promise<void> {
  const adapter = model.state.adapters.get(model.activeAdapter!)!;
  const values = new Map<string, Float32Array<ArrayBuffer>>();
  for (const [name, data] of await model.adapterTensors()) {
    if (adapter.tensors.get(name)!.frozen) continue;
    values.set(name, data.map((x, i) => x + by * normal(randomKey(5, name), i)) as Float32Array<ArrayBuffer>);
  }
  await writeAdapter(model.state, adapter, values);
}
