/**
 * What training minimizes: functions that append a loss to a graph.
 *
 * @module
 */
export {
  type CausalLmInputs,
  causalLmLogits,
  causalLmLoss,
  type CausalLmOptions,
  IGNORE,
  shiftLabels,
} from "./causal_lm.ts";
