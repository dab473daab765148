// Adapters of mlx-lm (mlx_lm.lora) as PEFT would have saved them. The file of settings has PEFT's name and another schema;
// the tensors lie in another file, under other names, transposed, and their scale is not divided by the rank:
//
//   mlx-lm   y += scale·(x·a)·b      <path>.lora_a[In, R]      <path>.lora_b[R, Out]     <path>.m[Out] with DoRA
//   PEFT     y += alpha/R·B·A·x      lora_A.weight[R, In]      lora_B.weight[Out, R]     lora_magnitude_vector[Out]
//
// Tables of token vectors have lora_a[V, R] and lora_b[R, D] there, lora_embedding_A[R, V] and lora_embedding_B[D, R] here.
import { ConfigError, printable } from "../core/errors.ts";
import type { AdapterTensor } from "./adapter_file.ts";
import { isJsonObject } from "./strict_json.ts";

/** File of the tensors. */
export const MLX_WEIGHTS = "adapters.safetensors";

/** Whether a config without `peft_type` is one of mlx-lm. */
export function isMlxConfig(config: Readonly<Record<string, unknown>>): boolean {
  return "lora_parameters" in config || "fine_tune_type" in config || "lora_layers" in config;
}

type Tensors = ReadonlyMap<string, AdapterTensor>;

/**
 * Settings and tensors in PEFT's form. Every module that has tensors is a target by its full path, so that `num_layers`
 * and `keys` need not be resolved.
 *
 * @throws {ConfigError} `adapter/mlx-lm` listing all settings and tensors that cannot be used.
 */
export function fromMlx(
  config: Readonly<Record<string, unknown>>,
  tensors: Tensors,
  path: string,
): { readonly config: Record<string, unknown>; readonly tensors: Map<string, AdapterTensor> } {
  const problems: string[] = [];
  const parameters = isJsonObject(config["lora_parameters"]) ? config["lora_parameters"] : {};
  const kind = config["fine_tune_type"] ?? (config["use_dora"] === true ? "dora" : "lora");
  const { rank, scale, dropout = 0 } = parameters;
  if (kind !== "lora" && kind !== "dora") {
    problems.push(`"fine_tune_type" must be "lora" or "dora": received ${printable(JSON.stringify(kind))}`);
  }
  if (!(Number.isInteger(rank) && rank as number >= 1)) {
    problems.push(`"lora_parameters.rank" must be a whole number above 0: received ${text(rank)}`);
  }
  if (!Number.isFinite(scale)) problems.push(`"lora_parameters.scale" must be a number: received ${text(scale)}`);
  const found = modules(tensors, problems);
  for (const [module, parts] of found) problems.push(...moduleProblems(module, parts, rank as number, kind === "dora"));
  if (problems.length > 0) throw new ConfigError("adapter/mlx-lm", "this adapter of mlx-lm", problems, { path });

  const renamed = new Map<string, AdapterTensor>();
  for (const [module, { a, b, m, table }] of found) {
    const prefix = `base_model.model.${module}`;
    renamed.set(`${prefix}${table ? ".lora_embedding_A" : ".lora_A.weight"}`, transposed(a!));
    renamed.set(`${prefix}${table ? ".lora_embedding_B" : ".lora_B.weight"}`, transposed(b!));
    if (m) renamed.set(`${prefix}.lora_magnitude_vector`, m);
  }
  return {
    config: {
      peft_type: "LORA",
      r: rank,
      lora_alpha: (scale as number) * (rank as number),
      lora_dropout: dropout,
      target_modules: [...found.keys()].sort(),
      base_model_name_or_path: typeof config["model"] === "string" ? config["model"] : null,
      task_type: "CAUSAL_LM",
      use_dora: kind === "dora",
    },
    tensors: renamed,
  };
}

interface Parts {
  a?: AdapterTensor;
  b?: AdapterTensor;
  /** The magnitudes of DoRA. */
  m?: AdapterTensor;
  readonly table: boolean;
}

function modules(tensors: Tensors, problems: string[]): Map<string, Parts> {
  const found = new Map<string, Parts>();
  for (const [name, tensor] of tensors) {
    const [, path, part] = /^(.+)\.(?:lora_([ab])|m)$/.exec(name) ?? [];
    if (path === undefined) {
      problems.push(`${printable(name)} is no tensor of LoRA or DoRA`);
      continue;
    }
    // mlx-lm calls GPT-2's trunk "model"; transformers calls it "transformer".
    const module = path.replace(/^model\.(?=h\.\d+\.|wte$|wpe$)/, "transformer.");
    const parts = found.get(module) ?? { table: /(?:^|\.)(?:embed_tokens|wte)$/.test(module) };
    parts[part as "a" | "b" | undefined ?? "m"] = tensor;
    found.set(module, parts);
  }
  return found;
}

function moduleProblems(module: string, { a, b, m }: Parts, rank: number, dora: boolean): string[] {
  const name = printable(module);
  if (!a || !b) return [`${name} has no ${a ? "lora_b" : "lora_a"}`];
  if (a.shape.length !== 2 || b.shape.length !== 2 || a.shape[1] !== rank || b.shape[0] !== rank) {
    return [`${name} has lora_a [${a.shape}] and lora_b [${b.shape}], which must be [In, ${rank}] and [${rank}, Out]`];
  }
  if (dora && String(m?.shape) !== String([b.shape[1]])) return [`${name} has no m of [${b.shape[1]}], as DoRA needs`];
  if (!dora && m) return [`${name} has a magnitude m, but "fine_tune_type" is "lora"`];
  return [];
}

function transposed({ shape: [rows = 0, cols = 0], data }: AdapterTensor): AdapterTensor {
  const result = new Float32Array(data.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) result[j * rows + i] = data[i * cols + j]!;
  return { shape: [cols, rows], data: result };
}

function text(value: unknown): string {
  return printable(JSON.stringify(value) ?? "nothing");
}
