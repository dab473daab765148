// Reference cases of methods, computed in f64 with PyTorch, transformers and PEFT: logits, gradients, training, merging.
import { assert } from "@std/assert";
import { runCase } from "../../src/cli/parity_case.ts";
import { gpuTest } from "../device.ts";
import { fixture } from "../models/folder.ts";

const CASES = [
  "gpt2-dora",
  "llama-dora",
  "gpt2-ia3",
  "llama-ia3",
  "llama-vera",
  "gpt2-lntuning",
  "gpt2-prompt",
  "gpt2-prefix",
];

for (const name of CASES) {
  gpuTest(`parity: ${name}`, async (device) => {
    const report = await runCase(device, fixture(name));
    console.log(JSON.stringify({ case: name, ...report }));
    assert(report.ok);
    // What f32 rounding of these sizes leaves is far below what the command accepts.
    for (const key of ["base_logits", "logits", "loss", "losses", "final_loss"] as const) {
      assert(report[key] < 5e-6, key);
    }
    assert(report.gradients < 5e-6);
    assert(report.final_adapter! < 1e-3);
  });
}
