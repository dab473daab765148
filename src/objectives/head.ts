// From hidden states to the logits of a head.
import type { Value } from "../graph/graph.ts";
import type { Architecture, Head, HeadName } from "../models/architecture.ts";
import type { ModelScope } from "../nn/scope.ts";
import type { Inputs } from "./task.ts";

/** The head of a family for a task; the table of tasks has checked that there is one. */
export function headOf({ heads, type }: Architecture, name: HeadName): Head {
  const head = heads?.[name];
  if (!head) throw new TypeError(`Cannot build a ${type} model for ${name}: it has no such head`);
  return head;
}

/** Hidden states [N, D] of all tokens. */
export function hiddenStates(m: ModelScope, architecture: Architecture, inputs: Inputs): Value {
  const { input_ids, token_type_ids, position_ids } = inputs;
  return architecture.hidden(m, input_ids, {
    ...(token_type_ids ? { token_type_ids } : {}),
    ...(position_ids ? { position_ids } : {}),
  });
}
