/**
 * The engine: a graph of ops, its backward pass, and the compiler that turns it into a fixed list of dispatches.
 *
 * @example Usage
 * ```ts
 * import { openDevice } from "@graft/graft";
 * import { backward, compile, createStore, Graph, matmul, put, read, run, sum } from "@graft/graft/ops";
 *
 * const device = await openDevice();
 * const store = createStore(device);
 * await put(store, "w", new Float32Array([1, 2, 3, 4]));
 * const graph = new Graph(device.target);
 * const w = graph.leaf("param", "w", [2, 2]);
 * const loss = sum(matmul(w, w));
 * const gradient = backward(graph, loss).get(w)!;
 * const program = await compile(graph, { store, keep: [loss, gradient] });
 * run(program);
 * console.log(await read(program, [loss, gradient])); // 54, [7, 11, 9, 13]
 * device.gpu.destroy();
 * ```
 *
 * @module
 */
export { type DType, type Shape, type TensorType } from "../core/dims.ts";
export { type Words } from "../gpu/buffer.ts";
export { compile, type CompileOptions, type Dispatch, type Executable, read, run, write } from "../gpu/executable.ts";
export { interpret } from "../gpu/interpret.ts";
export { chromeTrace, profile, type Timing, timingTable } from "../gpu/profile.ts";
export { createStore, fetch, put, release, type Store } from "../gpu/store.ts";
export {
  type AnyNode,
  defineOp,
  type Each,
  Graph,
  type Kernel,
  type LeafOptions,
  type Node,
  type Op,
  type Place,
  type Range,
  type Role,
  type Rule,
  type Value,
  type Values,
} from "../graph/graph.ts";
export { type Plan, plan } from "../graph/plan.ts";
export { print } from "../graph/print.ts";
export { recomputeLayers } from "../graph/recompute.ts";
export { type Precision, type Target, type TargetClass, type Tuning } from "../graph/target.ts";
export { gelu, type GeluOptions, relu, silu, tanh } from "./activations.ts";
export {
  attention,
  type AttentionInputs,
  type AttentionOptions,
  attentionPacked,
  type AttentionPackedInputs,
} from "./attention.ts";
export { type AttentionSizes } from "./attention_sizes.ts";
export { backward } from "./backward.ts";
export { bceWithLogits } from "./bce.ts";
export { bias } from "./bias.ts";
export { columnAsRows, type ColumnAsRowsOptions } from "./columns.ts";
export { beamCandidates, type BeamRules, type BeamState, beamStep, moveCache } from "./beams.ts";
export { columnSum } from "./column_sum.ts";
export { type Continuations, continuations } from "./continuations.ts";
export { crossEntropy, type CrossEntropyOptions } from "./cross_entropy.ts";
export {
  advance,
  attentionCached,
  type AttentionCachedInputs,
  type AttentionCachedSizes,
  attentionDecode,
  type AttentionDecodeInputs,
  attentionDecodePacked,
  type AttentionDecodeSizes,
  type DecodeState,
} from "./decode.ts";
export { detach } from "./detach.ts";
export { doraLinear, type DoraLinearOptions } from "./dora_linear.ts";
export { doraScale, type DoraScaleInputs } from "./dora_scale.ts";
export { dropout, type DropoutOptions } from "./dropout.ts";
export { add, copy, fill, multiply, scale } from "./elementwise.ts";
export { embedding, gatherRows } from "./embedding.ts";
export { forbidTokens, type TextLengths } from "./forbid.ts";
export { type GateActivation, gated, gatedPacked, swiglu } from "./gated.ts";
export { headNorm, type HeadNormSizes } from "./head_norm.ts";
export { layerNorm, type LayerNormOptions } from "./layer_norm.ts";
export {
  linearCrossEntropy,
  type LinearCrossEntropyInputs,
  type LinearCrossEntropyOptions,
  linearCrossEntropyRows,
  type LinearCrossEntropyRowsOptions,
} from "./linear_cross_entropy.ts";
export { loraLinear, type LoraLinearOptions } from "./lora_linear.ts";
export { lead, leadAt, type LeadOptions } from "./lead.ts";
export { linear, type LinearOptions, matmul, type MatmulOptions } from "./matmul.ts";
export { pool } from "./pool.ts";
export { addPositions, type AddPositionsOptions } from "./positions.ts";
export { type BucketRule, relativeBias, type RelativeBiasOptions, relativeBuckets } from "./relative_bias.ts";
export { rmsNorm, type RmsNormOptions } from "./rms_norm.ts";
export { rope, ropeAt, type RopeHeads, type RopeOptions, type RopeValues } from "./rope.ts";
export { type RopeScaling } from "./rope_scaling.ts";
export { type RopeTableOptions, type RopeTables, ropeTables } from "./rope_tables.ts";
export { argmax, penalizeRepeats, sample, type SampleOptions } from "./sample.ts";
export { scaleBy, scaleByWord } from "./scale_by.ts";
export { scaleColumns, scaleRows } from "./scale_columns.ts";
export { mse, type MseOptions } from "./mse.ts";
export { sliceColumns, type SliceColumnsOptions } from "./slice_columns.ts";
export { softcap } from "./softcap.ts";
export { logSoftmax, softmax } from "./softmax.ts";
export { recordTokenScores, type TokenScoreInputs } from "./token_scores.ts";
export { dot, mean, rowSum, sum } from "./sum.ts";
export { embeddingReplaced, replaceRows, type TokenRows } from "./token_rows.ts";
export { transpose } from "./transpose.ts";
export { type Word } from "./word.ts";
