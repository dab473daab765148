// `doctor`: what the machine offers, whether it computes correctly and how fast, and what to install.
import { GraftError, printable } from "../core/errors.ts";
import { closeDevice, type GraftDevice, openDevice } from "../gpu/device.ts";
import { selfTest, type SelfTestResult } from "../train/self_test.ts";
import { defineCommand, type Entry, printableText, report } from "./command.ts";
import { bytes, digits } from "./format.ts";
import { flag } from "./settings.ts";
import type { Terminal } from "./terminal.ts";
import { VERSION } from "./version.ts";

const schema = { requireGpu: flag("fail on a software driver") };

/** Name and value. */
type Fact = readonly [name: string, value: string];

/** The command. */
export const doctor: Entry = defineCommand({
  name: "doctor",
  summary: "Shows the adapter, driver and limits, tests that it computes correctly, and measures it.",
  schema,
  examples: ["deno task doctor", "deno task doctor --json", "deno task doctor --require-gpu"],
  async run({ requireGpu }, { terminal }) {
    const system: Fact[] = [
      ["graft", VERSION],
      ["deno", `${Deno.version.deno} (V8 ${Deno.version.v8})`],
      ["system", `${Deno.build.os} ${Deno.build.arch}, ${navigator.hardwareConcurrency} processors`],
    ];
    showFacts(terminal, "System", system);
    let device: GraftDevice;
    try {
      device = await openDevice({ requireGpu });
    } catch (error) {
      if (!(error instanceof GraftError)) throw error;
      return fail(terminal, error, { system: Object.fromEntries(system) });
    }
    try {
      const facts = deviceFacts(device);
      showFacts(terminal, "Adapter", facts);
      const found = { system: Object.fromEntries(system), device: Object.fromEntries(facts) };
      try {
        const tests = await selfTest(device);
        showTests(terminal, tests);
        adviceFor(device).forEach((line) => terminal.say(line));
        const ok = tests.every((test) => test.ok);
        terminal.result({ ...found, tests, ok });
        return ok ? 0 : 1;
      } catch (error) {
        if (!(error instanceof GraftError)) throw error;
        return fail(terminal, error, found);
      }
    } finally {
      closeDevice(device);
    }
  },
});

function fail(terminal: Terminal, error: GraftError, found: Readonly<Record<string, unknown>>): number {
  terminal.note(report(error).text);
  terminal.result({ ...found, error: { code: error.code, message: error.message }, ok: false });
  return 1;
}

function deviceFacts({ name, software, target, timestamps, gpu }: GraftDevice): Fact[] {
  const { kind, subgroup, maxBinding, maxBuffer, workgroupBytes, invocations, storageBuffers, alignment } = target;
  return [
    ["name", printable(name)],
    ["kind", software ? "software driver: the processor computes" : "GPU"],
    ["kernels", `class "${kind}"${subgroup > 0 ? `, subgroups of ${subgroup}` : ""}`],
    ["features", [...gpu.features].sort().join(", ") || "none"],
    ["largest buffer", bytes(maxBuffer)],
    ["largest binding", bytes(maxBinding)],
    ["workgroup", `${digits(invocations)} invocations, ${bytes(workgroupBytes)}`],
    ["bindings", `${storageBuffers} storage buffers of a kernel, aligned to ${alignment} bytes`],
    ["timestamps", timestamps ? "yes" : "no: kernels cannot be timed"],
  ];
}

function showFacts(terminal: Terminal, heading: string, facts: readonly Fact[]): void {
  terminal.say(terminal.style.bold(heading));
  for (const [name, value] of facts) terminal.say(`  ${name.padEnd(17)}${value}`);
}

function showTests(terminal: Terminal, tests: readonly SelfTestResult[]): void {
  const { bold, good, bad } = terminal.style;
  terminal.say(bold("Self-test"));
  const width = Math.max(...tests.map(({ name }) => name.length)) + 2;
  for (const { name, ok, detail } of tests) {
    terminal.say(`  ${ok ? good("ok    ") : bad("WRONG ")}${name.padEnd(width)}${printableText(detail)}`);
  }
}

/** Packages that bring a Vulkan driver. */
const DRIVERS: readonly Fact[] = [
  ["NVIDIA", "the proprietary driver (on Debian: nvidia-driver)"],
  ["AMD, Intel", "mesa-vulkan-drivers"],
  ["Apple, Windows", "nothing: Metal and Direct3D 12 are part of the system"],
];

function adviceFor({ software }: GraftDevice): string[] {
  if (!software) return [];
  const lines = DRIVERS.map(([vendor, what]) => `  ${vendor.padEnd(17)}${what}`);
  return ["A software driver is correct but slow. For a GPU install its driver:", ...lines];
}
