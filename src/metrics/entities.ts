// Scores of named entities (spans) in BIO tags, as conlleval and seqeval's default mode count them.
import { UsageError } from "../core/errors.ts";
import { type Scores, scores } from "./classification.ts";
import { checkPairs } from "./pairs.ts";

/** An entity: tags from `start` up to, not including, `end`. */
export interface Entity {
  readonly type: string;
  readonly start: number;
  readonly end: number;
}

/** What {@linkcode entityScores} returns. */
export interface EntityScores {
  /** All types together. */
  readonly overall: Scores;
  readonly types: ReadonlyMap<string, Scores & { readonly support: number }>;
  /** Share of tags that are right. */
  readonly accuracy: number;
}

/**
 * The entities in a sequence of BIO tags. An `I-` that continues nothing begins an entity.
 *
 * @throws {UsageError} `metrics/tag` for a tag that is not `O`, `B-type` or `I-type`.
 */
export function entities(tags: readonly string[]): Entity[] {
  const found: Entity[] = [];
  let open: { readonly type: string; readonly start: number } | undefined;
  [...tags, "O"].forEach((tag, i) => {
    const [, prefix, type] = /^(?:O|([BI])-(.+))$/.exec(tag) ?? badTag(tag, i);
    if (open && !(prefix === "I" && type === open.type)) {
      found.push({ ...open, end: i });
      open = undefined;
    }
    if (prefix !== undefined && !open) open = { type: type!, start: i };
  });
  return found;
}

function badTag(tag: string, i: number): never {
  throw new UsageError("metrics/tag", `Cannot read tag ${i} as BIO: received ${JSON.stringify(tag)}`, {
    hint: 'Tags are "O", "B-" or "I-" and a type, such as "B-PER".',
  });
}

/**
 * Precision, recall and F1 of entities: one counts when its type and both ends are right.
 *
 * @throws {UsageError} `metrics/length` if the lists are empty or differ in length, `metrics/tag` for a wrong tag.
 *
 * @example Usage
 * ```ts
 * import { entityScores } from "@graft/graft/metrics";
 *
 * const { overall } = entityScores([["B-PER", "O", "B-LOC"]], [["B-PER", "I-PER", "B-LOC"]]);
 * console.log(overall.f1); // 0.5
 * ```
 */
export function entityScores(
  predictions: readonly (readonly string[])[],
  references: readonly (readonly string[])[],
): EntityScores {
  checkPairs("entity scores", predictions, references);
  predictions.forEach((tags, i) => checkPairs(`entity scores of sequence ${i}`, tags, references[i]!));
  const list = (tags: readonly (readonly string[])[]) =>
    tags.flatMap((row, i) =>
      entities(row).map(({ type, start, end }) => ({ type, key: `${i} ${start} ${end} ${type}` }))
    );
  const predicted = list(predictions), actual = list(references);
  const right = new Set(actual.map(({ key }) => key));
  const of = (wanted: (entity: { readonly type: string }) => boolean) => {
    const mine = predicted.filter(wanted);
    const support = actual.filter(wanted).length;
    return { ...scores(mine.filter(({ key }) => right.has(key)).length, mine.length, support), support };
  };
  const names = [...new Set([...predicted, ...actual].map(({ type }) => type))].sort();
  const { precision, recall, f1 } = of(() => true);
  const pairs = predictions.flatMap((tags, i) => tags.map((tag, j) => tag === references[i]![j]));
  return {
    overall: { precision, recall, f1 },
    types: new Map(names.map((name) => [name, of(({ type }) => type === name)])),
    accuracy: pairs.filter(Boolean).length / pairs.length,
  };
}
