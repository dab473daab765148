// Texts that outgrow the first context of a model whose rotary angles are others in longer texts (longrope). A token is
// the one that a whole pass over the text before it gives, so that a text is read again, once, where it becomes longer.
import { UsageError } from "../core/errors.ts";
import { decode, type Writer } from "./decoding.ts";
import type { Texts } from "./decoder.ts";
import type { GenerateOptions } from "./generate_options.ts";

/** The writer of all of the texts, short or long ones; undefined where they differ, or a text becomes long. */
function oneWriter(
  { model, decoder }: Writer,
  texts: Texts,
  { maxNewTokens = 128 }: GenerateOptions,
): Writer | undefined {
  const { beyond, lead } = decoder;
  if (!beyond || texts.every((ids) => lead + ids.length + maxNewTokens - 1 <= beyond.positions)) {
    return { model, decoder };
  }
  const long = texts.every((ids) => lead + ids.length > beyond.positions);
  return long ? { model, decoder: beyond.decoder } : undefined;
}

/**
 * The writer of texts that are written side by side as beams.
 *
 * @throws {UsageError} `usage/beams` if some are short and some are long, or would become long.
 */
export function beamWriter(writer: Writer, texts: Texts, options: GenerateOptions): Writer {
  const found = oneWriter(writer, texts, options);
  if (found) return found;
  throw new UsageError(
    "usage/beams",
    `Cannot search with beams across ${writer.decoder.beyond!.positions} positions: the rotary angles change there`,
    { hint: "Write fewer tokens, give only prompts that are longer, or leave beams out." },
  );
}

/** The next token of every text, run by run, as {@linkcode decode} yields them; text by text where lengths differ. */
export async function* decodeTexts(
  writer: Writer,
  texts: Texts,
  options: GenerateOptions,
): AsyncGenerator<(number | undefined)[], void, void> {
  const common = oneWriter(writer, texts, options);
  if (common) return yield* decode(common, texts, options);
  const { firstSequence = 0 } = options;
  for (const [s, ids] of texts.entries()) {
    for await (const id of grow(writer, ids, { ...options, firstSequence: firstSequence + s })) {
      yield texts.map((_, i) => i === s ? id : undefined);
    }
  }
}

/** The tokens of one text, short or long or both. */
async function* grow(writer: Writer, ids: readonly number[], options: GenerateOptions): AsyncGenerator<number> {
  const { model, decoder } = writer, beyond = decoder.beyond!;
  const { maxNewTokens = 128, minNewTokens = 0 } = options;
  const length = decoder.lead + ids.length;
  const wanted = Math.min(maxNewTokens, decoder.positions - length);
  const room = Math.max(0, beyond.positions - length + 1); // tokens with a short text before them
  const written: number[] = [];
  for await (const [id] of decode(writer, [ids], { ...options, maxNewTokens: Math.min(room, wanted) })) {
    written.push(id!);
    yield id!;
  }
  if (written.length < room || wanted <= room) return; // it has ended, or is long enough
  const rest = { ...options, maxNewTokens: wanted - room, minNewTokens: Math.max(0, minNewTokens - room) };
  for await (const [id] of decode({ model, decoder: beyond.decoder }, [[...ids, ...written]], rest)) yield id!;
}
