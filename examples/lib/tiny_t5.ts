// A T5 small enough to be pre-trained in seconds, for texts of one kind: its tokenizer, and weights to start from that
// can copy already, as it takes a model of random weights hours to find out how.
//
// Token vectors fill the first half of D. A head of the encoder looks one token ahead and puts that token's vector into
// the second half; the attention of the decoder to the source looks for the token that was just written, and brings
// the second half, which is the token after it. All other maps into the residual stream are zero.
import { createTokenizer, type Example, type Json, type Tokenizer } from "@graft/graft";
import { dice } from "./packages.ts";
import { tokenizerFiles, trainBpe } from "./bpe.ts";

/** Tokens that hide words of a source, and that mark a place in it. */
export const HIDDEN = "<hidden>", MARK = "<mark>";

/** A tokenizer of lower-case words and pieces of words, learned from `texts`. */
export function wordTokenizer(texts: readonly string[], vocabSize: number): Tokenizer {
  const bpe = trainBpe(texts.map((text) => ` ${text.toLowerCase()}`), { vocabSize: vocabSize - 2 });
  const files = tokenizerFiles(bpe), tokenizer = JSON.parse(files["tokenizer.json"]!);
  const added = [HIDDEN, MARK].map((content, i) => ({ ...tokenizer.added_tokens[0], content, id: bpe.vocab.size + i }));
  return createTokenizer({
    tokenizer: {
      ...tokenizer,
      normalizer: { type: "Lowercase" },
      pre_tokenizer: { ...tokenizer.pre_tokenizer, add_prefix_space: true },
      added_tokens: [...tokenizer.added_tokens, ...added],
    },
    config: JSON.parse(files["tokenizer_config.json"]!),
  });
}

/** A source to read and a target to write, each with its end token. */
export function pairOf({ eosIds: [end] }: Tokenizer, source: readonly number[], target: readonly number[]): Example {
  return {
    ids: Uint32Array.from([...source, end!]),
    labels: new Int32Array(source.length + 1).fill(-100),
    target: Int32Array.from([...target, end!]),
  };
}

const D = 128, H = 4, HALF = D / 2;

/** config.json for a tokenizer. */
export function tinyT5({ vocabSize, eosIds, padId }: Tokenizer): Json {
  return {
    ...{ model_type: "t5", architectures: ["T5ForConditionalGeneration"], feed_forward_proj: "relu" },
    ...{ vocab_size: vocabSize, d_model: D, d_kv: D / H, d_ff: 2 * D, num_heads: H, num_layers: 1 },
    ...{ relative_attention_num_buckets: 32, relative_attention_max_distance: 64 },
    ...{ eos_token_id: eosIds[0]!, pad_token_id: padId!, decoder_start_token_id: padId! },
  };
}

/** Bucket of the distance of one token ahead, among 32 of both directions. */
const AHEAD = 17;

/** Weights [D, D] that bring half of a vector to half of another, times `by`; more than one are added. */
function bring(...parts: readonly { readonly from: number; readonly to: number; readonly by: number }[]): Floats {
  const weight = new Float32Array(D * D);
  for (const { from, to, by } of parts) for (let i = 0; i < HALF; i++) weight[(to + i) * D + from + i]! += by;
  return weight;
}

type Floats = Float32Array<ArrayBuffer>;

/** The first values of a tensor, for `createModel`; undefined where T5's own are right. */
export function copying(
  { name, shape }: { readonly name: string; readonly shape: readonly number[] },
): Floats | undefined {
  const ahead = "encoder.block.0.layer.0.SelfAttention", source = "decoder.block.0.layer.1.EncDecAttention";
  const length = shape.reduce((product, n) => product * n, 1);
  switch (name) {
    case "shared.weight": {
      const next = dice(1), normal = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
      return Float32Array.from({ length }, (_, i) => i % D < HALF ? normal() : 0);
    }
    case `${ahead}.relative_attention_bias.weight`:
      return Float32Array.from({ length }, (_, i) => Math.floor(i / H) === AHEAD && i % H < H / 2 ? 12 : 0);
    case `${ahead}.v.weight`:
      return bring({ from: 0, to: 0, by: 1 });
    case `${ahead}.o.weight`:
      return bring({ from: 0, to: HALF, by: 0.8 });
    case `${source}.q.weight`:
    case `${source}.k.weight`:
      return bring({ from: 0, to: 0, by: 0.63 });
    case `${source}.v.weight`: // less the token itself, which the decoder's state holds already
      return bring({ from: HALF, to: 0, by: 1 }, { from: 0, to: 0, by: -0.7 });
    case `${source}.o.weight`:
      return bring({ from: 0, to: 0, by: 1.5 });
  }
  return /\.(o|wo)\.weight$/.test(name) ? new Float32Array(length) : undefined;
}
