// The tokenizer of a Hugging Face folder: text to token ids and back. The algorithms are those of
// @huggingface/tokenizers; this file guards it (checked files, Maps, ids that exist) and finds the special tokens.
import { Tokenizer as Library } from "@huggingface/tokenizers";
import { DataError, FormatError, ModelError } from "../core/errors.ts";
import { field, isObject, type JsonObject, parseJson } from "./json.ts";
import { decodeUtf8, excerpt } from "./jsonl.ts";
import { checkTokenizer } from "./tokenizer_file.ts";
import { repairTokenizer } from "./tokenizer_repair.ts";

/** Text to token ids and back. */
export interface Tokenizer {
  /**
   * Token ids of a text, without padding or truncation.
   *
   * @param options `specialTokens` (true) adds what the tokenizer puts around a text, such as `<s>`.
   * @throws {DataError} `data/encoding` for a lone surrogate, `tokenizer/unknown` where a piece has no id.
   */
  encode(text: string, options?: { readonly specialTokens?: boolean }): number[];
  /**
   * One text or two as the model reads them, with special tokens, and which text each token belongs to.
   *
   * @throws {DataError} as `encode`.
   */
  encodePair(text: string, second?: string): { readonly ids: number[]; readonly types: number[] };
  /**
   * The text of token ids; ids that the tokenizer does not know are left out. Spaces are never cleaned up.
   *
   * @param options `skipSpecialTokens` (false) leaves out tokens such as `<s>`.
   */
  decode(ids: Iterable<number>, options?: { readonly skipSpecialTokens?: boolean }): string;
  /** The id of one token as the file writes it, such as `"▁the"`, or undefined. */
  tokenId(token: string): number | undefined;
  /** The token of an id as the file writes it, or undefined. */
  token(id: number): string | undefined;
  /** One more than the largest id: the rows that an embedding needs. */
  readonly vocabSize: number;
  /** Begin of text. */
  readonly bosId?: number;
  /** Ends of text: the tokenizer's own first, then those of the generation settings. Empty where none is known. */
  readonly eosIds: readonly number[];
  /** Padding. */
  readonly padId?: number;
  /** What stands for a hidden token (masked language models). */
  readonly maskId?: number;
  /** Ids of the special tokens. */
  readonly specialIds: ReadonlySet<number>;
  /** Jinja source of the chat template. */
  readonly chatTemplate?: string;
}

/** The parsed files of a tokenizer. */
export interface TokenizerFiles {
  /** tokenizer.json */
  readonly tokenizer: unknown;
  /** tokenizer_config.json */
  readonly config?: unknown;
  /** special_tokens_map.json, used where the config names no token. */
  readonly specialTokens?: unknown;
  /** generation_config.json (or config.json), for further end tokens. */
  readonly generation?: unknown;
  /** chat_template.jinja, which wins over the config's. */
  readonly chatTemplate?: string;
}

/** Options of {@linkcode loadTokenizer}. */
export interface TokenizerOptions {
  /** Rows of the model's embedding; an id at or above is an error. */
  readonly rows?: number;
}

/** Larger than any tokenizer.json in the wild (about 35 MB), small enough to hold. */
const MAX_FILE_BYTES = 256 * 2 ** 20;

/**
 * Load the tokenizer of a Hugging Face folder from tokenizer.json and, where they exist, tokenizer_config.json,
 * special_tokens_map.json, generation_config.json or config.json, and chat_template.jinja.
 *
 * @throws {ModelError} `tokenizer/missing` where the folder has no tokenizer.json.
 * @throws {FormatError} where a file is broken, `tokenizer/json`, or tokenizer.json contradicts itself: see the codes of
 * `checkTokenizer`; all its problems are in one message.
 *
 * @example Usage
 * ```ts no-eval
 * import { loadTokenizer } from "@graft/graft";
 *
 * const tokenizer = await loadTokenizer("models/smollm2");
 * const ids = tokenizer.encode("Once upon a time");
 * console.log(ids, tokenizer.decode(ids, { skipSpecialTokens: true }));
 * ```
 */
export async function loadTokenizer(dir: string, { rows }: TokenizerOptions = {}): Promise<Tokenizer> {
  const path = `${dir}/tokenizer.json`;
  const text = await readText(path);
  if (text === undefined) {
    throw new ModelError("tokenizer/missing", "Cannot load a tokenizer as the folder has no tokenizer.json", {
      path: dir,
      hint: "Save it with AutoTokenizer.from_pretrained(…).save_pretrained(…) of a recent transformers.",
    });
  }
  const optional = async (name: string): Promise<unknown> => {
    const text = await readText(`${dir}/${name}`);
    return text === undefined ? undefined : parse(text, `${dir}/${name}`);
  };
  const chatTemplate = await readText(`${dir}/chat_template.jinja`);
  const files = {
    tokenizer: parse(text, path),
    config: await optional("tokenizer_config.json"),
    specialTokens: await optional("special_tokens_map.json"),
    generation: await optional("generation_config.json") ?? await optional("config.json"),
    ...chatTemplate === undefined ? {} : { chatTemplate },
  };
  return createTokenizer(files, { path, ...rows === undefined ? {} : { rows } });
}

/**
 * Make a tokenizer from parsed files.
 *
 * @param options `path` names tokenizer.json in errors.
 * @throws {FormatError} as {@linkcode loadTokenizer}.
 */
export function createTokenizer(
  files: TokenizerFiles,
  options: TokenizerOptions & { readonly path?: string } = {},
): Tokenizer {
  const { path = "tokenizer.json" } = options;
  const words = checkTokenizer(files.tokenizer, { ...options, path });
  const config = isObject(files.config) ? files.config : {};
  const library = openLibrary(files.tokenizer as JsonObject, config, path);
  const tokens = new Map([...words].map(([token, id]) => [id, token]));
  const special = new Set(specialIds(files.tokenizer as JsonObject));
  const sources = [config, files.specialTokens];
  const bosId = namedToken("bos_token", sources, words);
  const padId = namedToken("pad_token", sources, words) ?? paddingOf(files.tokenizer as JsonObject, words);
  const maskId = namedToken("mask_token", sources, words) ?? words.get("[MASK]") ?? words.get("<mask>");
  const chatTemplate = files.chatTemplate ?? templateOf(config);
  const vocabSize = words.values().reduce((a, b) => Math.max(a, b), -1) + 1;
  const eosIds = [namedToken("eos_token", sources, words), ...generationEos(files.generation)]
    .filter((id) => id !== undefined && tokens.has(id)) as number[];
  const checked = <T extends { readonly ids: number[]; readonly tokens: string[] }>(encoding: T): T => {
    const unknown = encoding.ids.findIndex((id) => id === undefined);
    if (unknown < 0) return encoding;
    const piece = excerpt(JSON.stringify(encoding.tokens[unknown]));
    throw new DataError("tokenizer/unknown", `Cannot encode a text as its piece ${piece} has no id, nor has "unknown"`);
  };
  return {
    encode(text, { specialTokens = true } = {}) {
      requireWellFormed(text);
      return checked(library.encode(text, { add_special_tokens: specialTokens })).ids;
    },
    encodePair(text, second) {
      [text, second ?? ""].forEach(requireWellFormed);
      const options = { text_pair: second ?? null, return_token_type_ids: true } as const;
      // Not every kind of tokenizer numbers its texts.
      const { ids, token_type_ids: types }: { ids: number[]; token_type_ids?: number[] } = checked(
        library.encode(text, options),
      );
      // Byte-level ones have no frame: the library leaves the second text out, where Hugging Face's joins the two.
      const alone = (part: string, add_special_tokens: boolean) =>
        checked(library.encode(part, { add_special_tokens })).ids;
      const joined = second === undefined ? [] : [...alone(text, true), ...alone(second, false)];
      if (joined.length > ids.length) return { ids: joined, types: joined.map(() => 0) };
      return { ids, types: types ?? ids.map(() => 0) };
    },
    decode(ids, { skipSpecialTokens = false } = {}) {
      const known = [...ids].filter((id) => tokens.has(id) && !(skipSpecialTokens && special.has(id)));
      // The library refuses an empty list, and would by default delete the space before each full stop.
      return known.length === 0 ? "" : library.decode(known, { clean_up_tokenization_spaces: false });
    },
    tokenId: (token) => words.get(token),
    token: (id) => tokens.get(id),
    vocabSize,
    eosIds: [...new Set(eosIds)],
    ...bosId === undefined ? {} : { bosId },
    ...padId === undefined ? {} : { padId },
    ...maskId === undefined ? {} : { maskId },
    specialIds: special,
    ...chatTemplate === undefined ? {} : { chatTemplate },
  };
}

function requireWellFormed(text: string): void {
  if (text.isWellFormed()) return;
  throw new DataError("data/encoding", `Cannot encode a text with half a surrogate pair: ${excerpt(text)}`);
}

/** Where no settings name one: the token of tokenizer.json's own padding, or BERT's. */
function paddingOf(file: JsonObject, words: ReadonlyMap<string, number>): number | undefined {
  const padding = field(file, "padding");
  const token = isObject(padding) ? field(padding, "pad_token") : undefined;
  return words.get(typeof token === "string" ? token : "[PAD]");
}

function openLibrary(file: JsonObject, config: JsonObject, path: string): Library {
  try {
    const model = field(file, "model") as JsonObject;
    // The library takes the unknown token of a WordLevel model from the config.
    const settings = { unk_token: field(model, "unk_token"), ...config };
    return new Library(repairTokenizer(file), settings);
  } catch (cause) {
    if (cause instanceof FormatError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new FormatError("tokenizer/unsupported", `Cannot use this tokenizer: ${excerpt(reason)}`, { path, cause });
  }
}

function specialIds(file: JsonObject): number[] {
  const added = field(file, "added_tokens");
  return (Array.isArray(added) ? added : []).filter((token) => token.special === true).map((token) => token.id);
}

/** The id of `"bos_token": "<s>"` or `{"content": "<s>"}` in the first source that names one that exists. */
function namedToken(name: string, sources: readonly unknown[], words: ReadonlyMap<string, number>): number | undefined {
  for (const source of sources) {
    const value = isObject(source) ? field(source, name) : undefined;
    const content = isObject(value) ? field(value, "content") : value;
    if (typeof content === "string" && words.has(content)) return words.get(content);
  }
}

function generationEos(generation: unknown): number[] {
  const eos = isObject(generation) ? field(generation, "eos_token_id") : undefined;
  return (Array.isArray(eos) ? eos : [eos]).filter((id) => typeof id === "number");
}

/** The config's template, or of several named ones the default. */
function templateOf(config: JsonObject): string | undefined {
  const template = field(config, "chat_template");
  if (typeof template === "string") return template;
  const named = Array.isArray(template)
    ? template.find((t) => isObject(t) && field(t, "name") === "default")
    : undefined;
  return typeof named?.template === "string" ? named.template : undefined;
}

async function readText(path: string): Promise<string | undefined> {
  try {
    const { isFile, size } = await Deno.stat(path);
    if (isFile && size <= MAX_FILE_BYTES) return decodeUtf8(await Deno.readFile(path), { path });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    if (error instanceof DataError) throw new FormatError("tokenizer/json", error.message, { cause: error });
    throw error;
  }
  throw new FormatError("tokenizer/json", `Cannot read as it is no regular file of at most 256 MiB`, { path });
}

function parse(text: string, path: string): unknown {
  try {
    return parseJson(text).value;
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new FormatError("tokenizer/json", `Cannot read as JSON: ${excerpt(cause.message)}`, { path, cause });
  }
}
