// LoRA on a table of token vectors, and rows of a table that are trained by themselves, as PEFT has both.
//
//   y[n] = W[token] + s·B·A[:, token]       A[R, V] = 0,  B[D, R] ~ N(0, 1);  W' = W + s·(B·A)ᵀ   (DoRA: gains of columns)
//   y[n] = token is trained ? delta[its number] : W[token]
import { printable, UsageError } from "../core/errors.ts";
import type { Value } from "../graph/graph.ts";
import type { EmbedSite } from "../nn/adapter.ts";
import type { AdapterInit, ModelScope } from "../nn/scope.ts";
import { add } from "../ops/elementwise.ts";
import { embedding } from "../ops/embedding.ts";
import { matmul } from "../ops/matmul.ts";
import { scaleColumns } from "../ops/scale_columns.ts";
import type { TokenRows } from "../ops/token_rows.ts";
import { transpose } from "../ops/transpose.ts";
import { doraGains, doraMerge } from "./dora.ts";
import { PREFIX } from "./full.ts";
import type { LoraConfig } from "./lora_config.ts";
import type { Base } from "./resolve.ts";
import { targetMatcher, type TargetRules } from "./targets.ts";

/** What a table's update is made with. */
export interface EmbeddingUpdate {
  readonly R: number;
  readonly scale: number;
  /** Whether both factors start at random: `init_lora_weights: false`. */
  readonly random: boolean;
  readonly dora: boolean;
}

function factors({ m: { leaves, graph }, path, In, Out }: EmbedSite, { R, random }: EmbeddingUpdate) {
  const normal: AdapterInit = { kind: "normal", std: 1 };
  return {
    a: leaves.param(graph, `${PREFIX}${path}.lora_embedding_A`, [R, In], random ? normal : { kind: "zeros" }),
    b: leaves.param(graph, `${PREFIX}${path}.lora_embedding_B`, [Out, R], normal),
  };
}

/** The adapted rows of tokens u32[N] → [N, D]. */
export function embedUpdated(site: EmbedSite, update: EmbeddingUpdate, tokens: Value): Value {
  const { a, b } = factors(site, update), { scale, dora } = update;
  const y = add(site.base(tokens), matmul(embedding(transpose(a), tokens), b, { tb: true, alpha: scale }));
  return dora ? scaleColumns(y, doraGains(site, { a, b, scale })) : y;
}

/** The table with its update. */
export function mergedTable(site: EmbedSite, update: EmbeddingUpdate): Value {
  const { a, b } = factors(site, update), { scale, dora } = update;
  const sum = add(site.weight, matmul(a, b, { ta: true, tb: true, alpha: scale }));
  return dora ? doraMerge(site, { a, b, scale }, sum) : sum;
}

/** The rows of the table at `path`[V, D], called `weight` in the checkpoint, that are trained by themselves. */
export function tokenRows(
  { leaves, graph }: ModelScope,
  { path, weight, V, D }: { readonly path: string; readonly weight: string; readonly V: number; readonly D: number },
  tokens: readonly number[],
): TokenRows {
  const name = `${PREFIX}${path}.token_adapter.trainable_tokens_delta`;
  const make = (table: Float32Array) => {
    const values = new Float32Array(tokens.length * D);
    tokens.forEach((token, i) => values.set(table.subarray(token * D, (token + 1) * D), i * D));
    return values;
  };
  const slots = () => {
    const values = new Float32Array(V);
    tokens.forEach((token, i) => void (values[token] = i + 1));
    return values;
  };
  return {
    delta: leaves.param(graph, name, [tokens.length, D], { kind: "base", weight, make }),
    slots: leaves.constant(graph, `slots of ${path}: ${tokens}`, [V], slots),
    rows: leaves.constant(graph, `rows of ${path}: ${tokens}`, [tokens.length], () => Float32Array.from(tokens)),
  };
}

/**
 * The tokens that are trained by themselves, by the path of their table.
 *
 * @throws {UsageError} `adapter/tokens` where a table or a token does not exist, or a table is a target too.
 */
export function resolveTokens(
  { trainableTokens, ...rules }: Pick<LoraConfig, "trainableTokens"> & TargetRules,
  { modules }: Base,
): Record<string, readonly number[]> | undefined {
  if (trainableTokens === null) return undefined;
  const tables = modules.filter(({ kind }) => kind === "embedding");
  const wanted = Array.isArray(trainableTokens)
    ? [[tables[0]?.path ?? "", trainableTokens] as const]
    : Object.entries(trainableTokens as Readonly<Record<string, readonly number[]>>);
  const adapted = targetMatcher(rules), found: Record<string, readonly number[]> = {};
  for (const [name, tokens] of wanted) {
    const table = tables.find(({ path }) => path === name || path.endsWith(`.${name}`));
    const outside = tokens.find((token) => token >= (table?.In ?? 0));
    const why = !table
      ? `there is no table of token vectors called "${printable(name)}"`
      : outside !== undefined
      ? `${table.path} has ${table.In} tokens: received ${outside}`
      : adapted(table)
      ? `${table.path} is among target_modules`
      : undefined;
    if (why) throw new UsageError("adapter/tokens", `Cannot train tokens by themselves as ${why}`);
    found[table!.path] = tokens;
  }
  return found;
}
