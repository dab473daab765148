// Rotary settings of config.json, in the form of transformers 4 (rope_theta, rope_scaling) or 5 (rope_parameters).
import { ModelError } from "../core/errors.ts";
import { ropeFrequencies, type RopeScaling } from "../ops/rope_scaling.ts";
import type { ConfigReader, Json } from "./config.ts";

/** Base and scaling rule of the rotary embedding; what is wrong with them is noted in `c`. */
export function ropeSettings(
  config: Json,
  c: ConfigReader,
): { readonly theta: number; readonly scaling: RopeScaling } {
  const given = config.rope_parameters ?? config.rope_scaling ?? {};
  const isRule = typeof given === "object" && !Array.isArray(given);
  if (!isRule) c.problem("rope_scaling", `must be an object: received ${JSON.stringify(given)}`);
  const rule: Json = isRule ? given as Json : {};
  const scaling = yarnDefaults(rule, config.max_position_embeddings) as RopeScaling;
  const theta = rule.rope_theta ?? config.rope_theta ?? 10000;
  if (!(typeof theta === "number" && Number.isFinite(theta) && theta > 0)) {
    c.problem("rope_theta", `must be a number above 0: received ${JSON.stringify(theta)}`);
  }
  try {
    ropeFrequencies({ E: 2, theta: 10000, scaling });
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    c.problem("rope_scaling", `is not supported: ${error.message.split("\n")[0]}`);
  }
  return { theta: theta as number, scaling };
}

/** What configurations of YaRN leave out: the first training saw all positions, or a factor follows from the two. */
function yarnDefaults(rule: Json, positions: unknown): Json {
  if ((rule.rope_type ?? rule.type) !== "yarn") return rule;
  const { original_max_position_embeddings: original, factor } = rule;
  if (original === undefined) return { ...rule, original_max_position_embeddings: positions };
  return { ...rule, factor: factor ?? Number(positions) / Number(original) };
}
