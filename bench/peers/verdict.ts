// Ratios of the shared benchmark and what they should be (medians of one run), as plain data.
import type { FirstStep } from "../first_step.ts";
import type { Check } from "../row.ts";
import { GRAFT, type Peer } from "./catalog.ts";
import type { PeersMode } from "./graft_model.ts";

/** Median milliseconds of a step, by framework; who failed is missing. */
export type Medians = Readonly<Record<PeersMode, ReadonlyMap<string, number>>>;

/** Limits of the ratios on the software driver. */
const LIMITS = {
  full: { "jax-js wasm": 0.95, webgpu: 1 / 6 },
  lora: { "jax-js wasm": 0.4, webgpu: 1 / 6 },
  loraOfFull: 0.78,
  cold: 6,
  warm: 1.5,
} as const;

/** All ratios with their limits; those limits were set for the software driver and count only there. */
export function verdict(
  medians: Medians,
  firsts: Readonly<Partial<Record<PeersMode, FirstStep>>>,
  { peers, software }: { readonly peers: readonly Peer[]; readonly software: boolean },
): Check[] {
  const checks: Check[] = [];
  const add = (name: string, value: number | undefined, limit?: number) => {
    if (value !== undefined && Number.isFinite(value)) checks.push(check(name, value, software ? limit : undefined));
  };
  for (const mode of ["full", "lora"] as const) {
    const of = medians[mode];
    const ours = of.get(GRAFT) ?? NaN;
    for (const { name } of peers) {
      const known: Readonly<Record<string, number>> = LIMITS[mode];
      add(`${mode} step: ours / ${name}`, ours / (of.get(name) ?? NaN), known[name]);
    }
    const webgpu = peers.filter(({ backend }) => backend === "webgpu").flatMap(({ name }) => of.get(name) ?? []);
    const best = webgpu.length > 0 ? ours / Math.min(...webgpu) : undefined;
    add(`${mode} step: ours / best f32 WebGPU peer`, best, LIMITS[mode].webgpu);
  }
  for (const name of [GRAFT, ...peers.map(({ name }) => name)]) {
    const ratio = (medians.lora.get(name) ?? NaN) / (medians.full.get(name) ?? NaN);
    add(`LoRA / full: ${name}`, ratio, name === GRAFT ? LIMITS.loraOfFull : undefined);
  }
  for (const [mode, first] of Object.entries(firsts)) {
    add(`${mode}: first step, cold (s)`, first.cold, LIMITS.cold);
    add(`${mode}: first step, warm (s)`, first.warm, LIMITS.warm);
  }
  return checks;
}

function check(name: string, value: number, limit?: number): Check {
  return limit === undefined ? { name, value } : { name, value, limit, met: value <= limit };
}
