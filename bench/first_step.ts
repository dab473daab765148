// What the first step of a process costs: cold, with an empty cache of the driver, and warm, with what that one left.
//
//   deno run … bench/first_step.ts LABEL     one step of a model in this process; prints its seconds
import { closeDevice, openDevice } from "../mod.ts";
import { benchModels, labelOf, quickModel, quickRecomputed } from "./models.ts";
import { command } from "./process.ts";
import { loraUpdates, randomBatch } from "./step_measure.ts";

/** Seconds of a first step. */
export interface FirstStep {
  readonly cold: number;
  readonly warm: number;
}

/** Where a driver keeps what it compiled, as variables of its environment: Mesa's, and NVIDIA's. */
export type DriverCache = Readonly<Record<"MESA_SHADER_CACHE_DIR" | "__GL_SHADER_DISK_CACHE_PATH", string>>;

const ROOT = new URL("..", import.meta.url).pathname;
const VARIABLES = "DEBUG,PROFILE,FINITE,XDG_RUNTIME_DIR,DENO_WEBGPU_BACKEND";

/** Run one of our scripts in a process of its own and return what it prints. */
export function runScript(
  script: string,
  args: readonly string[],
  { cache, seconds }: { readonly cache: Partial<DriverCache>; readonly seconds: number },
): Promise<string> {
  const path = new URL(script, import.meta.url).pathname;
  const permissions = ["--no-prompt", "--allow-read", `--allow-env=${VARIABLES}`];
  return command("deno", ["run", ...permissions, path, ...args], { cwd: ROOT, env: { ...cache }, seconds });
}

/** Call `measure` with a cache that is empty, then with the same one again. */
export async function coldAndWarm(measure: (cache: DriverCache) => Promise<number>): Promise<FirstStep> {
  const folder = await Deno.makeTempDir({ prefix: "graft-driver-" });
  try {
    const cache = { MESA_SHADER_CACHE_DIR: folder, __GL_SHADER_DISK_CACHE_PATH: folder };
    return { cold: await measure(cache), warm: await measure(cache) };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The first LoRA step of a model, from loaded weights to its loss; undefined where no process may be started. */
export async function firstStep(label: string): Promise<FirstStep | undefined> {
  for (const wanted of [{ name: "run", command: "deno" }, { name: "write", path: "/tmp" }] as const) {
    if ((await Deno.permissions.query(wanted)).state !== "granted") return undefined;
  }
  return coldAndWarm(async (cache) => Number(await runScript("first_step.ts", [label], { cache, seconds: 300 })));
}

if (import.meta.main) {
  const known = [...benchModels, quickModel, quickRecomputed].find((model) => labelOf(model) === Deno.args[0])!;
  const device = await openDevice();
  const model = await known.open(device);
  const start = performance.now();
  const updates = await loraUpdates(model, known);
  await updates.queue(randomBatch(model, known), 0);
  await updates.loss(0);
  console.log((performance.now() - start) / 1000);
  closeDevice(device);
}
