// Which layers see only the last positions, from sliding_window and layer_types of config.json.
import { printable } from "../core/errors.ts";
import type { ConfigReader, Json } from "./config.ts";

/** What a family says of its windows. */
export interface WindowRules {
  readonly layers: number;
  /** sliding_window where the configuration leaves it out; without, and where it says null, no layer has a window. */
  readonly fallback?: number;
  /** Which layers have the window where layer_types does not say; all by default. */
  readonly sliding?: (layer: number) => boolean;
}

/** How many positions a row of a layer sees, its own included; undefined where it sees all before it. */
export function layerWindows(
  config: Json,
  c: ConfigReader,
  { layers, fallback, sliding = () => true }: WindowRules,
): (layer: number) => number | undefined {
  const none = c.isNull("sliding_window") || (config.sliding_window === undefined && fallback === undefined);
  const window = none ? undefined : c.count("sliding_window", fallback === undefined ? {} : { fallback });
  const types = layerTypes(config, c, layers);
  if (types?.includes("sliding_attention") && window === undefined) {
    c.problem("sliding_window", "must be a number where layer_types names sliding_attention: received null");
  }
  return (layer) => (types ? types[layer] === "sliding_attention" : sliding(layer)) ? window : undefined;
}

/** What layer_types says of every layer; undefined where it says nothing. */
export function layerTypes(config: Json, c: ConfigReader, layers: number): readonly string[] | undefined {
  const types = config.layer_types ?? undefined;
  if (types === undefined) return undefined;
  const known = ["full_attention", "sliding_attention"];
  if (Array.isArray(types) && types.length === layers && types.every((type) => known.includes(type))) return types;
  c.problem(
    "layer_types",
    `must name ${known.join(" or ")} for each of ${layers} layers: received ${printable(JSON.stringify(types))}`,
  );
  return undefined;
}
