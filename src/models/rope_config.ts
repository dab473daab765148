// Rotary settings of config.json, in the form of transformers 4 (rope_theta, rope_scaling) or 5 (rope_parameters).
import { ModelError } from "../core/errors.ts";
import { type RopeScaling, ropeTables } from "../ops/rope_tables.ts";
import type { ConfigReader, Json } from "./config.ts";

/** Base and scaling rule of the rotary embedding; what is wrong with them is noted in `c`. */
export function ropeSettings(
  config: Json,
  c: ConfigReader,
): { readonly theta: number; readonly scaling: RopeScaling } {
  const given = config.rope_parameters ?? config.rope_scaling ?? {};
  const isRule = typeof given === "object" && !Array.isArray(given);
  if (!isRule) c.problem("rope_scaling", `must be an object: received ${JSON.stringify(given)}`);
  const scaling: Json = isRule ? given as Json : {};
  const theta = scaling.rope_theta ?? config.rope_theta ?? 10000;
  if (!(typeof theta === "number" && Number.isFinite(theta) && theta > 0)) {
    c.problem("rope_theta", `must be a number above 0: received ${JSON.stringify(theta)}`);
  }
  try {
    ropeTables({ positions: 1, E: 2, scaling });
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    c.problem("rope_scaling", `is not supported: ${error.message.split("\n")[0]}`);
  }
  return { theta: theta as number, scaling };
}
