// Prefix tuning without a model's knowledge: in every attention layer, the keys and values of the positions in front
// come from the method. Those positions are rows of the program like any others, so masks and positions need no care.
import type { ModelScope } from "./scope.ts";
import type { Heads, Sequence } from "./sequence.ts";

/** The scope with the prefixes of its adapter, where it has some, in every attention. */
export function withPrefixes(m: ModelScope): ModelScope {
  if (!m.adapter?.prefix) return m;
  const { sequence, adapter } = m;
  const prefix = ({ K, E }: Heads) => adapter.prefix!({ path: m.graph.scopePath, m, K, E });
  const prefixed: Sequence = {
    ...sequence,
    attend(inputs, heads) {
      const { table, at } = prefix(heads), width = heads.K * heads.E;
      const k = sequence.lead(inputs.k, table, { at, width });
      return sequence.attend({ ...inputs, k, v: sequence.lead(inputs.v, table, { at: at + width, width }) }, heads);
    },
    attendPacked(qkv, heads) {
      const { table, at } = prefix(heads), { H, K, E } = heads;
      return sequence.attendPacked(sequence.lead(qkv, table, { at, column: H * E, width: 2 * K * E }), heads);
    },
  };
  return { ...m, sequence: prefixed };
}
