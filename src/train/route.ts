// Mixed batches: while a route is set, every sequence is computed with an adapter of its own, or with none. Masks of rows
// are resident tables that are written again for every route, so that one program serves every assignment of the same
// adapters.
import { buildAdapter } from "../adapters/mod.ts";
import { loneReason } from "../adapters/composite.ts";
import { CheckpointError, printable, UsageError } from "../core/errors.ts";
import { upload } from "../gpu/buffer.ts";
import type { Decoder } from "./decoder.ts";
import { maskValues } from "./route_masks.ts";
import { adaptersInUse, type ModelState, type Route } from "./state.ts";
import { knownAdapter } from "./tensors.ts";

/** The adapter of each sequence by name; null for the base. */
export type AdapterNames = readonly (string | null)[];

/**
 * The route of a batch of `count` sequences.
 *
 * @throws {UsageError} `adapter/mixed`, `adapter/unknown`; {@linkcode CheckpointError} `merge/merged`.
 */
export function routeOf(state: ModelState, names: AdapterNames, count: number, prefix = "forward "): Route {
  if (names.length !== count) {
    throw new UsageError(
      "adapter/mixed",
      `Cannot use ${names.length} adapters for ${count} sequences: give one for each`,
    );
  }
  if (state.merged) {
    throw new CheckpointError(
      "merge/merged",
      "Cannot mix adapters as some are merged into the weights: unmerge() first",
    );
  }
  const distinct = [...new Set(names)].filter((name) => name !== null).sort();
  for (const name of distinct) {
    for (const { config } of adaptersInUse(state, knownAdapter(state, name))) {
      const reason = loneReason(buildAdapter(config, "eval"), state.inventory.weights.keys(), "mixed");
      if (reason === undefined) continue;
      throw new UsageError("adapter/mixed", `Cannot mix "${printable(name)}" with others in a batch as it ${reason}`, {
        hint: "Give its sequences in a batch of their own.",
      });
    }
  }
  return { names, distinct, prefix };
}

/** Run `body` with the route set. */
export async function withRoute<T>(state: ModelState, route: Route, body: () => Promise<T>): Promise<T> {
  state.route = route;
  try {
    for (const [name, buffer] of state.store.buffers) {
      const [, part, N] = name.startsWith(route.prefix)
        ? /^route (\d+) of (\d+)$/.exec(name.slice(route.prefix.length)) ?? []
        : [];
      if (part === undefined || Number(N) % route.names.length > 0) continue;
      upload(state.device, buffer, maskValues(route, Number(part), Number(N)));
    }
    return await body();
  } finally {
    state.route = undefined;
  }
}

/** A decoder whose texts each have their own adapter; `make` makes it as it is without one. */
export function routedDecoder(
  state: ModelState,
  make: () => Decoder,
  { names, count }: { readonly names: AdapterNames; readonly count: number },
): Decoder {
  const route = routeOf(state, names, count);
  state.route = route;
  let decoder: Decoder;
  try {
    decoder = make();
  } finally {
    state.route = undefined;
  }
  return {
    ...decoder,
    logits(step) {
      state.route = { ...route, prefix: step.place.prefix };
      try {
        return decoder.logits(step);
      } finally {
        state.route = undefined;
      }
    },
    fill: (texts, place) => withRoute(state, { ...route, prefix: place.prefix }, () => decoder.fill(texts, place)),
  };
}
