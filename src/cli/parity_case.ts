// One reference case: a model, an adapter and batches whose logits, gradients and losses somebody else computed.
import { savedName } from "../adapters/names.ts";
import { ConfigError, UsageError } from "../core/errors.ts";
import type { Batch } from "../data/batch.ts";
import type { GraftDevice } from "../gpu/device.ts";
import { readAdapterFolder } from "../io/adapter_file.ts";
import { readJson, statOrUndefined } from "../io/files.ts";
import { openSafetensors } from "../io/safetensors.ts";
import { toF32 } from "../io/tensor_dtype.ts";
import { generateIds } from "../train/generate.ts";
import { loadModel } from "../train/load.ts";
import type { Model } from "../train/model.ts";
import { train } from "../train/trainer.ts";
import { adaptersDistance, largestDifference, norm, relativeError, shownPositions } from "./parity_errors.ts";
import { type Case, parseCase, scheduleOf, trainingOptimizer } from "./parity_format.ts";

/** What was found; a figure is missing where the case has no reference for it. */
export interface CaseReport {
  /** Largest absolute difference of the base model's logits at positions that are not padding. */
  readonly base_logits: number;
  /** The same with the adapter. */
  readonly logits: number;
  /** Absolute difference of the loss of the first batch. */
  readonly loss: number;
  /** Largest ‖g − g*‖ / ‖g*‖ of all trained tensors. */
  readonly gradients: number;
  /** Largest absolute difference of the losses of the steps. */
  readonly losses: number;
  /** Largest absolute difference of the learning rates. */
  readonly lrs: number;
  /** ‖θ − θ*‖ / ‖θ* − θ₀‖ over all trained tensors. */
  readonly final_adapter?: number;
  readonly final_loss: number;
  /** With the adapter off after training. */
  readonly disabled_loss?: number;
  /** With the adapter folded into the weights. */
  readonly merged_loss?: number;
  /** Greedy continuations. */
  readonly generate: "same" | "different" | "none";
  readonly ok: boolean;
}

/** Largest errors of a case that is ok. */
const LIMITS = { logits: 1e-4, loss: 1e-4, gradients: 1e-3, adapter: 1e-2 };

/** Run a case through the library. */
export async function runCase(device: GraftDevice, folder: string): Promise<CaseReport> {
  const problems = [];
  for (const name of ["case.json", "expected.safetensors", "model/config.json"]) {
    if (!await statOrUndefined(`${folder}/${name}`)) problems.push(`there is no ${name}`);
  }
  if (problems.length > 0) throw new ConfigError("parity/files", "this folder as a case", problems, { path: folder });
  const known = parseCase(await readJson(`${folder}/case.json`), `${folder}/case.json`);
  const model = await loadModel(device, `${folder}/model`);
  try {
    return await measure(model, known, folder);
  } finally {
    model.destroy();
  }
}

async function measure(model: Model, known: Case, folder: string): Promise<CaseReport> {
  const expected = await readExpected(`${folder}/expected.safetensors`);
  const first = known.batches[0]!;
  const base_logits = await logitsError(model, first, expected, "base_");
  const texts = [await sameText(model, known, known.generate?.base)];

  const hasAdapter = await statOrUndefined(`${folder}/adapter_init`) !== undefined;
  await (hasAdapter ? model.loadAdapter(`${folder}/adapter_init`) : model.unfreeze());
  const logits = await logitsError(model, first, expected, "");
  const { loss, gradients } = await model.gradients(first);
  const curve = await trainAsReference(model, known);
  const final = await lossOf(model, first);
  const { final_adapter, ...switched } = hasAdapter ? await adapterErrors(model, known, folder) : {};
  if (hasAdapter) texts.push(await sameText(model, known, known.generate?.adapted));

  const found = {
    base_logits,
    logits,
    loss: Math.abs(loss - known.loss),
    gradients: gradientError(gradients, expected),
    ...curve,
    ...(final_adapter === undefined ? {} : { final_adapter }),
    final_loss: Math.abs(final - known.final_loss),
    ...switched,
    generate: texts.includes("different") ? "different" : texts.includes("same") ? "same" : "none",
  } as const;
  return { ...rounded(found), ok: isOk(found) };
}

async function readExpected(path: string): Promise<Map<string, Float32Array>> {
  const file = await openSafetensors(path);
  try {
    const tensors = new Map<string, Float32Array>();
    for (const [name, { dtype }] of file.tensors) {
      tensors.set(name, toF32(dtype, await file.read(name), { name, path }));
    }
    return tensors;
  } finally {
    file.close();
  }
}

async function logitsError(
  model: Model,
  batch: Batch,
  expected: ReadonlyMap<string, Float32Array>,
  prefix: "base_" | "",
): Promise<number> {
  const { logits: { shape, data } } = await model.forward(batch);
  const width = shape.at(-1)!;
  const [start, end] = ["start", "end"].map((side) => expected.get(`${prefix}${side}_logits`));
  const reference = expected.get(`${prefix}logits`) ?? (start && end ? interleave(start, end) : undefined);
  if (reference === undefined) throw new UsageError("parity/expected", "Cannot compare logits as the case has none");
  const T = batch.input_ids[0]!.length;
  const ofTokens = shape.length === 3 && shape[1] === T;
  const rows = ofTokens ? shownPositions(batch, T) : Array.from({ length: data.length / width }, (_, i) => i);
  // The rows of a prompt in front are rows of PEFT's logits.
  const real = ofTokens ? lastRows(reference, { B: shape[0]!, T, width }) : reference;
  return largestDifference(data, real, rows.map((row) => row * width), width);
}

function interleave(start: Float32Array, end: Float32Array): Float32Array {
  return Float32Array.from({ length: 2 * start.length }, (_, i) => (i % 2 === 0 ? start : end)[i >> 1]!);
}

/** The last T rows of each of B sequences. */
function lastRows(
  logits: Float32Array,
  { B, T, width }: { readonly B: number; readonly T: number; readonly width: number },
): Float32Array {
  const each = logits.length / B, wanted = T * width;
  if (each <= wanted) return logits;
  const kept = new Float32Array(B * wanted);
  for (let b = 0; b < B; b++) kept.set(logits.subarray((b + 1) * each - wanted, (b + 1) * each), b * wanted);
  return kept;
}

async function lossOf(model: Model, batch: Batch): Promise<number> {
  return (await model.forward(batch)).loss ?? NaN;
}

async function sameText(
  model: Model,
  { generate }: Case,
  reference: readonly number[] | undefined,
): Promise<"same" | "different" | "none"> {
  if (!generate || !reference) return "none";
  const { prompt } = generate, { encoder } = model.state.architecture;
  const before = encoder ? [encoder.startId] : prompt; // what transformers returns in front of the new tokens
  const maxNewTokens = reference.length - before.length;
  const [written] = await generateIds(model, [prompt], { maxNewTokens, ignoreEos: true });
  return String([...before, ...written!]) === String(reference) ? "same" : "different";
}

function gradientError(found: ReadonlyMap<string, Float32Array>, expected: ReadonlyMap<string, Float32Array>): number {
  const wanted = new Map(
    [...expected].filter(([name]) => name.startsWith("grad.")).map(([name, g]) =>
      [savedName(name.slice("grad.".length)), g] as const
    ),
  );
  const names = new Set([...wanted.keys(), ...found.keys()]);
  const wrong = [...names].filter((name) => wanted.get(name)?.length !== found.get(name)?.length);
  if (wrong.length > 0) {
    throw new ConfigError(
      "parity/names",
      "the trained tensors",
      wrong.map((name) => {
        const sizes = [found.get(name)?.length ?? "missing", wanted.get(name)?.length ?? "missing"];
        return `${name}: ${sizes[0]} elements here, ${sizes[1]} in the reference`;
      }),
    );
  }
  const total = norm(wanted.values());
  return Math.max(...[...wanted].map(([name, g]) => relativeError(found.get(name)!, g, total)));
}

async function trainAsReference(model: Model, known: Case): Promise<{ readonly losses: number; readonly lrs: number }> {
  const { training: { steps, accumulation, clip, warmup_steps, optimizer: { lr } } } = known;
  const run = train(model, {
    data: known.batches.slice(0, steps * accumulation),
    optimizer: trainingOptimizer(known),
    // A plain PyTorch optimizer has one group of parameters.
    decayAll: true,
    learningRate: lr,
    schedule: scheduleOf(known),
    warmupSteps: warmup_steps,
    maxSteps: steps,
    gradientAccumulation: accumulation,
    maxGradNorm: clip ?? 0,
  });
  let losses = 0, lrs = 0, seen = 0;
  for await (const { step, loss, learningRate } of run) {
    losses = Math.max(losses, Math.abs(loss - known.losses[step - 1]!));
    lrs = Math.max(lrs, Math.abs(learningRate - known.lrs[step - 1]!));
    seen++;
  }
  return seen === steps ? { losses, lrs } : { losses: NaN, lrs: NaN };
}

async function adapterErrors(
  model: Model,
  known: Case,
  folder: string,
): Promise<Pick<CaseReport, "final_adapter" | "disabled_loss" | "merged_loss">> {
  const [init, final] = [
    await readAdapterFolder(`${folder}/adapter_init`),
    await readAdapterFolder(`${folder}/adapter_final`),
  ];
  const final_adapter = adaptersDistance(await model.adapterTensors(), final.tensors, init.tensors);
  const first = known.batches[0]!;
  const name = model.activeAdapter!;
  model.disableAdapter();
  const disabled = await lossOf(model, first);
  model.setAdapter(name);
  const off = known.disabled_loss === undefined ? {} : { disabled_loss: Math.abs(disabled - known.disabled_loss) };
  if (known.merged_loss === undefined) return { final_adapter, ...off };
  await model.merge();
  const merged = await lossOf(model, first);
  await model.unmerge();
  return { final_adapter, ...off, merged_loss: Math.abs(merged - known.merged_loss) };
}

function isOk(found: Omit<CaseReport, "ok">): boolean {
  const within = (limit: number, values: readonly (number | undefined)[]) =>
    values.every((value) => value === undefined || value <= limit);
  return within(LIMITS.logits, [found.base_logits, found.logits]) &&
    within(LIMITS.loss, [found.loss, found.losses, found.final_loss, found.disabled_loss, found.merged_loss]) &&
    within(LIMITS.gradients, [found.gradients]) && within(LIMITS.adapter, [found.final_adapter]) &&
    found.generate !== "different";
}

/** Two digits are enough to see what an error is made of. */
function rounded<T extends object>(report: T): T {
  const entries = Object.entries(report).map(([key, value]) =>
    [key, typeof value === "number" ? Number(value.toPrecision(2)) : value] as const
  );
  return Object.fromEntries(entries) as T;
}
