// What a model can do before and after training, as tables: loss and perplexity of language models, the figures of a task.
import { IGNORE } from "../data/labels.ts";
import type { Dataset } from "../data/dataset.ts";
import type { TaskDataset } from "../data/task_dataset.ts";
import type { Tokenizer } from "../data/tokenizer.ts";
import { table } from "./format.ts";
import type { DomainLoss, Measured } from "./measure.ts";

/** Letters shown of a row. */
const SHOWN = 240;

/** "accuracy 0.871, f1 0.866". */
export function figureText(figures: Readonly<Record<string, number>>): string {
  return Object.entries(figures).map(([name, value]) => `${name} ${value.toFixed(3)}`).join(", ");
}

/** The domains before and after, or the figures of a task. */
export function figureTable(before: Measured, after: Measured): string {
  const change = (then: number, now: number) => `${now > then ? "+" : ""}${(now - then).toFixed(3)}`;
  const then = (i: number): DomainLoss => before.domains[i]!;
  if (after.domains.some(({ figures }) => figures)) {
    return table([
      ["domain", "figure", "before", "after", "change"],
      ...after.domains.flatMap(({ name, loss, figures }, i) => {
        const rows = Object.entries({ loss, ...figures });
        return rows.map(([figure, now], r) => {
          const old = figure === "loss" ? then(i).loss : then(i).figures![figure]!;
          return [r === 0 ? name : "", figure, old.toFixed(3), now.toFixed(3), change(old, now)];
        });
      }),
    ]);
  }
  return table([
    ["domain", "loss before", "after", "change", "perplexity before", "after"],
    ...after.domains.map(({ name, loss, perplexity }, i) => [
      ...[name, then(i).loss.toFixed(3), loss.toFixed(3), change(then(i).loss, loss)],
      ...[then(i).perplexity.toFixed(1), perplexity.toFixed(1)],
    ]),
  ]);
}

/** The first row of a data set as the model reads it, and what it is to predict. */
export function exampleText(data: Dataset | TaskDataset, tokenizer: Tokenizer): string {
  const { ids, label, span, labels, target } = data.examples[0]!;
  const names = "labels" in data ? data.labels : [];
  const name = (id: number) => names[id] ?? `${id}`;
  const text = tokenizer.decode(ids);
  const cut = text.length > SHOWN ? `${text.slice(0, SHOWN)} …` : text;
  if (target) return `${cut} → ${tokenizer.decode([...target].filter((id) => id !== IGNORE))}`;
  if (span) return `${cut} → ${tokenizer.decode(ids.subarray(span[0], span[1] + 1))}`;
  if (label !== undefined) return `${cut} → ${labelText(label, data, name)}`;
  const tags = [...labels].filter((id) => id !== IGNORE).map(name).join(" ");
  return tags === "" ? cut : `${cut} → ${tags.slice(0, SHOWN)}`;
}

function labelText(
  label: number | readonly number[],
  data: Dataset | TaskDataset,
  name: (id: number) => string,
): string {
  const kind = "problemType" in data ? data.problemType : undefined;
  if (kind === "regression") return [label].flat().join(", ");
  if (typeof label === "number") return name(label);
  return label.flatMap((has, id) => has === 1 ? [name(id)] : []).join(", ") || "none of the labels";
}
