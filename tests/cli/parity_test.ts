// Reference cases of every task, computed with PyTorch, transformers and PEFT, through the command's own function.
import { assert } from "@std/assert";
import { runCase } from "../../src/cli/parity_case.ts";
import { gpuTest } from "../device.ts";
import { fixture } from "../models/folder.ts";

for (
  const name of [
    "bert-seqcls",
    "bert-regression",
    "bert-tokcls",
    "bert-qa",
    "bert-mlm",
    "gpt2-seqcls",
    "t5-gated",
    "t5-lora",
    "qwen2-lora",
    "qwen3-lora",
  ]
) {
  gpuTest(`parity: ${name}`, async (device) => {
    const report = await runCase(device, fixture(name));
    console.log(JSON.stringify(report));
    assert(report.ok);
    // f32 rounding of losses around 1 and of gradients through two layers.
    assert(Math.max(report.loss, report.losses, report.final_loss, report.disabled_loss!, report.merged_loss!) < 2e-6);
    assert(report.gradients < 5e-6 && report.final_adapter! < 5e-5);
  });
}
