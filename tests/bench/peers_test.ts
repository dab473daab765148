import { assert, assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../mod.ts";
import { peers } from "../../bench/peers/catalog.ts";
import {
  checkpointName,
  loadPeers,
  type PeersResult,
  publishedLosses,
  runPeers,
} from "../../bench/peers/graft_model.ts";
import { writeInputs } from "../../bench/peers/inputs.ts";
import { lastLines, parseMeasured } from "../../bench/process.ts";
import { verdict } from "../../bench/peers/verdict.ts";
import { gpuTest } from "../device.ts";
import { sharedFolder } from "../shared.ts";
import { withFolder } from "../temp_folder.ts";

Deno.test("peers: names of the shared layout are GPT-2's", () => {
  assertEquals(checkpointName("wte"), "wte.weight");
  assertEquals(checkpointName("h0.qkv_w"), "h.0.attn.c_attn.weight");
  assertEquals(checkpointName("h3.o_b"), "h.3.attn.c_proj.bias");
  assertEquals(checkpointName("h1.ln2_g"), "h.1.ln_2.weight");
  assertEquals(checkpointName("h1.pr_w"), "h.1.mlp.c_proj.weight");
  assertEquals(checkpointName("lnf_b"), "ln_f.bias");
});

gpuTest("peers: the first LoRA losses of the shared benchmark are the published ones", async (device) => {
  const shared = sharedFolder();
  if (!shared) return;
  const run = await loadPeers(device, `${shared}/peers/common`, "lora");
  const [{ losses }] = await runPeers([run], 6) as [PeersResult];
  run.model.destroy();
  const errors = [...publishedLosses.lora].filter(([step]) => step < losses.length)
    .map(([step, loss]) => Math.abs(losses[step]! - loss));
  const worst = Math.max(...errors);
  console.log(
    `${errors.length} of the losses ${losses.map((x) => x.toFixed(4)).join(" ")}: off by ${worst.toFixed(5)}`,
  );
  assertEquals(errors.length, 4);
  assert(worst < 1e-3); // published with four digits; the peers differ by as much
});

gpuTest(
  "peers: without ../shared the benchmark has weights and tokens of its own",
  (device) =>
    withFolder(async (folder) => {
      await Deno.mkdir(`${folder}/own`);
      assertEquals(await writeInputs(`${folder}/own`, () => {}, { shared: `${folder}/none` }), "own");
      const run = await loadPeers(device, `${folder}/own`, "lora");
      const [{ losses }] = await runPeers([run], 2) as [PeersResult];
      run.model.destroy();
      assertEquals([run.layout.layout.length, run.batches.length], [52, 64]);
      // Random weights: about ln(1024) = 6.93, and less after a step.
      assert(Math.abs(losses[0]! - Math.log(1024)) < 0.1 && losses[1]! < losses[0]! + 0.05, losses.join(" "));
      const [{ inputs, B, T }] = run.batches as [typeof run.batches[0]];
      const labels = inputs.labels!.data;
      const follow = inputs.input_ids!.data.filter((x: number, i: number) => labels[i] === (9 * x + 101) % 256).length;
      assert(follow > 0.8 * B * T && follow < 0.9 * B * T, `${follow} of ${B * T} tokens follow the rule`);
    }),
);

Deno.test("peers: a report is the last line; anything else is an error that shows it", () => {
  assertEquals(parseMeasured('Backend set\n{"ms":[3,2],"losses":[7,6],"note":"n"}\n').ms, [3, 2]);
  for (const text of ["", "{}", "null", '{"ms":[],"losses":[]}', '{"ms":[1],"losses":[]}', "\x1b[31mno device"]) {
    const error = assertThrows(() => parseMeasured(text), UsageError, "Cannot read the report");
    assert(!error.message.includes("\x1b"));
  }
  assertEquals(lastLines("a\n\x1b[31mb\x1b[0m\n", 10), "a b");
});

Deno.test("peers: ratios of medians are held against their limits on the software driver only", () => {
  const medians = {
    full: new Map([["graft", 300], ["jax-js wasm", 400], ["tfjs webgpu", 3000], ["jax-js webgpu", 1500]]),
    lora: new Map([["graft", 200], ["jax-js wasm", 400]]),
  };
  const found = verdict(medians, { full: { cold: 7, warm: 1 } }, { peers, software: true });
  const of = (name: string) => found.find((check) => check.name === name);
  assertEquals(of("full step: ours / jax-js wasm"), {
    ...{ name: "full step: ours / jax-js wasm", value: 0.75, limit: 0.95, met: true },
  });
  assertEquals(of("full step: ours / tfjs webgpu"), { name: "full step: ours / tfjs webgpu", value: 0.1 });
  assertEquals(of("full step: ours / best f32 WebGPU peer")?.met, false); // 300 / 1500 > 1/6
  assertEquals([of("lora step: ours / jax-js wasm")?.value, of("lora step: ours / jax-js wasm")?.met], [0.5, false]);
  assertEquals(of("lora step: ours / best f32 WebGPU peer"), undefined); // nobody ran
  assertEquals([of("LoRA / full: graft")?.met, of("LoRA / full: jax-js wasm")?.value], [true, 1]);
  assertEquals([of("full: first step, cold (s)")?.met, of("full: first step, warm (s)")?.met], [false, true]);
  const gpu = verdict(medians, {}, { peers, software: false });
  assert(gpu.length > 0 && gpu.every(({ limit, met }) => limit === undefined && met === undefined));
});
