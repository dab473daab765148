// Token vectors: y[N, D] = W[token], adapted when the method says so; positions in front get the method's own vectors.
import type { Value } from "../graph/graph.ts";
import { embedding } from "../ops/embedding.ts";
import type { EmbedSite } from "./adapter.ts";
import { type ModelScope, pathOf, type SiteInfo, weight, within } from "./scope.ts";

/** Vocabulary and width. */
export interface EmbedOptions {
  readonly V: number;
  readonly D: number;
}

/** The vectors of tokens u32[N] in the table called `name`: [N, D]. */
export function embed(m: ModelScope, name: string, tokens: Value, { V, D }: EmbedOptions): Value {
  const info: SiteInfo = { path: pathOf(m, name), In: V, Out: D, transposed: true, output: false, kind: "embedding" };
  return within(m, name, () => {
    m.leaves.site?.(info);
    const site = embedSite(m, info, weight(m, "weight", [V, D]));
    const rows = m.adapter?.embed && m.adapter.adapts(info) ? m.adapter.embed(site, tokens) : site.base(tokens);
    const prompt = m.adapter?.prompt?.(m, D);
    return prompt ? m.sequence.lead(rows, prompt) : rows;
  });
}

/** A plain table as methods see it. */
export function embedSite(m: ModelScope, info: SiteInfo, table: Value): EmbedSite {
  return { ...info, m, weight: table, base: (tokens) => embedding(table, tokens) };
}
