// The positions that prompt and prefix tuning put in front of every sequence, as columns of the batch: tokens that the
// method replaces, seen by all, without labels.
import type { TaskName } from "../core/task_name.ts";
import type { Batch } from "../data/batch.ts";
import { IGNORE } from "../data/labels.ts";
import type { Adapter } from "../nn/adapter.ts";
import type { Task } from "./task.ts";

/** Tasks that have a label for every token of the input. */
const PER_TOKEN: ReadonlySet<TaskName> = new Set<TaskName>(["causal-lm", "token-classification", "masked-lm"]);

/** The batch with the positions of the method in front; itself where there are none. */
export function leadBatch(batch: Batch, { name }: Pick<Task, "name">, adapter: Adapter | undefined): Batch {
  const P = adapter?.virtualTokens ?? 0;
  if (P === 0) return batch;
  const before = (value: number) => (row: readonly number[]) => [...new Array<number>(P).fill(value), ...row];
  const labels = !PER_TOKEN.has(name) ? batch.labels : batch.labels?.map((row) => {
    if (typeof row === "number") return row;
    const [first, ...rest] = row;
    // What precedes the first token is no text with a prefix, so nothing predicts that token; a prompt does.
    const kept = name === "causal-lm" && adapter?.prefix && first !== undefined ? [IGNORE, ...rest] : row;
    return before(IGNORE)(kept);
  });
  const shifted = (positions: readonly number[] | undefined) => positions?.map((at) => at + P);
  return {
    ...batch,
    input_ids: batch.input_ids.map(before(0)),
    ...given("attention_mask", batch.attention_mask?.map(before(1))),
    ...given("token_type_ids", batch.token_type_ids?.map(before(0))),
    ...given("position_ids", batch.position_ids?.map((row) => [...new Array(P).keys(), ...row.map((at) => at + P)])),
    ...given("position_ids", batch.position_ids?.map((row) => [...Array(P).keys(), ...row.map((at) => at + P)])),
    ...given("labels", labels),
    ...given("start_positions", shifted(batch.start_positions)),
    ...given("end_positions", shifted(batch.end_positions)),
  } as Batch;
}

function given(name: keyof Batch, value: unknown): object {
  return value === undefined ? {} : { [name]: value };
}
