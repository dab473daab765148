import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { main } from "../../bench/main.ts";
import { checkpointName, loadPeers, publishedLosses, runPeers } from "../../bench/peers_model.ts";
import { type Report, type Row, slower } from "../../bench/row.ts";
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

/** What the command prints, and its exit code. */
async function bench(
  ...args: string[]
): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  const out: string[] = [], err: string[] = [];
  const code = await main(args, { out: (text) => out.push(text), err: (text) => err.push(text) });
  return { code, out: out.join("\n"), err: err.join("\n") };
}

for (const family of ["norm", "optimizer", "lora"]) {
  Deno.test({
    name: `bench: --quick ${family} prints rows that are right and have a rate`,
    sanitizeOps: false, // devices live as long as the process
    sanitizeResources: false,
    async fn() {
      const { code, out, err } = await bench("--quick", "--json", family);
      console.log(err);
      assertEquals(code, 0);
      const { rows, peaks }: Report = JSON.parse(out);
      assert(peaks.flops > 0.1 && peaks.bytes > 0.01);
      assert(rows.length >= 4);
      for (const { name, error, best, median, rate, share_of_peak } of rows) {
        // Optimizers are compared relative to their step, a thousandth of the parameter that f32 rounds.
        assert(error! < (family === "optimizer" ? 4e-4 : 2e-6), `${name}: error ${error}`);
        assert(best > 0 && best <= median && rate > 0 && share_of_peak! > 0, name);
        assertStringIncludes(err, name);
      }
    },
  });
}

Deno.test("bench: help lists the families; an unknown one is refused with the list", async () => {
  const help = await bench("--help");
  assertEquals(help.code, 0);
  const wrong = await bench("atention");
  assertEquals(wrong.code, 2);
  for (const family of ["matmul", "attention", "norm", "loss", "optimizer", "lora", "step", "generate", "peers"]) {
    assertStringIncludes(help.out, family);
    assertStringIncludes(wrong.err, family);
  }
  assertEquals((await bench("norm", "--compare", "/nowhere/report.json")).code, 1);
});

Deno.test("bench: a comparison finds what lost more than a tenth of its rate", () => {
  const row: Row = { family: "norm", name: "softmax", shape: "2x3", median: 1, best: 1, rate: 100, unit: "GB/s" };
  assertEquals(slower([{ ...row, rate: 91 }, { ...row, shape: "new", rate: 1 }], [row]), []);
  assertEquals(slower([{ ...row, rate: 89 }], [row]), ["norm softmax 2x3: 89.0 GB/s, was 100"]);
});
