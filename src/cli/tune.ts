// `tune`: measures the forms of the kernels on this device and keeps the fastest for later commands.
import { UsageError } from "../core/errors.ts";
import { closeDevice, openDevice } from "../gpu/device.ts";
import { readTuning, tuningPath, writeTuning } from "../gpu/tuning_cache.ts";
import { tune as measure, type TuneRow } from "../train/tune.ts";
import { defineCommand, type Entry, printableText } from "./command.ts";
import { flag } from "./settings.ts";

const schema = {
  quick: flag("one kind of shape, fewer rounds: half a minute on a software driver"),
  requireGpu: flag("fail on a software driver"),
};

const WIDTHS = [22, 16, 12, 18, 12] as const;

/** The command. */
export const tune: Entry = defineCommand({
  name: "tune",
  summary: "Measures the few forms of each kernel on this adapter and keeps the fastest in ~/.cache/graft/tuning.json.",
  schema,
  examples: ["deno task tune", "deno task tune --quick"],
  async run({ quick, requireGpu }, { terminal, signal }) {
    const path = tuningPath();
    if (path === undefined) {
      throw new UsageError("usage/cache", "Cannot keep what is measured: there is no folder for caches", {
        hint: "Set HOME or XDG_CACHE_HOME.",
      });
    }
    const device = await openDevice({ requireGpu, tuning: false });
    try {
      terminal.say(`${printableText(device.name)}, ${device.target.kind} kernels`);
      terminal.say(columns(["kernel", "shape", "default", "best", "", "gain"]));
      const rows: TuneRow[] = [];
      const found = await measure(device, {
        quick,
        signal,
        report: (row) => {
          rows.push(row);
          terminal.say(line(row));
        },
      });
      const measured = new Set(rows.map(({ kernel }) => kernel));
      const before = await readTuning(device.tuningKey, { path, warn: (text) => terminal.note(text) }) ?? {};
      const rest = Object.entries(before).filter(([key]) => !measured.has(key));
      await writeTuning(device.tuningKey, { ...Object.fromEntries(rest), ...found }, path);
      const count = Object.keys(found).length;
      terminal.say(`${count} of ${rows.length} defaults replaced, kept in ${printableText(path)}`);
      terminal.result({ device: device.name, key: device.tuningKey, path, rows });
      return 0;
    } finally {
      closeDevice(device);
    }
  },
});

function line({ kernel, shape, before, best, after, wrong }: TuneRow): string {
  const ms = (x: number) => `${x.toFixed(3)} ms`;
  const gain = best === undefined ? "" : `${((before / after - 1) * 100).toFixed(0)} %`;
  const note = wrong.length > 0 ? `  wrong: ${wrong.join(", ")}` : "";
  return columns([kernel, shape, ms(before), best ?? "default", best === undefined ? "" : ms(after), gain]) + note;
}

function columns(cells: readonly string[]): string {
  return cells.map((cell, i) => cell.padEnd(WIDTHS[i] ?? 0)).join(" ").trimEnd();
}
