// "Eager mode" is an interpreter over the same list: one dispatch a submit, each output looked at.
import { bytes, size } from "../core/dims.ts";
import { NumericError } from "../core/errors.ts";
import { inPlaceOf } from "../graph/fuse.ts";
import type { Range, Value, Values } from "../graph/graph.ts";
import { valueOf } from "../graph/kernels.ts";
import { readBack } from "./buffer.ts";
import { checked } from "./device.ts";
import { begin, type Executable } from "./executable.ts";

/** Position of the first word that is not a finite f32, by its bits; -1 if all are. */
export function firstNonFinite(words: Uint32Array): number {
  return words.findIndex((w) => (w & 0x7f800000) >>> 0 === 0x7f800000);
}

/**
 * Run the program one dispatch at a time and stop at the first output that is not finite. An op that writes in place
 * has what it wrote looked at.
 *
 * @throws {NumericError} `num/non-finite` naming the op, its place in the model, the element, the sizes of its inputs
 * and which of them was not finite already.
 */
export async function interpret(executable: Executable): Promise<void> {
  const { device, places, dispatches } = executable;
  begin(executable);
  for (const [i, { pipeline, group, grid: [x, y, z], kernel, node }] of dispatches.entries()) {
    const where = `${node.scope ? `${node.scope}: ` : ""}${kernel.name}`;
    const base = inPlaceOf(node);
    const outputs: readonly (Value | Range)[] = node.outputs.length > 0 ? node.outputs : kernel.write;
    await checked(device, `run ${where}`, () => {
      const encoder = device.gpu.createCommandEncoder();
      if (dispatches[i - 1]?.node !== node) {
        // Scratch holds what its last user left, and an op may leave a part unwritten that nobody reads.
        for (const v of (node.outputs as Values).filter((v) => !places.has(v) && !(base && v === node.outputs[0]))) {
          const { buffer, offset } = executable.locate(v);
          encoder.clearBuffer(buffer, 4 * offset, bytes(v));
        }
      }
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(x, y, z);
      pass.end();
      device.gpu.queue.submit([encoder.finish()]);
    });
    // A node may have more kernels to run; one that writes in place is looked at after each.
    if (node.outputs.length > 0 && dispatches[i + 1]?.node === node) continue;
    for (const output of outputs) {
      const found = await badElement(executable, output);
      if (!found) continue;
      const [value, at] = found;
      const shape = valueOf(output).shape;
      const inputs = (node.inputs as Values).map((v) => `${v.name} [${v.shape}]`).join(", ");
      const culprits: string[] = [];
      for (const v of new Set(node.inputs as Values)) {
        const bad = v === base || outputs.some((o) => valueOf(o) === v) ? undefined : await badElement(executable, v);
        if (bad) culprits.push(`"${v.name}" holds ${bad[0]} at element ${bad[1]} already`);
      }
      throw new NumericError(
        "num/non-finite",
        `Cannot go on as ${where} (dispatch ${
          i + 1
        } of ${dispatches.length}) made ${value} at element ${at} of [${shape}] ` +
          `from ${inputs || "nothing"}${culprits.length > 0 ? `: ${culprits.join(", ")}` : ""}`,
      );
    }
  }
}

/** The first element that is not finite, and where; nothing for whole numbers. */
async function badElement(
  { device, locate }: Executable,
  binding: Value | Range,
): Promise<readonly [value: number, at: number] | undefined> {
  const value = valueOf(binding);
  if (value.dtype !== "f32") return undefined;
  const [first, length] = "value" in binding ? [binding.offset, binding.length] : [0, size(value.shape)];
  const { buffer, offset } = locate(value);
  const [words] = await readBack(device, value.name, [{ buffer, offset: offset + first, length }]);
  const at = firstNonFinite(words!);
  return at < 0 ? undefined : [new Float32Array(words!.buffer)[at]!, first + at];
}
