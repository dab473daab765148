// What an encoder-decoder decodes from: the encoder reads the prompts once and leaves keys and values for every layer of
// the decoder, which begins with its start token.
import { run, write } from "../gpu/executable.ts";
import { put, release } from "../gpu/store.ts";
import { Graph } from "../graph/graph.ts";
import type { Encoder } from "../models/architecture.ts";
import { decodeSequence } from "../nn/decode_sequence.ts";
import { fullSequence } from "../nn/full_sequence.ts";
import { cachedSource, enteredSource, fullSource, type SourceCache } from "../nn/source.ts";
import { LENGTH_MULTIPLE } from "../objectives/arrange.ts";
import { causalLmLogits } from "../objectives/causal_lm.ts";
import type { Decoder, Texts } from "./decoder.ts";
import { checkPrompts } from "./generate_options.ts";
import type { Place } from "./places.ts";
import { modelScope, program } from "./programs.ts";
import { adapterKey, type ModelState } from "./state.ts";

/** What is read, and by what. */
export interface Reading {
  readonly encoder: Encoder;
  readonly prompts: Texts;
}

/**
 * The decoder of a model with an encoder, and the texts that it goes on with: the start token for each prompt.
 *
 * @throws {UsageError} `usage/prompt`, `data/token-range`.
 */
export function seq2seqDecoder(
  state: ModelState,
  { encoder, prompts }: Reading,
): { readonly decoder: Decoder; readonly texts: Texts } {
  const { architecture } = state;
  const { positions, V } = architecture;
  checkPrompts({ V, positions, lead: 0 }, prompts);
  const longest = Math.max(...prompts.map((ids) => ids.length));
  const S = Math.ceil(longest / LENGTH_MULTIPLE) * LENGTH_MULTIPLE;
  const variant = `${adapterKey(state)} ${state.full ? "full" : ""} from ${S}`;
  const cacheOf = (graph: Graph, { prefix }: Place): SourceCache => {
    return { graph, B: prompts.length, S, prefix: sourcePrefix(prefix, S) };
  };
  const decoder: Decoder = {
    ...{ positions, V, variant, lead: 0 },
    logits({ graph, place, current, position }) {
      const { S: rows, Tmax, width: readers, prefix } = place;
      const own = decodeSequence({ graph, S: rows, Tmax, position, prefix });
      const cache = cacheOf(graph, place);
      const lengths = graph.leaf("state", `${cache.prefix}lengths`, [cache.B], { dtype: "u32" });
      const sequence = { ...own, source: cachedSource({ ...cache, readers, lengths }) };
      const { m, constants } = modelScope(state, { graph, sequence, trained: "nothing" });
      return { logits: causalLmLogits(m, architecture, current), constants };
    },
    async fill(_texts, place) {
      freeOthers(state, place, S);
      const B = prompts.length;
      const made = await program(state, `${place.prefix}read ${variant}`, () => {
        const graph = new Graph(state.device.target);
        const tokens = graph.leaf("input", "input_ids", [B * S], { dtype: "u32" });
        const start = graph.leaf("input", "start", [B], { dtype: "u32" });
        const mask = graph.leaf("input", "attention_mask", [B, S], { dtype: "u32" });
        const reading = fullSequence({ B, T: S, mask, causal: false });
        const { m, constants } = modelScope(state, { graph, sequence: reading, trained: "nothing" });
        // The decoder is built on one row a text for the sake of its projections, whose results stay in the caches.
        const full = fullSource({ states: encoder.states(m, tokens), B, T: 1, mask });
        const source = enteredSource(full, cacheOf(graph, place));
        architecture.hidden({ ...m, sequence: { ...fullSequence({ B, T: 1 }), source } }, start);
        return { graph, constants, inputs: { tokens, mask, start }, results: {} };
      });
      const at = (n: number) => prompts[Math.floor(n / S)]![n % S];
      const mask = Uint32Array.from({ length: B * S }, (_, n) => at(n) === undefined ? 0 : 1);
      const lengths = Uint32Array.from(prompts, (ids) => ids.length);
      await put(state.store, `${sourcePrefix(place.prefix, S)}lengths`, lengths);
      write(made.executable, made.inputs.mask!, mask);
      write(made.executable, made.inputs.tokens!, Uint32Array.from(mask, (_, n) => at(n) ?? encoder.padId));
      write(made.executable, made.inputs.start!, new Uint32Array(B).fill(encoder.startId));
      run(made.executable);
    },
  };
  return { decoder, texts: prompts.map(() => [encoder.startId]) };
}

/** Names of what is kept of sources of S positions. */
function sourcePrefix(prefix: string, S: number): string {
  return `${prefix}source ${S} `;
}

/** Free what sources of other lengths left at this place. */
function freeOthers(state: ModelState, { prefix }: Place, S: number): void {
  for (const [key, { executable }] of state.programs) {
    if (!key.startsWith(prefix) || key.endsWith(` from ${S}`)) continue;
    executable.destroy();
    state.programs.delete(key);
  }
  const others = [...state.store.buffers.keys()].filter((name) =>
    name.startsWith(`${prefix}source `) && !name.startsWith(sourcePrefix(prefix, S))
  );
  release(state.store, others);
}
