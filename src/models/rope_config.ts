// Rotary settings of config.json, in the form of transformers 4 (rope_theta, rope_scaling) or 5 (rope_parameters).
import { ModelError } from "../core/errors.ts";
import type { RopeScaling } from "../ops/rope_tables.ts";
import type { Json } from "./config.ts";

/**
 * Base and scaling rule of the rotary embedding.
 *
 * @throws {ModelError} `config/rope_scaling` if the rule is unknown or lacks a number.
 */
export function ropeScaling(config: Json): { readonly theta: number; readonly scaling: RopeScaling } {
  const rule = (config.rope_parameters ?? config.rope_scaling ?? {}) as Json;
  if (typeof rule !== "object" || Array.isArray(rule)) {
    throw new ModelError("config/rope_scaling", `Cannot read rope_scaling: received ${JSON.stringify(rule)}`);
  }
  const theta = rule.rope_theta ?? config.rope_theta ?? 10000;
  if (typeof theta !== "number" || !(theta > 0)) {
    throw new ModelError(
      "config/rope_theta",
      `Cannot use ${JSON.stringify(theta)} as rope_theta: it must be a number above 0`,
    );
  }
  const type = rule.rope_type ?? rule.type ?? "default";
  const number = (field: string) => {
    const value = rule[field] ?? config[field];
    if (typeof value === "number" && Number.isFinite(value)) return value;
    throw new ModelError(
      "config/rope_scaling",
      `Cannot use rope_scaling "${type}" as ${field} must be a number: received ${JSON.stringify(value)}`,
    );
  };
  switch (type) {
    case "default":
      return { theta, scaling: { type } };
    case "linear":
      return { theta, scaling: { type, factor: number("factor") } };
    case "llama3":
      return {
        theta,
        scaling: {
          type,
          factor: number("factor"),
          lowFreqFactor: number("low_freq_factor"),
          highFreqFactor: number("high_freq_factor"),
          originalPositions: number("original_max_position_embeddings"),
        },
      };
    default:
      throw new ModelError(
        "config/rope_scaling",
        `Cannot use rope_scaling "${type}": supported are default, linear, llama3`,
      );
  }
}
