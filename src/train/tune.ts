// Which form of each kernel is the fastest on this device. A candidate replaces the default only where it computes the
// same and is faster by a clear margin twice; all forms of a kernel take turns, so that a change of clocks meets them all.
import { size } from "../core/dims.ts";
import { randomKey, uniform } from "../core/random.ts";
import type { GraftDevice } from "../gpu/device.ts";
import { compile, type Executable, read, run, write } from "../gpu/executable.ts";
import { createStore, release } from "../gpu/store.ts";
import { time } from "../gpu/time.ts";
import { Graph, type Value } from "../graph/graph.ts";
import type { Tuning } from "../graph/target.ts";
import { type Tunable, tunables } from "../ops/tuning.ts";

/** One kernel and kind of shape, measured. */
export interface TuneRow {
  readonly kernel: string;
  readonly shape: string;
  /** Milliseconds of the default. */
  readonly before: number;
  /** The candidate that replaces the default. */
  readonly best?: string;
  /** Its milliseconds, or the default's. */
  readonly after: number;
  /** Candidates that computed something else, or could not be compiled: they are never chosen. */
  readonly wrong: readonly string[];
}

/** Options of {@linkcode tune}. */
export interface TuneOptions {
  /** Fewer kinds of shapes and rounds. */
  readonly quick?: boolean;
  /** What is measured; by default all that the class can choose. */
  readonly kernels?: readonly Tunable[];
  /** Milliseconds of a program; `name` is the candidate, undefined for the default. */
  readonly measure?: (program: Executable, name: string | undefined) => Promise<number>;
  readonly report?: (row: TuneRow) => void;
  readonly signal?: AbortSignal;
}

/** Gain that a candidate must show in every repetition. */
const MARGIN = 1.05;

const REPETITIONS = 2;

/** Largest difference between two forms: both round sums of up to 2048 products in f32. */
const TOLERANCE = 1e-5;

/** Times of one form, one for each repetition; `name` is undefined for the default. */
export interface Timed {
  readonly name?: string | undefined;
  readonly times: readonly number[];
}

/** The fastest candidate among those that beat the default in every repetition, by their worst times. */
export function fastest(base: Timed, candidates: readonly Timed[]): Timed {
  const worst = ({ times }: Timed) => Math.max(...times);
  const winners = candidates.filter(({ times }) => times.every((t, i) => t * MARGIN <= base.times[i]!));
  return winners.reduce((best, timed) => worst(timed) < worst(best) ? timed : best, winners[0] ?? base);
}

/** Measure every choice of the device's class; the result holds those that differ from the defaults. */
export async function tune(device: GraftDevice, options: TuneOptions = {}): Promise<Tuning> {
  const { quick = false, kernels = tunables(device.target), report = () => {}, signal } = options;
  const choices: Record<string, string> = {};
  for (const kernel of kernels.filter((k) => k.quick || !quick)) {
    signal?.throwIfAborted();
    const row = await tuneKernel(device, kernel, options);
    if (row.best !== undefined) choices[kernel.key] = row.best;
    report(row);
  }
  return choices;
}

/** A form, ready to run. */
interface Form {
  readonly name: string | undefined;
  readonly program: Executable;
  readonly y: Value;
}

async function tuneKernel(device: GraftDevice, kernel: Tunable, options: TuneOptions): Promise<TuneRow> {
  const { quick = false, measure = async (program) => (await time(program, { rounds: quick ? 3 : 7 })).best } = options;
  const forms: Form[] = [], wrong: string[] = [];
  const { tuning: _, ...plain } = device.target;
  try {
    for (const name of [undefined, ...kernel.candidates]) {
      const target = name === undefined ? plain : { ...plain, tuning: { [kernel.key]: name } };
      const graph = new Graph(target);
      const y = kernel.build(graph);
      const known = new Set(forms.map(({ program }) => textOf(program)));
      const program = await compile(graph, { store: createStore(device), keep: [y], name: kernel.key });
      forms.push({ name, program, y });
      if (known.has(textOf(program))) close(forms.pop()!); // what the class does by default, or a twin
    }
    const expected = await resultOf(forms[0]!);
    const right: Form[] = [forms[0]!];
    for (const form of forms.slice(1)) {
      if (differs(await resultOf(form), expected)) wrong.push(form.name!);
      else right.push(form);
    }
    const timed = right.map(({ name }) => ({ name, times: [] as number[] }));
    for (let i = 0; i < REPETITIONS; i++) {
      for (const [f, { program, name }] of right.entries()) timed[f]!.times.push(await measure(program, name));
    }
    const found = fastest(timed[0]!, timed.slice(1));
    return {
      ...{ kernel: kernel.key, shape: kernel.shape, wrong },
      before: Math.min(...timed[0]!.times),
      after: Math.min(...found.times),
      ...(found.name === undefined ? {} : { best: found.name }),
    };
  } finally {
    forms.forEach(close);
  }
}

function close({ program }: Form): void {
  program.destroy();
  release(program.store);
}

function textOf({ dispatches }: Executable): string {
  return dispatches.map(({ kernel, grid }) => `${grid} ${kernel.wgsl}`).join("\n");
}

/** What a form computes from numbers in [-1, 1). */
async function resultOf({ program, y }: Form): Promise<Float32Array> {
  for (const leaf of program.graph.leaves.values()) {
    const key = randomKey(1, leaf.name);
    write(program, leaf, Float32Array.from({ length: size(leaf.shape) }, (_, i) => 2 * uniform(key, i) - 1));
  }
  run(program);
  const [result] = await read(program, [y]);
  return result!;
}

function differs(result: Float32Array, expected: Float32Array): boolean {
  let largest = 0;
  for (const x of expected) largest = Math.max(largest, Math.abs(x));
  return !result.every((x, i) => Math.abs(x - expected[i]!) <= TOLERANCE * largest);
}
