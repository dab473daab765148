/**
 * What training minimizes: functions that append a loss to a graph.
 *
 * @module
 */
export { type Architecture } from "../models/architecture.ts";
export { type Adapter, type LinearSite } from "../nn/adapter.ts";
export { type Init, type LeafSource, type ModelScope, type SiteInfo } from "../nn/scope.ts";
export { type Heads, type RotaryTables, type Sequence } from "../nn/sequence.ts";
export { type CausalLmInputs, causalLmLogits, causalLmLoss, type CausalLmOptions, shiftLabels } from "./causal_lm.ts";
export { IGNORE } from "../data/labels.ts";
