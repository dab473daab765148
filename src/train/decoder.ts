// What is decoded from: how texts enter the caches, and the logits of the token behind each. Decoding (decoding.ts) and
// beam search (beam_search.ts) know models only through this.
import { run, write } from "../gpu/executable.ts";
import { clear } from "../gpu/store.ts";
import { Graph, type Value } from "../graph/graph.ts";
import { decodeSequence } from "../nn/decode_sequence.ts";
import { prefillSequence } from "../nn/prefill_sequence.ts";
import type { Sequence } from "../nn/sequence.ts";
import { causalLmLogits } from "../objectives/causal_lm.ts";
import type { Place } from "./places.ts";
import { type Constants, modelScope, program } from "./programs.ts";
import { adapterKey, methodInUse, type ModelState } from "./state.ts";

/** Token ids of the texts, one after another. */
export type Texts = readonly (readonly number[])[];

/** What a program that computes one position of every row reads. */
export interface DecodeStep {
  readonly graph: Graph;
  readonly place: Place;
  /** The token u32[S] of this run. */
  readonly current: Value;
  /** Its position u32[S], a state. */
  readonly position: Value;
}

/** A model that writes texts token by token. */
export interface Decoder {
  /** Positions that a text may have, those of the prompt included. */
  readonly positions: number;
  /** Token ids are below. */
  readonly V: number;
  /** Positions in front of every text whose tokens vectors of the adapter replace. */
  readonly lead: number;
  /** What texts of more positions are written with, from their start: their rotary angles are others. */
  readonly beyond?: { readonly positions: number; readonly decoder: Decoder };
  /** What its programs depend on beside the sizes, such as the adapter. */
  readonly variant: string;
  /**
   * Append the logits [S, V] behind `current`. Caches that have an entry for every position are states [S, Tmax, ·]
   * whose names begin with `${prefix}keys ` or `${prefix}values `: beam search moves their rows. What else it keeps has
   * other names that begin with the prefix.
   */
  logits(step: DecodeStep): { readonly logits: Value; readonly constants: Constants };
  /** Fill the caches with all but the last token of every text; of several rows of a text the first is enough. */
  fill(texts: Texts, place: Place): Promise<void>;
}

/** Rows that a chunk of all prompts has at most, and positions that it has at least and at most. */
const CHUNK_ROWS = 256, CHUNK = { least: 16, most: 64 };

/** The decoder of a causal language model, with the adapter in use; of texts behind its first context, where it has one. */
export function causalDecoder(state: ModelState, { long = false }: { readonly long?: boolean } = {}): Decoder {
  const { positions, V, firstContext } = state.architecture;
  const variant = `${adapterKey(state)} ${state.full ? "full" : ""}${long ? " long" : ""}`;
  const context = firstContext === undefined ? {} : { context: long ? positions : firstContext };
  const beyond = firstContext === undefined || long
    ? {}
    : { beyond: { positions: firstContext, decoder: causalDecoder(state, { long: true }) } };
  return {
    ...{ positions, V, variant, lead: methodInUse(state)?.virtualTokens ?? 0, ...beyond },
    logits({ graph, place: { S, Tmax, prefix }, current, position }) {
      const sequence = { ...decodeSequence({ graph, S, Tmax, position, prefix }), ...context };
      const { m, constants } = modelScope(state, { graph, sequence, trained: "nothing" });
      return { logits: causalLmLogits(m, state.architecture, current), constants };
    },
    fill: (texts, place) => readTexts(state, { texts, place, variant, context }),
  };
}

/** Texts behind the positions of the adapter; the tokens there are none of the vocabulary. */
export function withLead({ lead, V }: Pick<Decoder, "lead" | "V">, texts: Texts): Texts {
  return lead === 0 ? texts : texts.map((ids) => [...new Array<number>(lead).fill(V), ...ids]);
}

interface Reading {
  readonly texts: Texts;
  readonly place: Place;
  readonly variant: string;
  readonly context: Pick<Sequence, "context">;
}

/** Fill the caches chunk by chunk. */
async function readTexts(
  state: ModelState,
  { texts, place: { Tmax, width, prefix }, variant, context }: Reading,
): Promise<void> {
  const S = texts.length;
  const length = Math.max(...texts.map((ids) => ids.length)) - 1;
  const { least, most } = CHUNK;
  const room = Math.max(least, Math.min(most, Math.floor(CHUNK_ROWS / S / least) * least));
  const C = length <= least ? least : room;
  // Values that no row sees yet count zero times: they must be finite, whatever an earlier generation left.
  clear(state.store, [...state.store.buffers.keys()].filter((name) => name.startsWith(`${prefix}values `)));
  for (let first = 0; first < length; first += C) {
    const seen = Math.min(Tmax, 2 ** Math.ceil(Math.log2(first + C)));
    const key = `${prefix}prefill ${C} of ${seen} ${variant}`;
    const { executable, inputs } = await program(state, key, () => {
      const graph = new Graph(state.device.target);
      const rows = (name: string) => graph.leaf("input", name, [S * C], { dtype: "u32" });
      const positions = rows("positions"), tokens = rows("tokens");
      const sequence = { ...prefillSequence({ graph, S, C, Tmax, width, seen, positions, prefix }), ...context };
      const { m, constants } = modelScope(state, { graph, sequence, trained: "nothing" });
      state.architecture.hidden(m, tokens);
      return { graph, constants, inputs: { tokens, positions }, results: {} };
    });
    const place = (n: number) => first + n % C;
    const positions = (n: number) => place(n) < Tmax ? place(n) : width * Tmax;
    write(executable, inputs.positions!, Uint32Array.from({ length: S * C }, (_, n) => positions(n)));
    write(
      executable,
      inputs.tokens!,
      Uint32Array.from({ length: S * C }, (_, n) => texts[Math.floor(n / C)]![place(n)] ?? 0),
    );
    run(executable);
  }
}
