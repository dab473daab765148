// The shared benchmark beside jax-js on WebAssembly, the fastest JavaScript peer: in turns, in one run, so that a busy
// machine slows both. Needs ../shared, npm, deno, and python3 with numpy for the full step's initial weights.
import { UsageError } from "../mod.ts";
import type { Context } from "./kernel.ts";
import { loadPeers, type PeersMode, publishedLosses, runPeers } from "./peers_model.ts";
import type { Row } from "./row.ts";
import { summary } from "./time.ts";

const SHARED = new URL("../../shared/peers", import.meta.url).pathname;

/** Steps before the ones that are timed, as in the peers' own scripts. */
const WARM = 4;

/** Measure the LoRA step and the full step of the shared benchmark, ours and theirs. */
export async function benchPeers(context: Context): Promise<Row[]> {
  const { quick, report, say } = context;
  try {
    await Deno.stat(SHARED);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    say("peers: skipped, no ../shared");
    return [];
  }
  await requirePermissions();
  const folder = await prepare(say);
  try {
    const [steps, rounds] = quick ? [8, 1] : [16, 2];
    const rows: Row[] = [];
    for (const mode of ["lora", "full"] as const) {
      if (mode === "full" && !await made(`${folder}/common/init.bin`)) {
        say("peers: full step skipped, python3 with numpy is needed to make init.bin");
        continue;
      }
      const ours: Measured[] = [], theirs: Measured[] = [];
      for (let round = 0; round < rounds; round++) {
        ours.push(await graft(context, { folder, mode, steps }));
        theirs.push(await jax({ folder, mode, steps }));
      }
      const [mine, other] = [row(mode, "graft", ours), row(mode, "jax-js wasm", theirs)];
      const ratio = `ratio to jax-js wasm ${(mine.median / other.median).toFixed(2)}, of the best steps ${
        (mine.best / other.best).toFixed(2)
      }`;
      for (const line of [{ ...mine, note: `${ratio}; ${mine.note}` }, other]) {
        rows.push(line);
        report(line);
      }
    }
    return rows;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** One round of one framework. */
interface Measured {
  /** Milliseconds of the steps that count. */
  readonly median: number;
  readonly best: number;
  readonly first: number;
  readonly losses: ReadonlyMap<number, number>;
  readonly dispatches?: number;
}

function row(mode: PeersMode, who: string, rounds: readonly Measured[]): Row {
  const median = summary(rounds.map((r) => r.median)).median, best = Math.min(...rounds.map((r) => r.best));
  const known = [...publishedLosses[mode]].filter(([step]) => rounds[0]!.losses.has(step));
  const error = Math.max(
    ...rounds.flatMap(({ losses }) => known.map(([step, loss]) => Math.abs(losses.get(step)! - loss))),
  );
  const { dispatches } = rounds[0]!;
  const spread = rounds.map((r) => r.median.toFixed(0)).join(", ");
  return {
    family: "peers",
    name: `${mode} step, ${who}`,
    shape: "8x128",
    error,
    median,
    best,
    rate: 1000 * 8 * 128 / best,
    unit: "tokens/s",
    note: `rounds ${spread} ms; first step ${(rounds[0]!.first / 1000).toFixed(1)} s${
      dispatches === undefined ? "" : `; ${dispatches} dispatches`
    }`,
  };
}

interface Round {
  readonly folder: string;
  readonly mode: PeersMode;
  readonly steps: number;
}

async function graft({ device }: Context, { folder, mode, steps }: Round): Promise<Measured> {
  const run = await loadPeers(device, `${folder}/common`, mode);
  try {
    const { losses, ms, dispatches } = await runPeers(run, steps);
    return { ...summary(ms.slice(WARM)), first: ms[0]!, losses: new Map(losses.entries()), dispatches };
  } finally {
    run.model.destroy();
  }
}

/** `jax-js wasm lora steps 8 median 729.1 ms/step (min 700.0 p90 800.0; first 2000 ms)` and `loss 0:9.1927 1:…`. */
async function jax({ folder, mode, steps }: Round): Promise<Measured> {
  const text = await command("deno", ["run", "-A", "bench.mjs", "wasm", mode, String(steps)], `${folder}/jax-js`);
  const [, median, best, first] = /median ([\d.]+) ms\/step \(min ([\d.]+) .*first ([\d.]+) ms\)/.exec(text) ?? [];
  if (median === undefined) throw new UsageError("bench/peer", `Cannot read what jax-js printed: ${text.slice(-500)}`);
  const losses = [...text.matchAll(/(\d+):(\d+\.\d+)/g)].map((m) => [Number(m[1]), Number(m[2])] as const);
  return { median: Number(median), best: Number(best), first: Number(first), losses: new Map(losses) };
}

/** A folder with the inputs, jax-js installed beside them. */
async function prepare(say: (text: string) => void): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "graft-peers-" });
  for (const name of ["common", "jax-js"]) {
    await Deno.mkdir(`${folder}/${name}`);
    for await (const { name: file, isFile } of Deno.readDir(`${SHARED}/${name}`)) {
      // Written afresh: the shared folder is read-only, and so would be copies.
      if (isFile) await Deno.writeFile(`${folder}/${name}/${file}`, await Deno.readFile(`${SHARED}/${name}/${file}`));
    }
  }
  if (!await made(`${folder}/common/init.bin`)) {
    const given = await Deno.readFile(`${folder}/common/loraA.bin`);
    try {
      await command("python3", ["gen.py"], `${folder}/common`);
    } catch (error) {
      if (!(error instanceof UsageError || error instanceof Deno.errors.NotFound)) throw error;
    }
    const drawn = await Deno.readFile(`${folder}/common/loraA.bin`);
    if (drawn.some((byte, i) => byte !== given[i])) say("peers: this numpy draws other numbers than the published run");
  }
  await command("npm", ["install", "--no-audit", "--no-fund"], `${folder}/jax-js`);
  return folder;
}

async function made(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function command(name: string, args: readonly string[], cwd: string): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(name, { args: [...args], cwd, stdin: "null" }).output();
  const text = new TextDecoder().decode(stdout);
  if (success) return text;
  throw new UsageError("bench/peer", `Cannot run ${name} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}

async function requirePermissions(): Promise<void> {
  const wanted: Deno.PermissionDescriptor[] = [
    ...["npm", "deno", "python3"].map((command) => ({ name: "run", command }) as const),
    { name: "write", path: "/tmp" },
  ];
  const missing: string[] = [];
  for (const descriptor of wanted) {
    if ((await Deno.permissions.query(descriptor)).state === "granted") continue;
    missing.push(descriptor.name === "run" ? `--allow-run=${descriptor.command}` : "--allow-write=/tmp");
  }
  if (missing.length === 0) return;
  throw new UsageError("bench/permission", `Cannot run the peers as this run may not use ${missing.join(", ")}`, {
    hint:
      "deno run --allow-read --allow-env=XDG_RUNTIME_DIR,DENO_WEBGPU_BACKEND --allow-write=/tmp --allow-run=npm,deno,python3 bench/main.ts peers",
  });
}
