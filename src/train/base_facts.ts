// What a model tells methods about itself, before or after it is loaded.
import type { Base } from "../adapters/resolve.ts";
import type { Tokenizer } from "../data/tokenizer.ts";
import type { Architecture } from "../models/architecture.ts";
import type { Json } from "../models/config.ts";
import type { Inventory } from "./leaves.ts";

/** What {@linkcode baseFacts} is told. */
export interface BaseSource {
  readonly architecture: Architecture;
  readonly inventory: Inventory;
  readonly config: Json;
  readonly tokenizer?: Tokenizer | undefined;
}

/** The facts. */
export function baseFacts({ architecture, inventory, config, tokenizer }: BaseSource): Base {
  const { type, D, layers, cache } = architecture;
  const heads = [config.num_attention_heads, config.n_head, config.num_heads, cache.K].find((n) =>
    typeof n === "number"
  );
  return {
    encoderDecoder: architecture.encoder !== undefined,
    ...{ type, D, layers, cache, heads: heads as number },
    modules: [...inventory.modules.values()],
    weights: [...inventory.weights.keys()],
    encode: tokenizer ? (text) => tokenizer.encode(text) : undefined,
  };
}
