// What `deno task tune` may choose: kernels with several forms that give the same numbers. A family adds its entries to
// `tunables`; its op looks the choice up in `target.tuning` under the same key.
import type { Graph, Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { attention } from "./attention.ts";
import { FLASH_TILES, flashKey, flashTile } from "./attention_flash.ts";
import { matmul } from "./matmul.ts";
import { productKey, sizeClasses, SOFTWARE_TILES, WORKGROUP_TILES } from "./product_candidates.ts";
import { rmsNorm } from "./rms_norm.ts";
import { ROW_LANES, ROWS_KEY } from "./rows.ts";

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
  return [...products(target), ...target.kind === "software" ? [] : [...attentions(target), rows()]];
}

/** Forward attention at the widths of heads that models have. */
function attentions(target: Target): Tunable[] {
  const B = 4, T = 512, H = 4;
  return [32, 64, 128].filter((E) => flashTile({ E }, target)).map((E) => ({
    key: flashKey(E),
    shape: `${B}x${T} ${H} heads of ${E}`,
    candidates: Object.keys(FLASH_TILES),
    quick: E === 64,
    build: (graph) => {
      const leaf = (name: string) => graph.leaf("input", name, [B * T, H * E]);
      return attention({ q: leaf("q"), k: leaf("k"), v: leaf("v") }, { B, T, H, K: H, E, causal: true });
    },
  }));
}

/** Norms, softmax and sums of rows: one choice, as all of them are a few passes over a row and a sum. */
function rows(): Tunable {
  const N = 4096, D = 768;
  return {
    key: ROWS_KEY,
    shape: `${N}x${D}`,
    candidates: Object.keys(ROW_LANES),
    quick: true,
    build: (graph) => rmsNorm(graph.leaf("input", "x", [N, D]), graph.leaf("input", "w", [D]), { eps: 1e-5 }),
  };
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
