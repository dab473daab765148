// The shared benchmark beside other frameworks: each in a process of its own and in turns, so that a busy machine slows
// all of them. Who cannot be installed or fails gets a line that says so.
import { UsageError } from "../mod.ts";
import { coldAndWarm, type DriverCache, type FirstStep, runScript } from "./first_step.ts";
import type { Context } from "./kernel.ts";
import { GRAFT, modes, type Peer, peers } from "./peers/catalog.ts";
import { type PeersMode, publishedLosses } from "./peers/graft_model.ts";
import { PYTHON, writeInputs } from "./peers/inputs.ts";
import { installPackages, installPyTorch } from "./peers/install.ts";
import { command, type Measured, parseMeasured } from "./process.ts";
import { verdict } from "./peers/verdict.ts";
import type { Row } from "./row.ts";
import { summary } from "../src/gpu/time.ts";

const ROOT = new URL("..", import.meta.url).pathname;

/** Our own entry: as many steps as the fastest peers. */
const OURS = { steps: 16, warm: 4 } as const;

/** Rounds of the fast frameworks: odd, so that the median is of one round, and many, as a machine drifts between them. */
const ROUNDS = 5;

/** The most seconds that one round of one framework may take. */
const SECONDS = 150;

/** Measure the full and the LoRA step of the shared benchmark, ours and theirs, and check the ratios. */
export async function benchPeers(context: Context): Promise<Row[]> {
  const { device: { software }, say, report, check, only } = context;
  await requirePermissions();
  const chosen = peers.filter(({ name }) => only === undefined || only.some((part) => name.includes(part)));
  const ready = await install(chosen, say);
  const folder = await Deno.makeTempDir({ prefix: "graft-bench-" });
  try {
    const published = await writeInputs(folder, say) === "published";
    const medians = { full: new Map<string, number>(), lora: new Map<string, number>() };
    const firsts: Partial<Record<PeersMode, FirstStep>> = {};
    const rows: Row[] = [];
    const runs = modes.map((mode) => entriesOf({ folder, mode, context }, ready));
    for (const { run } of runs) firsts[run.mode] = await firstSteps(run);
    for (let round = 0; round < (context.quick ? 1 : ROUNDS); round++) {
      await ownTurn(runs, round);
      for (let i = 0; i < ready.length; i++) for (const each of runs) await turn(each, i, round);
    }
    for (const { run: { mode }, entries } of runs) {
      const known = published ? publishedLosses[mode] : new Map(entries[0]!.rounds[0]!.losses.entries());
      for (const entry of entries) {
        const row = rowOf(entry, { mode, first: firsts[mode]!, known });
        rows.push(row);
        report(row);
        if (Number.isFinite(row.median)) medians[mode].set(entry.name, row.median);
      }
    }
    verdict(medians, firsts, { peers: chosen, software }).forEach(check);
    return rows;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A peer with what starts it: a folder of packages, or why there is none. */
interface Ready {
  readonly peer: Peer;
  readonly folder?: string;
  readonly failed?: string;
}

async function install(chosen: readonly Peer[], say: (text: string) => void): Promise<Ready[]> {
  const ready: Ready[] = [];
  for (const peer of chosen) {
    try {
      if (peer.backend !== "cpu") ready.push({ peer, folder: await installPackages(peer, say) });
      else {
        await installPyTorch(say);
        ready.push({ peer, folder: ROOT });
      }
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      ready.push({ peer, failed: error.message });
    }
  }
  return ready;
}

interface Run {
  readonly folder: string;
  readonly mode: PeersMode;
  readonly context: Context;
}

/** All rounds of one framework; `failed` says why there are no more. */
interface Entry {
  readonly name: string;
  readonly rounds: Measured[];
  readonly warm: number;
  readonly sameModel: boolean;
  failed?: string;
}

/** All frameworks with one thing that is trained. The first entry is ours. */
interface Entries {
  readonly run: Run;
  readonly entries: readonly Entry[];
  readonly ready: readonly Ready[];
}

function entriesOf(run: Run, ready: readonly Ready[]): Entries {
  const entry = (name: string, warm: number, sameModel: boolean): Entry => ({
    ...{ name, sameModel, rounds: [] },
    warm: run.context.quick ? 1 : warm,
  });
  const others = ready.map(({ peer: { name, warm, sameModel }, failed }) => ({
    ...entry(name, warm, sameModel),
    ...failed ? { failed } : {},
  }));
  return { run, ready, entries: [entry(GRAFT, OURS.warm, true), ...others] };
}

/** One round of our own: steps of all weights and of LoRA in turns, so that their ratio is of one state of the machine. */
async function ownTurn(all: readonly Entries[], round: number): Promise<void> {
  const { run } = all[0]!, { say, quick } = run.context;
  say(`round ${round + 1}: ${GRAFT}, ${modes.join(" and ")} steps in turns`);
  const measured = await graft(run, modes, quick ? 3 : OURS.steps);
  for (const [i, { entries }] of all.entries()) entries[0]!.rounds.push(measured[i]!);
}

/** One round of framework `i`, if it takes part in it: its full and LoRA steps follow each other. */
async function turn({ run, ready, entries }: Entries, i: number, round: number): Promise<void> {
  const { context: { quick, say }, mode } = run;
  const entry = entries[i + 1]!;
  const { peer, folder } = ready[i]!;
  if (entry.failed !== undefined || (peer.once && round > 0)) return;
  say(`${mode} step, round ${round + 1}: ${entry.name}`);
  try {
    entry.rounds.push(await other(run, peer, folder!, quick ? 3 : peer.steps));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    entry.failed = error.message;
  }
}

function firstSteps(run: Run): Promise<FirstStep> {
  run.context.say(`${run.mode} step: first steps of ${GRAFT}, cold and warm`);
  return coldAndWarm(async (cache) => (await graft(run, [run.mode], 1, cache))[0]!.ms[0]! / 1000);
}

/** Our own steps, as many as asked for of each mode. */
async function graft(
  { folder }: Run,
  modes: readonly PeersMode[],
  steps: number,
  cache: Partial<DriverCache> = {},
): Promise<Measured[]> {
  const text = await runScript("peers/graft.ts", [folder, `${steps}`, ...modes], { cache, seconds: SECONDS });
  return modes.map((_, i) => parseMeasured(text, modes.length - 1 - i));
}

async function other({ folder, mode }: Run, peer: Peer, cwd: string, steps: number): Promise<Measured> {
  const { script, backend } = peer;
  const [program, args] = backend === "cpu"
    ? [PYTHON, [`${ROOT}bench/peers/${script}`, folder, mode, `${steps}`]]
    : ["deno", ["run", "--no-prompt", "--allow-read", "--allow-env", script, folder, backend, mode, `${steps}`]];
  return parseMeasured(await command(program, args, { cwd, seconds: SECONDS }));
}

interface RowContext {
  readonly mode: PeersMode;
  readonly first: FirstStep;
  /** Losses by step: the published ones, or ours where the weights are others. */
  readonly known: ReadonlyMap<number, number>;
}

function rowOf({ name, rounds, warm, failed, sameModel }: Entry, { mode, first, known }: RowContext): Row {
  const common = { family: "peers", name: `${mode} step, ${name}`, shape: "8x128", unit: "tokens/s" } as const;
  if (rounds.length === 0) return { ...common, median: NaN, best: NaN, rate: NaN, note: `failed: ${failed}` };
  const counted = rounds.map(({ ms }) => summary(ms.slice(warm)));
  const median = summary(counted.map((c) => c.median)).median, best = Math.min(...counted.map((c) => c.best));
  const errors = rounds.flatMap(({ losses }) =>
    [...known].filter(([step]) => step < losses.length).map(([step, loss]) => Math.abs(losses[step]! - loss))
  );
  const { dispatches, note } = rounds[0]!;
  const mine = name === GRAFT;
  const notes = [
    `rounds ${counted.map((c) => c.median.toFixed(0)).join(", ")} ms`,
    mine
      ? `first step ${first.cold.toFixed(2)} s cold, ${first.warm.toFixed(2)} s warm`
      : `first step ${(rounds[0]!.ms[0]! / 1000).toFixed(2)} s`,
    ...dispatches === undefined ? [] : [`${dispatches} dispatches`],
    ...note === undefined ? [] : [note],
    ...sameModel ? [] : ["its own model of the same size"],
    ...failed === undefined ? [] : [`then failed: ${failed}`],
  ];
  const error = sameModel ? { error: Math.max(...errors) } : {};
  return { ...common, ...error, median, best, rate: 1000 * 8 * 128 / best, note: notes.join("; ") };
}

async function requirePermissions(): Promise<void> {
  const run = ["npm", "deno", "apt-get", PYTHON];
  const wanted: Deno.PermissionDescriptor[] = [
    ...run.map((command) => ({ name: "run", command }) as const),
    { name: "write", path: "/tmp" },
  ];
  const missing: string[] = [];
  for (const descriptor of wanted) {
    if ((await Deno.permissions.query(descriptor)).state === "granted") continue;
    missing.push(descriptor.name === "run" ? `--allow-run=${descriptor.command}` : "--allow-write=/tmp");
  }
  if (missing.length === 0) return;
  throw new UsageError("bench/permission", `Cannot run the peers as this run may not use ${missing.join(", ")}`, {
    hint: "Run it as `deno task bench peers`, which has them.",
  });
}
