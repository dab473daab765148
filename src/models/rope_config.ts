// Rotary settings of config.json, in the form of transformers 4 (rope_theta, rope_scaling) or 5 (rope_parameters).
import { ModelError } from "../core/errors.ts";
import { ropeFrequencies, type RopeScaling } from "../ops/rope_scaling.ts";
import type { ConfigReader, Json } from "./config.ts";

/** What config.json says of rotary positions. */
export interface RopeSettings {
  readonly theta: number;
  readonly scaling: RopeScaling;
  /** The share of the columns of a head that turn, in (0, 1]. */
  readonly share: number;
}

/** Base and scaling rule of the rotary embedding of heads of E columns; what is wrong with them is noted in `c`. */
export function ropeSettings(config: Json, c: ConfigReader, E: number): RopeSettings {
  const given = config.rope_parameters ?? config.rope_scaling ?? {};
  const isRule = typeof given === "object" && !Array.isArray(given);
  if (!isRule) c.problem("rope_scaling", `must be an object: received ${JSON.stringify(given)}`);
  const rule: Json = isRule ? given as Json : {};
  const scaling = longDefaults(rule, config) as RopeScaling;
  const theta = rule.rope_theta ?? config.rope_theta ?? 10000;
  if (!(typeof theta === "number" && Number.isFinite(theta) && theta > 0)) {
    c.problem("rope_theta", `must be a number above 0: received ${JSON.stringify(theta)}`);
  }
  const share = rule.partial_rotary_factor ?? config.partial_rotary_factor ?? 1;
  const known = typeof share === "number" && share > 0 && share <= 1;
  if (!known) c.problem("partial_rotary_factor", `must be in (0, 1]: received ${JSON.stringify(share)}`);
  try {
    ropeFrequencies({ E: known ? 2 * Math.floor(Math.floor(E * share) / 2) : E, theta: 10000, scaling });
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    c.problem("rope_scaling", `is not supported: ${error.message.split("\n")[0]}`);
  }
  return { theta: theta as number, scaling, share: known ? share : 1 };
}

/** What configurations of YaRN and longrope leave out: the first training saw all positions, or a factor follows from both. */
function longDefaults(rule: Json, config: Json): Json {
  const type = rule.rope_type ?? rule.type;
  if (type !== "yarn" && type !== "longrope") return rule;
  const positions = config.max_position_embeddings;
  // Phi-3 names its first context beside the rule.
  const beside = type === "longrope" ? config.original_max_position_embeddings : undefined;
  const original = beside ?? rule.original_max_position_embeddings;
  if (original === undefined) return { ...rule, original_max_position_embeddings: positions };
  return {
    ...rule,
    original_max_position_embeddings: original,
    factor: rule.factor ?? Number(positions) / Number(original),
  };
}
