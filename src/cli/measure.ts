// What a model can do: its loss on each domain, and sample texts.
import type { Dataset } from "../data/dataset.ts";
import type { TaskDataset } from "../data/task_dataset.ts";
import { evaluate, type Evaluation } from "../train/evaluate.ts";
import type { GenerateOptions } from "../train/generate_options.ts";
import type { Model } from "../train/model.ts";
import { taskMetrics, taskPredictions } from "../train/task_metrics.ts";

/** Loss and perplexity on a domain. */
export interface DomainLoss extends Evaluation {
  /** "new" or "old". */
  readonly name: string;
  /** Figures of a task with labels, such as accuracy. */
  readonly figures?: Readonly<Record<string, number>>;
}

/** A continuation of a prompt. */
export interface Sample {
  readonly prompt: string;
  readonly text: string;
}

/** A model before or after training. */
export interface Measured {
  readonly domains: readonly DomainLoss[];
  readonly samples: readonly Sample[];
}

/** The loss on every domain. */
export async function measureDomains(
  model: Model,
  domains: readonly { readonly name: string; readonly data: Dataset | TaskDataset }[],
  { batchSize }: { readonly batchSize: number },
): Promise<DomainLoss[]> {
  const losses: DomainLoss[] = [];
  for (const { name, data } of domains) {
    const labelled = "task" in data && data.task !== "masked-lm" ? data : undefined;
    const figures = labelled ? taskMetrics(await taskPredictions(model, labelled, { batchSize })) : undefined;
    losses.push({ name, ...await evaluate(model, data, { batchSize }), ...(figures ? { figures } : {}) });
  }
  return losses;
}

/** A continuation of every prompt. */
export async function writeSamples(
  model: Model,
  prompts: readonly string[],
  options: GenerateOptions,
): Promise<Sample[]> {
  const samples: Sample[] = [];
  for (const prompt of prompts) {
    let text = "";
    for await (const piece of model.generate(prompt, options)) text += piece;
    samples.push({ prompt, text });
  }
  return samples;
}
