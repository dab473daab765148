/**
 * Graft fine-tunes pre-trained transformers with small adapters (LoRA and its kin) on any GPU, through WebGPU, with no
 * Python, no CUDA and no build step. The pre-trained weights stay frozen; what is learned is a few megabytes in the
 * format of Hugging Face PEFT.
 *
 * @example Fine-tune a model
 * ```ts no-eval
 * import { loadDataset, loadModel, lora, openDevice, train } from "@graft/graft";
 *
 * const device = await openDevice();
 * const model = await loadModel(device, "models/smollm2");
 * await model.addAdapter(lora({ rank: 8, alpha: 16, targetModules: ["q_proj", "v_proj"] }));
 *
 * const data = await loadDataset("train.jsonl", { tokenizer: model.tokenizer, maxLength: 512 });
 * for await (const { step, loss, tokensPerSecond } of train(model, { data, learningRate: 2e-4, epochs: 1 })) {
 *   console.log(step, loss.toFixed(3), `${tokensPerSecond.toFixed(0)} tokens/s`);
 * }
 *
 * await model.saveAdapter("out");
 * for await (const piece of model.generate("Once upon a time", { maxNewTokens: 64 })) console.log(piece);
 * ```
 *
 * @module
 */
export { bitfit, type BitfitConfig, type BitfitOptions } from "./src/adapters/bitfit_config.ts";
export {
  bottleneck,
  type BottleneckConfig,
  type BottleneckOptions,
  type Placement,
} from "./src/adapters/bottleneck_config.ts";
export { ia3, type Ia3Config, type Ia3Options } from "./src/adapters/ia3_config.ts";
export { lnTuning, type LnTuningConfig, type LnTuningOptions } from "./src/adapters/ln_tuning_config.ts";
export { pTuning, type PTuningConfig, type PTuningOptions } from "./src/adapters/p_tuning_config.ts";
export {
  prefixTuning,
  type PrefixTuningConfig,
  type PrefixTuningOptions,
} from "./src/adapters/prefix_tuning_config.ts";
export {
  promptTuning,
  type PromptTuningConfig,
  type PromptTuningOptions,
} from "./src/adapters/prompt_tuning_config.ts";
export { vera, type VeraConfig, type VeraOptions } from "./src/adapters/vera_config.ts";
export { lora, type LoraConfig, type LoraOptions } from "./src/adapters/lora_config.ts";
export { adalora, type AdaloraConfig, type AdaloraOptions } from "./src/adapters/adalora_config.ts";
export { type AdapterConfig } from "./src/adapters/mod.ts";
export { type ConfigBase } from "./src/adapters/fields.ts";
export { type BiasRule } from "./src/adapters/full.ts";
export { type LoraInit } from "./src/adapters/lora_init.ts";
export { type PromptConfig } from "./src/adapters/prompt.ts";
export { type LayeredConfig, type TargetedConfig } from "./src/adapters/targeted.ts";
export { type ModuleNames, type TargetRules } from "./src/adapters/targets.ts";
export * from "./src/core/errors.ts";
export { type Batch, type BatchSize, checkBatch, type CheckBatchOptions, type LabelRule } from "./src/data/batch.ts";
export { batches, type BatchesOptions, collate, type EpochOptions } from "./src/data/batches.ts";
export { type Dataset, type DatasetOptions, type DatasetReport, describe, loadDataset } from "./src/data/dataset.ts";
export { type JsonObject } from "./src/data/json.ts";
export { loadPairDataset, type PairDataset, type PairDatasetOptions } from "./src/data/pair_dataset.ts";
export type { PairRow } from "./src/data/pair_rows.ts";
export { type ProblemType } from "./src/data/label_names.ts";
export {
  loadTaskDataset,
  type RowTask,
  type TaskDataset,
  type TaskDatasetOptions,
  type TaskRow,
} from "./src/data/task_dataset.ts";
export { type QuestionRow, type TagRow, type TextRow } from "./src/data/task_rows.ts";
export { type DecodeOptions, decodeStream } from "./src/data/decode_stream.ts";
export { type JsonlOptions, type JsonRow, readJsonl } from "./src/data/jsonl.ts";
export { type Example } from "./src/data/labels.ts";
export {
  createTokenizer,
  loadTokenizer,
  type Tokenizer,
  type TokenizerFiles,
  type TokenizerOptions,
} from "./src/data/tokenizer.ts";
export { closeDevice, type DeviceOptions, type GraftDevice, type Memory, openDevice } from "./src/gpu/device.ts";
export { type Precision, type Target, type TargetClass, type Tuning } from "./src/graph/target.ts";
export { type PackedDType } from "./src/core/dims.ts";
export { type WeightDType } from "./src/io/tensor_dtype.ts";
export { type TaskChoice, type TaskName } from "./src/core/task_name.ts";
export { type TaskOptions } from "./src/objectives/choose_task.ts";
export { type ActivationName } from "./src/nn/activation.ts";
export { type Json } from "./src/models/config.ts";
export {
  adagrad,
  type AdagradOptions,
  adam,
  type AdamOptions,
  adamw,
  type Optimizer,
  optimizers,
  type ScheduleName,
  schedules,
  sgd,
  type SgdOptions,
} from "./src/optim/mod.ts";
export { type LoraPlus } from "./src/optim/lora_plus.ts";
export { evaluate, type EvaluateOptions, type Evaluation } from "./src/train/evaluate.ts";
export { scoreRows, type ScoreRowsOptions } from "./src/train/score_rows.ts";
export { type TokenRow } from "./src/metrics/perplexity.ts";
export { type AdapterNames } from "./src/train/route.ts";
export {
  type ForwardOptions,
  type ForwardResult,
  type GradientOptions,
  type GradientResult,
} from "./src/train/forward.ts";
export { type Beam } from "./src/train/beam_search.ts";
export { generateBeams, generateIds, generateTexts, type Prompts } from "./src/train/generate.ts";
export { type BeamOptions, type GenerateOptions, type SamplingOptions } from "./src/train/generate_options.ts";
export { type Quantize } from "./src/train/formats.ts";
export { createModel, type CreateModelOptions, loadModel, type LoadModelOptions } from "./src/train/load.ts";
export { adapterTask } from "./src/train/adapter_task.ts";
export { type CombineAdaptersOptions } from "./src/train/combine.ts";
export { type Combination } from "./src/adapters/combine.ts";
export { type MajoritySign } from "./src/adapters/task_arithmetic.ts";
export { type SaveMergedOptions } from "./src/train/merge.ts";
export { type AddAdapterOptions, type LoadAdapterOptions, type SaveAdapterOptions } from "./src/train/adapters.ts";
export { Model } from "./src/train/model.ts";
export {
  type AnswerPrediction,
  type ClassPrediction,
  predict,
  type PredictInput,
  type PredictionOf,
  type PredictOptions,
  type TagPrediction,
} from "./src/train/predict.ts";
export { taskMetrics, type TaskPredictions, taskPredictions } from "./src/train/task_metrics.ts";
export { type Examples, type TrainData } from "./src/train/source.ts";
export { type TensorSpec } from "./src/train/leaves.ts";
export { type StepRecord } from "./src/train/figures.ts";
export { type TrainOptions } from "./src/train/train_options.ts";
export { type QuantizedFolder, quantizeFolder, type QuantizeFolderOptions } from "./src/train/quantize.ts";
export { train, type TrainRun } from "./src/train/trainer.ts";
