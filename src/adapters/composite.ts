// Several adapters in one program.
//
//   stacked   the upper one changes what the lower one makes of the base; only the upper one is trained
//   mixed     every row of a batch is computed with its own adapter: y = Σ maskₖ ⊙ yₖ, where a row has one mask of 1 and
//             else 0. What the adapters share (the base's product) is one node of the graph, computed once.
import type { Shape } from "../core/dims.ts";
import type { Graph, Value } from "../graph/graph.ts";
import type { Adapter } from "../nn/adapter.ts";
import type { LeafSource, ModelScope, SiteInfo } from "../nn/scope.ts";
import { add } from "../ops/elementwise.ts";
import { scaleRows } from "../ops/scale_columns.ts";

/** An adapter and where its tensors come from. */
export interface Part {
  readonly adapter: Adapter;
  readonly leaves: LeafSource;
}

/** The same source with names of its own for the tensors of an adapter. */
export function labelled(leaves: LeafSource, label: string): LeafSource {
  return {
    ...leaves,
    param: (graph, name, shape, init) => leaves.param(graph, `${label}${name}`, shape, init),
    frozen: (graph, name, shape, init, options) => leaves.frozen(graph, `${label}${name}`, shape, init, options),
  };
}

/** Marks the names of weights that the lower adapter trained in full. */
const UNDER = "under ";

/** `upper` on top of `lower`. */
export function stacked(lower: Part, upper: Part): Part {
  const { adapter: below } = lower, { adapter: above } = upper;
  const at = (m: ModelScope): ModelScope => ({ ...m, leaves: lower.leaves });
  const changes = (adapter: Adapter, site: SiteInfo) =>
    (site.kind === "embedding" ? adapter.embed : adapter.linear) !== undefined && adapter.adapts(site);
  const adapter: Adapter = {
    type: above.type,
    adapts: (site) => changes(above, site) || changes(below, site),
    linear(site, x) {
      const inner = { ...site, m: at(site.m) };
      const base = changes(below, site) ? (x: Value) => below.linear!(inner, x) : undefined;
      if (!changes(above, site)) return base!(x);
      return above.linear!(base ? { ...site, base, plain: false } : site, x);
    },
    embed(site, tokens) {
      const inner = { ...site, m: at(site.m) };
      const base = changes(below, site) ? (tokens: Value) => below.embed!(inner, tokens) : undefined;
      if (!changes(above, site)) return base!(tokens);
      return above.embed!(base ? { ...site, base } : site, tokens);
    },
    branch(site, h, x) {
      const inner = below.branch?.({ ...site, m: at(site.m) }, h, x) ?? h;
      return above.branch?.(site, inner, x) ?? inner;
    },
    trains(name) {
      const own = above.trains?.(name), inner = below.trains?.(name);
      return own ?? (inner === undefined ? undefined : `${UNDER}${inner}`);
    },
  };
  const leaves: LeafSource = {
    ...upper.leaves,
    param: (graph, name, shape, init) =>
      name.startsWith(UNDER)
        ? lower.leaves.param(graph, name.slice(UNDER.length), shape, init)
        : upper.leaves.param(graph, name, shape, init),
  };
  return { adapter, leaves };
}

/** Why an adapter cannot be stacked with others or be one of several in a batch; undefined where it can. */
export function loneReason(adapter: Adapter, weights: Iterable<string>, what: "stacked" | "mixed"): string | undefined {
  if (adapter.virtualTokens !== undefined) return "puts positions in front of the text";
  if (what === "stacked") return undefined;
  const own = [...weights].find((name) => adapter.trains?.(name) !== undefined);
  return own === undefined ? undefined : `has a weight of its own, ${own}`;
}

/** The mask [N] of one part, or of the base where it is the number of parts. */
export type MaskOf = (graph: Graph, part: number, N: Shape[number]) => Value;

/** Every row with its own adapter, or with none. */
export function mixed(parts: readonly Part[], mask: MaskOf): Adapter {
  const scopeOf = (m: ModelScope, { leaves }: Part): ModelScope => ({ ...m, leaves });

  /** Rows of what each part makes, and of the base where a part makes nothing. */
  function blend(graph: Graph, made: readonly (Value | undefined)[], base: () => Value): Value {
    const rest: number[] = [];
    let sum: Value | undefined;
    const join = (y: Value, rows: Value) => {
      const kept = scaleRows(y, rows);
      sum = sum ? add(sum, kept) : kept;
    };
    made.forEach((y, k) => y ? join(y, mask(graph, k, y.shape[0]!)) : rest.push(k));
    if (rest.length === made.length) return base();
    const y = base();
    join(y, [...rest, made.length].map((k) => mask(graph, k, y.shape[0]!)).reduce((a, b) => add(a, b)));
    return sum!;
  }

  return {
    type: "GRAFT_MIXED",
    adapts: (site) => parts.some(({ adapter }) => adapter.adapts(site)),
    linear(site, x) {
      const made = parts.map((part) =>
        part.adapter.linear && part.adapter.adapts(site)
          ? part.adapter.linear({ ...site, m: scopeOf(site.m, part), plain: false }, x)
          : undefined
      );
      return blend(site.m.graph, made, () => site.base(x));
    },
    embed(site, tokens) {
      const made = parts.map((part) =>
        part.adapter.embed && part.adapter.adapts(site)
          ? part.adapter.embed({ ...site, m: scopeOf(site.m, part) }, tokens)
          : undefined
      );
      return blend(site.m.graph, made, () => site.base(tokens));
    },
    branch(site, h, x) {
      const made = parts.map((part) => part.adapter.branch?.({ ...site, m: scopeOf(site.m, part) }, h, x));
      return blend(site.m.graph, made, () => h);
    },
  };
}
