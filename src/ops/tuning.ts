// What `deno task tune` may choose: kernels with several forms that give the same numbers. A family adds its entries to
// `tunables`; its op looks the choice up in `target.tuning` under the same key.
import type { Graph, Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { matmul } from "./matmul.ts";
import { productKey, sizeClasses, SOFTWARE_TILES, WORKGROUP_TILES } from "./product_candidates.ts";

/** A kernel, for one kind of shape, whose form can be chosen. */
export interface Tunable {
  /** What the choice is kept under. */
  readonly key: string;
  /** Sizes that stand for the kind. */
  readonly shape: string;
  /** Names of the forms. */
  readonly candidates: readonly string[];
  /** Whether `--quick` measures it. */
  readonly quick: boolean;
  /** Add one application to a graph; its leaves are inputs in f32. */
  readonly build: (graph: Graph) => Value;
}

/** Every choice for the target's class. */
export function tunables(target: Target): Tunable[] {
  return products(target);
}

function products(target: Target): Tunable[] {
  const candidates = Object.keys(target.kind === "software" ? SOFTWARE_TILES : WORKGROUP_TILES);
  const layouts = [{ ta: false, tb: false }, { ta: false, tb: true }, { ta: true, tb: false }];
  return sizeClasses(target).flatMap(({ name, sizes: [M, K, N] }) =>
    layouts.map(({ ta, tb }): Tunable => ({
      key: productKey({ ta, tb }, M * N * K, target)!,
      shape: `${M}x${K}·${N}`,
      candidates,
      quick: name === "medium",
      build: (graph) => {
        const a = graph.leaf("input", "a", ta ? [K, M] : [M, K]);
        const b = graph.leaf("input", "b", tb ? [N, K] : [K, N]);
        return matmul(a, b, { ta, tb });
      },
    }))
  );
}
