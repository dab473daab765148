import { assert, assertEquals } from "@std/assert";
import { checkpointName, loadPeers, publishedLosses, runPeers } from "../../bench/peers_model.ts";
import { gpuTest } from "../device.ts";
import { sharedFolder } from "../shared.ts";

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
  const { losses } = await runPeers(run, 6);
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
