/**
 * `deno task bench [family…]`: rates of the kernels, training steps and generation on this machine.
 *
 * @module
 */
import { closeDevice, type GraftDevice, GraftError, openDevice, UsageError } from "../mod.ts";
import { benchAttention } from "./attention.ts";
import { benchDora } from "./dora.ts";
import { benchElementwise } from "./elementwise.ts";
import { benchGenerate } from "./generate.ts";
import type { Context } from "./kernel.ts";
import { benchLora } from "./lora.ts";
import { benchLoss } from "./loss.ts";
import { benchNorm } from "./norm.ts";
import { benchOptimizer } from "./optimizer.ts";
import { measurePeaks } from "./peak.ts";
import { benchPeers } from "./peers.ts";
import { benchProducts } from "./products.ts";
import { benchQuantize } from "./quantize.ts";
import { withReference } from "./references.ts";
import { type Check, checkLine, header, line, type Report, type Row, slower } from "./row.ts";
import { benchStep, benchStepTable } from "./step.ts";

/** A group of benchmarks. */
interface Family {
  readonly help: string;
  readonly run: (context: Context) => Promise<Row[]>;
  /** Only when it is named: it installs other programs. */
  readonly byName?: boolean;
}

const families: ReadonlyMap<string, Family> = new Map<string, Family>([
  ["matmul", { help: "matrix products, plain, transposed and skinny", run: benchProducts }],
  ["attention", { help: "causal attention, forward and backward", run: benchAttention }],
  ["norm", { help: "layer norm, RMS norm and softmax", run: benchNorm }],
  ["elementwise", { help: "copies, sums and activations", run: benchElementwise }],
  ["loss", { help: "cross-entropy, alone and fused with the vocabulary", run: benchLoss }],
  ["optimizer", { help: "gradient norm and update", run: benchOptimizer }],
  ["lora", { help: "linear maps with and without an adapter", run: benchLora }],
  ["dora", { help: "DoRA's training steps beside LoRA's", run: benchDora }],
  ["step", { help: "LoRA training steps of whole models", run: benchStep }],
  ["generate", { help: "greedy generation, 1 and 16 sequences", run: benchGenerate }],
  ["quantize", { help: "what weights and loss lose in f16, bf16, int8 and nf4", run: benchQuantize }],
  ["peers", { help: "the shared benchmark beside other frameworks (installs them)", run: benchPeers, byName: true }],
]);

/** What the command line asks for. */
interface Asked {
  readonly names: readonly string[];
  readonly json: boolean;
  readonly quick: boolean;
  readonly help: boolean;
  readonly compare: string | undefined;
  readonly only: readonly string[] | undefined;
  readonly table: boolean;
}

function parse(args: readonly string[]): Asked {
  const names: string[] = [], problems: string[] = [];
  let json = false, quick = false, help = false, table = false, compare: string | undefined, only: string | undefined;
  for (let i = 0; i < args.length; i++) {
    const word = args[i]!;
    if (word === "--json") json = true;
    else if (word === "--quick") quick = true;
    else if (word === "--h100-table") table = true;
    else if (word === "--help" || word === "-h") help = true;
    else if (word.startsWith("--compare=")) compare = word.slice("--compare=".length);
    else if (word === "--compare") compare = args[++i] ?? "";
    else if (word.startsWith("--only=")) only = word.slice("--only=".length);
    else if (word === "--only") only = args[++i] ?? "";
    else if (families.has(word)) names.push(word);
    else problems.push(JSON.stringify(word));
  }
  if (compare === "") problems.push("--compare without a file");
  if (table && names.some((name) => name !== "step")) problems.push("--h100-table beside another family than step");
  if (only === "") problems.push("--only without a name");
  if (problems.length > 0) {
    throw new UsageError("usage/bench", `Cannot run the benchmark: ${problems.join(", ")} is not known here`, {
      hint: `Families: ${
        [...families.keys()].join(", ")
      }. Flags: --json, --quick, --compare FILE, --only NAMES, --h100-table, --help.`,
    });
  }
  if (table) names.push("step");
  const chosen = names.length > 0 ? names : [...families].filter(([, { byName }]) => !byName).map(([name]) => name);
  return { names: [...new Set(chosen)], json, quick, help, compare, only: only?.split(","), table };
}

function usage(): string {
  return [
    "deno task bench [family…] [--quick] [--json] [--compare FILE] [--only NAMES]",
    "",
    "Measures kernels, training steps and generation on this machine. Without families: all but peers.",
    "",
    ...[...families].map(([name, { help }]) => `  ${name.padEnd(12)} ${help}`),
    "",
    "  --quick         small sizes and few rounds: does it run, not how fast",
    "  --json          the report as JSON on stdout, the table on stderr",
    "  --compare FILE  an earlier --json report: exit 1 where a rate lost more than 10 %",
    "  --h100-table    training steps of the models that have a target on an H100, and a table of them",
    "  --only NAMES    models of step, or frameworks of peers, that have one of these in their name",
  ].join("\n");
}

/** Where a run writes to. */
export interface Output {
  /** A line of results. */
  readonly out: (text: string) => void;
  /** A line of messages. */
  readonly err: (text: string) => void;
}

const streams: Output = { out: (text) => console.log(text), err: (text) => console.error(text) };

/**
 * Run the benchmark.
 *
 * @param args The words after the program's name.
 * @returns The exit code: 0 done, 1 failed or slower than the compared report, 2 wrong usage.
 */
export async function main(args: readonly string[], { out, err }: Output = streams): Promise<number> {
  try {
    const asked = parse(args);
    if (asked.help) {
      out(usage());
      return 0;
    }
    const before: Report | undefined = asked.compare && JSON.parse(await Deno.readTextFile(asked.compare));
    const device = await openDevice();
    try {
      const say = asked.json ? err : out;
      const report = await measure(device, asked, say);
      if (asked.json) out(JSON.stringify(report, undefined, 1));
      const lost = before ? slower(report.rows, before.rows) : [];
      lost.forEach((text) => err(`slower: ${text}`));
      return lost.length > 0 ? 1 : 0;
    } finally {
      closeDevice(device);
    }
  } catch (error) {
    if (!(error instanceof GraftError || error instanceof Deno.errors.NotFound)) throw error;
    err(`error${error instanceof GraftError ? `[${error.code}]` : ""}: ${error.message}`);
    return error instanceof UsageError ? 2 : 1;
  }
}

async function measure(
  device: GraftDevice,
  { names, quick, only, table }: Asked,
  say: (text: string) => void,
): Promise<Report> {
  const peaks = await measurePeaks(device, { quick });
  say(`${device.name}, ${device.target.kind} kernels`);
  say(`peaks: ${peaks.flops.toFixed(0)} GFLOP/s in registers, ${peaks.bytes.toFixed(1)} GB/s copied`);
  say("");
  say(header());
  const checks: Check[] = [];
  const check = (found: Check) => void checks.push(found);
  const context: Context = {
    ...{ device, peaks, quick, say, check, report: (row) => say(line(withReference(row, device))) },
    ...only ? { only } : {},
  };
  const found: Row[] = [];
  for (const name of names) found.push(...await (table ? benchStepTable : families.get(name)!.run)(context));
  if (checks.length > 0) say(["", ...checks.map(checkLine)].join("\n"));
  const rows = found.map((row) => withReference(row, device));
  return { device: device.name, date: new Date().toISOString().slice(0, 10), peaks, rows, checks };
}

if (import.meta.main) Deno.exitCode = await main(Deno.args);
