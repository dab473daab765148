import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { main } from "../../bench/main.ts";
import { GPT2_CONFIG, QWEN3_CONFIG, SMOLLM2_CONFIG } from "../../bench/configs.ts";
import { chooseModels, labelOf } from "../../bench/models.ts";
import { H100, SOFTWARE, withReference } from "../../bench/references.ts";
import { stepTable } from "../../bench/step_table.ts";
import type { Json } from "../../src/models/config.ts";
import { architectureOf } from "../../src/models/mod.ts";
import { taskOf } from "../../src/objectives/tasks.ts";
import { countElements } from "../../src/train/leaves.ts";
import { takeInventory } from "../../src/train/load.ts";
import { type Report, type Row, slower } from "../../bench/row.ts";

/** What the command prints, and its exit code. */
async function bench(
  ...args: string[]
): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  const out: string[] = [], err: string[] = [];
  const code = await main(args, { out: (text) => out.push(text), err: (text) => err.push(text) });
  return { code, out: out.join("\n"), err: err.join("\n") };
}

Deno.test({
  name: "bench: --quick step and generate run; --h100-table prints a table",
  sanitizeOps: false, // devices live as long as the process
  sanitizeResources: false,
  async fn() {
    const { code, out, err } = await bench("--quick", "--json", "--h100-table", "generate");
    assertEquals([code, out], [2, ""]);
    assertStringIncludes(err, "--h100-table beside another family");
    const table = await bench("--quick", "--json", "--h100-table");
    console.log(table.err);
    const { rows: [row] }: Report = JSON.parse(table.out);
    assert(row!.error! < 1e-6, `the first loss differs by ${row!.error} from the base's`);
    assert(row!.step!.dispatches > 50 && row!.step!.encode > 0 && row!.step!.encode <= row!.median);
    assertStringIncludes(table.err, "| stories260K, random | 2 x 32");
    const written: Report = JSON.parse((await bench("--quick", "--json", "generate")).out);
    assert(written.rows[0]!.rate > 0 && written.rows[0]!.error! < 1e-5);
  },
});

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

Deno.test({
  name: "bench: --quick quantize prints what each format takes and loses",
  sanitizeOps: false, // devices live as long as the process
  sanitizeResources: false,
  async fn() {
    const { code, out, err } = await bench("--quick", "--json", "quantize");
    assertEquals(code, 0);
    assertStringIncludes(err, "bundled base, nf4");
    const { rows }: Report = JSON.parse(out);
    const figures = new Map(rows.map(({ name, quantized }) => [name.split(", ")[1]!, quantized!]));
    const [f32, f16, bf16, int8, nf4] = ["f32", "f16", "bf16", "int8", "nf4"].map((format) => figures.get(format)!);
    assertEquals([f32!.difference, f32!.largest, f32!.packed], [0, 0, 0]);
    assert(f16!.bytes < 0.502 * f32!.bytes); // norms stay in f32
    assertEquals(f16!.difference, 0); // the folder is in f16
    assertEquals(f16!.rms, 0);
    assert(bf16!.bytes === f16!.bytes && bf16!.rms > 0 && bf16!.rms < 2 ** -9);
    assert(int8!.bytes < f16!.bytes && nf4!.bytes < int8!.bytes);
    assert(int8!.rms > bf16!.rms && int8!.rms < 1 / 127 && nf4!.rms > int8!.rms && nf4!.rms < 0.1);
    // 4.0e-5, 5.5e-5 and 6.3e-3 on all of the text
    assert(Math.abs(bf16!.difference) < 5e-4 && Math.abs(int8!.difference) < 1e-3 && Math.abs(nf4!.difference) < 0.05);
  },
});

Deno.test("bench: help lists the families; an unknown one is refused with the list", async () => {
  const help = await bench("--help");
  assertEquals(help.code, 0);
  const wrong = await bench("atention");
  assertEquals(wrong.code, 2);
  for (
    const family of ["matmul", "attention", "norm", "loss", "optimizer", "lora", "dora", "step", "generate", "peers"]
  ) {
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

Deno.test("bench: rows are held against the best known rate on such a device", () => {
  const row: Row = {
    family: "matmul",
    name: "1024³ nn",
    shape: "1024x1024·1024",
    median: 1,
    best: 1,
    rate: 12.35,
    unit: "GFLOP/s",
  };
  const software = withReference(row, { software: true, name: "llvmpipe" });
  assertEquals([software.reference, software.ratio], [24.7, 12.35 / 24.7]);
  const h100 = { software: false, name: "NVIDIA H100 80GB HBM3" };
  assertEquals(withReference(row, h100).reference, 35_300);
  assertEquals(withReference({ ...row, family: "elementwise", name: "add" }, h100).reference, 3000);
  assertEquals(withReference(row, { software: false, name: "another card" }), row);
  assertEquals(withReference({ ...row, name: "7³" }, h100).ratio, undefined);
  // Every figure belongs to a family that exists.
  const families = ["matmul", "attention", "norm", "loss", "elementwise", "optimizer", "lora", "step"];
  for (const key of [...Object.keys(H100), ...Object.keys(SOFTWARE)]) {
    assert(families.includes(key.split(" ")[0]!), key);
  }
});

Deno.test("bench: the table of steps says what was met", () => {
  const step = {
    steps: 20,
    rounds: 5,
    encode: 1.234,
    dispatches: 135,
    perLayer: 27,
    joined: 8,
    scratchBytes: 1,
    peakBytes: 3 * 2 ** 20,
  };
  const row: Row = {
    ...{ family: "step", name: "GPT-2", shape: "8x512", median: 61.54, best: 60, rate: 66560, unit: "tokens/s" },
    ...{ share_of_peak: 0.567, step: { ...step, target: 60, first: { cold: 6.021, warm: 1.5 } } },
  };
  const [titles, rule, first, second, ...more] = stepTable([
    row,
    { ...row, median: 59, step: { ...step, target: 60 } },
    { ...row, family: "norm", step: undefined } as unknown as Row,
  ]);
  assertEquals(more, []);
  assertEquals([titles, rule, first, second].map((line) => line!.length).every((n, _, [m]) => n === m), true);
  const cells = (line?: string) => line!.split("|").slice(1, -1).map((cell) => cell.trim());
  assertEquals(cells(first), [
    ...["GPT-2", "8 x 512", "61.5", "66560", "60", "no", "57 %", "135", "1.23", "6.02 / 1.50", "3", "5 x 20"],
  ]);
  assertEquals(cells(second).slice(2, 6), ["59.0", "66560", "60", "yes"]);
  assertEquals(cells(second)[9], "");
});

Deno.test("bench: models that take minutes on a software driver run only by their name", () => {
  const said: string[] = [];
  const chosen = (software: boolean, only?: string[]) =>
    chooseModels({ quick: false, device: { software }, say: (text) => said.push(text), ...only ? { only } : {} })
      .map(labelOf).filter((label) => !/^stories260K [0-9]/.test(label));
  const small = [
    "stories260K, random 8x128",
    "bundled base 8x256",
    "bundled base, recomputed 8x256",
    "GPT-2 124M, random 1x128",
  ];
  assertEquals(chosen(true), small);
  assertEquals(said.filter((text) => text.includes("takes minutes")).length, 3);
  assertEquals(chosen(false).length, 7);
  assertEquals(chosen(true, ["Qwen3", "1x128"]), ["GPT-2 124M, random 1x128", "Qwen3-0.6B, random 4x512"]);
});

Deno.test("bench: the shapes of the table are those of the published checkpoints", () => {
  const parameters = (config: Json) => {
    const architecture = architectureOf(config);
    return countElements(takeInventory(architecture, taskOf(config, architecture)).weights.values());
  };
  assertEquals(parameters(GPT2_CONFIG), 124_439_808);
  assertEquals(parameters(SMOLLM2_CONFIG), 134_515_008);
  assertEquals(parameters(QWEN3_CONFIG), 596_049_920);
});
