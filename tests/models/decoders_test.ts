// Gradients of every family of decoders against the reference, and texts written with caches against whole passes.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { generateIds, UsageError } from "../../mod.ts";
import { gpuTest } from "../device.ts";
import { type GradientCheck, gradientErrors } from "./central_differences.ts";
import { DECODERS } from "./families.ts";
import { worstDifference } from "./folder.ts";
import { referenceLogits } from "./reference.ts";
import { withModel } from "./with_model.ts";

const text = (length: number, seed: number) => Array.from({ length }, (_, t) => (seed + 7 * t * t + 3 * t) % 61);
const input_ids = [text(11, 5), text(11, 11)];
const labels = input_ids.map((ids) => ids.map((id, t) => t < 3 ? -100 : id));

interface Check extends Pick<GradientCheck, "adapter" | "entries"> {
  readonly what: string;
  /** The class of devices whose kernels are used. */
  readonly kind: "gpu" | "software";
}

const ON_LOGITS: Check = {
  ...{ what: "LoRA on the output projection", entries: 10, kind: "software" },
  adapter: { targetModules: ["lm_head"] },
};

for (const [name, config] of Object.entries(DECODERS)) {
  const checks: readonly Check[] = [
    { what: "LoRA on all linear maps", adapter: { targetModules: "all-linear" }, entries: 28, kind: "gpu" },
    { what: "all weights", entries: 36, kind: "software" },
    ...config.final_logit_softcapping ? [ON_LOGITS] : [],
  ];
  for (const { what, kind, ...check } of checks) {
    const untied = what === ON_LOGITS.what ? { tie_word_embeddings: false } : {};
    gpuTest(
      `${name}: gradients of ${what} are central differences of the reference`,
      (device) =>
        withModel(device, { ...config, ...untied }, async (model) => {
          const { loss, worst, largest } = await gradientErrors({ model, input_ids, labels, ...check });
          const figures = [loss, worst].map((x) => x.toExponential(1)).join(", ");
          console.log(`errors of the loss and of gradients ${figures}, gradients up to ${largest.toFixed(2)}`);
          assert(loss < 2e-6); // losses around 5 in f32
          assert(worst < 2e-6 * Math.max(1, largest)); // through two layers in f32
          if (!check.adapter || what === ON_LOGITS.what) return;
          const { logits: { data: adapted } } = await model.forward({ input_ids });
          await model.merge();
          const { logits: { data: merged } } = await model.forward({ input_ids });
          const size = adapted.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
          assert(worstDifference(merged, adapted) < 1e-5 * size);
        }),
      { kind },
    );
  }

  gpuTest(
    `${name}: greedy texts far beyond the windows are the likeliest tokens of whole passes`,
    (device) =>
      withModel(device, config, async (model) => {
        const prompts = [2, 26, 17, 1].map((length, s) => text(length, s));
        const together = await generateIds(model, prompts, { maxNewTokens: 24 });
        for (const [s, prompt] of prompts.entries()) {
          const all = [...prompt, ...together[s]!];
          assertEquals(all.length, Math.min(prompt.length + 24, model.state.architecture.positions));
          const { logits: { data } } = await model.forward({ input_ids: [all.slice(0, -1)] });
          together[s]!.forEach((id, i) => {
            const row = data.subarray((prompt.length - 1 + i) * 61, (prompt.length + i) * 61);
            assertEquals(id, row.indexOf(Math.max(...row)), `prompt ${s}, token ${i}`);
          });
        }
      }),
  );
}

gpuTest("phi3: a text that outgrows the first context is read again with the angles of long texts", (device) => {
  const config = { ...DECODERS["phi3, windows of 9 and longrope"]!, original_max_position_embeddings: 16 };
  return withModel(device, config, async (model, reference) => {
    const likeliest = (ids: readonly number[]) => {
      const row = referenceLogits(reference, ids).at(-1)!;
      return row.indexOf(Math.max(...row));
    };
    const prompts = [text(12, 5), text(3, 9), text(20, 11), text(16, 2)];
    const together = await generateIds(model, prompts, { maxNewTokens: 9 });
    for (const [s, prompt] of prompts.entries()) {
      const all = [...prompt];
      for (let t = 0; t < 9; t++) all.push(likeliest(all));
      assertEquals(together[s], all.slice(prompt.length), `prompt ${s}`);
      assertEquals((await generateIds(model, [prompt], { maxNewTokens: 9 }))[0], together[s]);
    }
    await assertRejects(
      () => generateIds(model, prompts, { maxNewTokens: 9, numBeams: 2 }),
      UsageError,
      "16 positions",
    );
    assertEquals((await generateIds(model, [prompts[1]!], { maxNewTokens: 9, numBeams: 2 }))[0]!.length, 9);
    assertEquals((await generateIds(model, [prompts[2]!], { maxNewTokens: 9, numBeams: 2 }))[0]!.length, 9);
  });
});
