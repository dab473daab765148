import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { main } from "../../bench/main.ts";
import { type Report, type Row, slower } from "../../bench/row.ts";

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
