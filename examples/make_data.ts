// Makes examples/assets/ (all but the weights) and runs/corpus/pretrain.txt, the text that examples/pretrain.ts reads.
//
//   sh examples/fetch_corpus.sh
//   deno task data
//
// Everything is chosen by a fixed seed: a second run gives the same bytes.
import { bpeEncoder, tokenizerFiles, trainBpe } from "./lib/bpe.ts";
import { type Passage, readCorpus, unrepeated } from "./lib/corpus.ts";

const CORPUS = "runs/corpus";
const ASSETS = new URL("./assets/", import.meta.url).pathname;
const VOCAB = 1536;

/** Mulberry32: the next number in [0, 1) of a sequence that `seed` fixes. */
function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), seed | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `count` passages of 200 to 600 characters, drawn without replacement. */
function draw(passages: readonly Passage[], count: number, next: () => number): Passage[] {
  const usual = passages.filter(({ text }) => /^[\w .,;:'"?!$%()&/-]{200,600}$/.test(text));
  const drawn = usual.map((passage) => ({ passage, at: next() })).sort((a, b) => a.at - b.at).slice(0, count);
  if (drawn.length < count) throw new Error(`Cannot draw ${count} passages as only ${drawn.length} are suitable`);
  return drawn.map(({ passage }) => passage);
}

const jsonl = (passages: readonly Passage[]) => passages.map(({ text }) => JSON.stringify({ text }) + "\n").join("");

async function save(path: string, text: string): Promise<void> {
  await Deno.mkdir(path.replace(/[^/]*$/, ""), { recursive: true });
  await Deno.writeTextFile(path, text);
}

const { old, sotu } = await readCorpus(CORPUS);
const next = random(2026);

// New domain: addresses since 1990; every seventh is only for validation.
const modern = sotu.filter(({ source }) => source >= "1990");
const speeches = [...new Set(modern.map(({ source }) => source))];
const held = new Set(speeches.filter((_, i) => i % 7 === 3));
const train = draw(modern.filter(({ source }) => !held.has(source)), 600, next);
const valid = draw(modern.filter(({ source }) => held.has(source)), 60, next);

// Old domain: 30 passages of each book that are nowhere repeated. They leave the training text.
const oldValid = ["moby_dick", "bible"].flatMap((book) =>
  unrepeated(draw(old.filter(({ source }) => source === book), 80, next), old).slice(0, 30)
);
const heldOut = new Set(oldValid);
const pretrain = old.filter((passage) => !heldOut.has(passage));

const tokenizer = trainBpe([...pretrain, ...train].map(({ text }) => text), { vocabSize: VOCAB });
const encode = bpeEncoder(tokenizer);

await save(`${CORPUS}/pretrain.txt`, pretrain.map(({ text }) => text).join("\n\n") + "\n");
await save(`${ASSETS}sotu/train.jsonl`, jsonl(train));
await save(`${ASSETS}sotu/valid.jsonl`, jsonl(valid));
await save(`${ASSETS}old/valid.jsonl`, jsonl(oldValid));
for (const [name, text] of Object.entries(tokenizerFiles(tokenizer))) await save(`${ASSETS}base/${name}`, text);

for (const [name, passages] of Object.entries({ pretrain, train, valid, oldValid })) {
  const bytes = passages.reduce((sum, { text }) => sum + text.length, 0); // ASCII: a character is a byte
  const tokens = passages.map(({ text }) => encode(text).length);
  const total = tokens.reduce((a, b) => a + b, 0);
  console.log(
    `${name}: ${passages.length} passages, ${bytes} bytes, ${total} tokens, ${(bytes / total).toFixed(3)} bytes per ` +
      `token, longest ${Math.max(...tokens)} tokens`,
  );
}
console.log(`held-out addresses: ${[...held].join(", ")}`);
