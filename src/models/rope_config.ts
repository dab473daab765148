// Rotary settings of config.json, in the form of transformers 4 (rope_theta, rope_scaling) or 5 (rope_parameters).
import { ModelError } from "../core/errors.ts";
import type { RopeScaling } from "../ops/rope_tables.ts";
import type { Json } from "./config.ts";

/**
 * Base and scaling rule of the rotary embedding; the rule's numbers are checked where the tables are made.
 *
 * @throws {ModelError} `config/rope_scaling`, `config/rope_theta`.
 */
export function ropeSettings(config: Json): { readonly theta: number; readonly scaling: RopeScaling } {
  const rule = config.rope_parameters ?? config.rope_scaling ?? {};
  if (typeof rule !== "object" || Array.isArray(rule)) {
    throw new ModelError("config/rope_scaling", `Cannot read rope_scaling: received ${JSON.stringify(rule)}`);
  }
  const theta = (rule as Json).rope_theta ?? config.rope_theta ?? 10000;
  if (typeof theta !== "number" || !(theta > 0)) {
    throw new ModelError(
      "config/rope_theta",
      `Cannot use ${JSON.stringify(theta)} as rope_theta: it must be a number above 0`,
    );
  }
  return { theta, scaling: rule };
}
