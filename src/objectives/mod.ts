/**
 * What training minimizes: tasks as plain data, whose functions append logits and a loss to a graph.
 *
 * @module
 */
export { TASK_CHOICES, type TaskChoice, type TaskName, taskOfChoice } from "../core/task_name.ts";
export { type Batch } from "../data/batch.ts";
export { type ProblemType } from "../data/label_names.ts";
export { IGNORE } from "../data/labels.ts";
export { type Architecture, type Head, type HeadName, type TokenPlaces } from "../models/architecture.ts";
export { type Json } from "../models/config.ts";
export { type Adapter, type LinearSite } from "../nn/adapter.ts";
export { type Init, type LeafSource, type ModelScope, type SiteInfo } from "../nn/scope.ts";
export { type Heads, type RotaryTables, type Sequence } from "../nn/sequence.ts";
export { causalLm, causalLmLogits, causalLmLoss } from "./causal_lm.ts";
export { chooseTask, type TaskOptions } from "./choose_task.ts";
export { maskedLm } from "./masked_lm.ts";
export { questionAnswering } from "./question_answering.ts";
export { sequenceClassification, type SequenceClassificationOptions } from "./sequence_classification.ts";
export { tokenClassification } from "./token_classification.ts";
export {
  type Arranged,
  type ArrangeOptions,
  type ArrayInput,
  type InputName,
  type Inputs,
  type LossOptions,
  type Task,
  taskLoss,
} from "./task.ts";
export { labelNames, TASK_NAMES, taskName, taskOf, tasks, type TaskSetting } from "./tasks.ts";
