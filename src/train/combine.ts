// A new adapter from several: their factors are read, combined on the processor in f64, and put on the model.
import { type Combination, COMBINATIONS, combine, type LowRank, needsDensity } from "../adapters/combine.ts";
import { addsFactors } from "../adapters/combine.ts";
import { PREFIX } from "../adapters/full.ts";
import { loraSite } from "../adapters/lora.ts";
import { lora, type LoraConfig } from "../adapters/lora_config.ts";
import { matrix } from "../core/linalg.ts";
import { printable, UsageError } from "../core/errors.ts";
import type { MajoritySign } from "../adapters/task_arithmetic.ts";
import { prepare, savedForm, use } from "./adapters.ts";
import { savedTensors } from "./leaves.ts";
import type { AdapterState, ModelState } from "./state.ts";
import { knownAdapter, writeAdapter } from "./tensors.ts";

/** Options of {@linkcode Model.combineAdapters}. */
export interface CombineAdaptersOptions {
  /** What to call the new adapter ("combined"). */
  readonly name?: string;
  /** Factors of the adapters, in order (1 each). */
  readonly weights?: readonly number[];
  /** How to combine ("cat": exactly the weighted sum, with the sum of the ranks). */
  readonly combination?: Combination;
  /** Share of the elements that ties, DARE and magnitude_prune keep, in (0, 1]. */
  readonly density?: number;
  /** Whose sign wins in ties: that of the sum, or the more frequent one ("total"). */
  readonly majoritySign?: MajoritySign;
  /** Rank of the svd kinds (the largest of the adapters). */
  readonly rank?: number;
  /** Seed of DARE (42). */
  readonly seed?: number;
}

/** See {@linkcode Model.combineAdapters}. */
export async function combineAdapters(
  state: ModelState,
  names: readonly string[],
  options: CombineAdaptersOptions,
): Promise<void> {
  const { combination = "cat", majoritySign = "total", seed = 42, name = "combined" } = options;
  const sources = names.map((name) => knownAdapter(state, name));
  const { weights = names.map(() => 1), density = 1 } = options;
  check(sources, options, weights);
  const modules: Map<string, Factors>[] = [];
  for (const source of sources) modules.push(await factors(state, source));
  const paths = [...new Set(modules.flatMap((found) => [...found.keys()]))];
  const configs = sources.map(({ config }) => config as LoraConfig);
  const rank = options.rank ?? Math.max(...configs.map((config) => config.rank));
  const values = new Map<string, Float32Array<ArrayBuffer>>();
  const ranks = new Map<string, number>();
  for (const path of paths) {
    const parts = modules.flatMap((found, i) => {
      const part = found.get(path);
      return part ? [{ ...part, weight: weights[i]! }] : [];
    });
    checkRanks(path, parts, combination);
    const { a, b } = combine(parts, { combination, density, majoritySign, rank, seed, path });
    const { table } = parts[0]!;
    values.set(`${PREFIX}${path}${table ? ".lora_embedding_A" : ".lora_A.weight"}`, Float32Array.from(a.data));
    values.set(`${PREFIX}${path}${table ? ".lora_embedding_B" : ".lora_B.weight"}`, Float32Array.from(b.data));
    ranks.set(path, a.rows);
  }
  const adapter = prepare(state, configOf(configs[0]!, ranks), { name });
  await writeAdapter(state, adapter, values);
  use(state, adapter);
}

/** One rank for most modules, patterns for the others; alpha equals the rank everywhere, so that the scale is 1. */
function configOf(first: LoraConfig, ranks: ReadonlyMap<string, number>): LoraConfig {
  const counts = Map.groupBy(ranks.values(), (rank) => rank);
  const usual = [...counts].reduce((a, b) => b[1].length > a[1].length ? b : a)[0];
  const others = Object.fromEntries([...ranks].filter(([, rank]) => rank !== usual));
  return lora({
    rank: usual,
    alpha: usual,
    rankPattern: others,
    alphaPattern: others,
    targetModules: [...ranks.keys()].sort(),
    dropout: first.dropout,
  });
}

interface Factors extends Omit<LowRank, "weight"> {
  /** Whether the module is a table of token vectors. */
  readonly table: boolean;
}

/** What an adapter adds at each module. */
async function factors(state: ModelState, source: AdapterState): Promise<Map<string, Factors>> {
  const { config, tensors } = await savedForm(state, source);
  const found = new Map<string, Factors>();
  const read = (name: string) => {
    const { shape: [rows = 0, cols = 0], data } = tensors.get(name)!;
    return matrix(rows, cols, data);
  };
  for (const path of source.targets) {
    const { scale } = loraSite(config as LoraConfig, path);
    const table = tensors.has(`${PREFIX}${path}.lora_embedding_A`);
    const [a, b] = table ? ["lora_embedding_A", "lora_embedding_B"] : ["lora_A.weight", "lora_B.weight"];
    found.set(path, { a: read(`${PREFIX}${path}.${a}`), b: read(`${PREFIX}${path}.${b}`), scale, table });
  }
  return found;
}

function check(
  sources: readonly AdapterState[],
  { combination = "cat", density, rank, majoritySign = "total" }: CombineAdaptersOptions,
  weights: readonly number[],
): void {
  const problems: string[] = [];
  if (sources.length === 0) problems.push("no adapter is given");
  if (!COMBINATIONS.includes(combination)) {
    problems.push(
      `combination must be one of ${COMBINATIONS.join(", ")}: received "${printable(String(combination))}"`,
    );
  }
  if (weights.length !== sources.length) {
    problems.push(`there must be a weight for each of ${sources.length} adapters: received ${weights.length}`);
  }
  if (!weights.every(Number.isFinite)) problems.push(`weights must be numbers: received ${weights.join(", ")}`);
  if (needsDensity(combination) && density === undefined) {
    problems.push(`${combination} needs density, the share of the elements that is kept`);
  }
  if (density !== undefined && !(density > 0 && density <= 1)) {
    problems.push(`density must be in (0, 1]: received ${density}`);
  }
  if (rank !== undefined && !(Number.isInteger(rank) && rank >= 1)) {
    problems.push(`rank must be a whole number above 0: received ${rank}`);
  }
  if (!["total", "frequency"].includes(majoritySign)) {
    problems.push(`majoritySign must be "total" or "frequency": received "${printable(majoritySign)}"`);
  }
  for (const source of sources) {
    const why = notPlain(source);
    if (why !== undefined) problems.push(`"${printable(source.name)}" ${why}`);
  }
  if (problems.length === 0) return;
  throw new UsageError("adapter/combine", `Cannot combine these adapters: ${problems.join("; ")}`);
}

/** Why an adapter is more than products B·A. */
function notPlain({ config, tensors, targets, under }: AdapterState): string | undefined {
  if (under !== undefined) return `lies on "${printable(under)}"`;
  if (config.type !== "LORA") return `is of type ${config.type}: only LoRA adapters can be combined`;
  const extra = [...savedTensors(tensors).keys()].filter((name) =>
    !/\.lora_(A|B)\.weight$|\.lora_embedding_[AB]$/.test(name)
  );
  if (extra.length > 0) return `has more than factors A and B: ${printable(extra[0]!)}`;
  return targets.length === 0 ? "adapts no module" : undefined;
}

function checkRanks(path: string, parts: readonly LowRank[], combination: Combination): void {
  const ranks = parts.map(({ a }) => a.rows);
  if (!addsFactors(combination) || new Set(ranks).size === 1) return;
  throw new UsageError(
    "adapter/combine",
    `Cannot combine by ${combination} as ${printable(path)} has ranks ${ranks.join(" and ")}`,
    { hint: "Use cat or one of the svd kinds, which allow different ranks." },
  );
}
