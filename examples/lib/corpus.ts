// The public-domain texts that examples/fetch_corpus.sh puts into runs/corpus/, as clean ASCII passages.
//
// Old domain: Moby Dick (paragraphs as printed) and the King James Bible (neighbouring verses of a chapter joined).
// New domain: State of the Union addresses, which come as one line each (neighbouring sentences joined).

/** One passage: a single line of ASCII. */
export interface Passage {
  /** Where it is from: `"moby_dick"`, `"bible"`, or an address such as `"1995_william_j_clinton"`. */
  readonly source: string;
  readonly text: string;
}

/** A joined passage is closed at the first end of a sentence or verse from this many characters on. */
const CLOSE = 300;

// Letters with a mark are split by NFKD and lose the mark.
const ASCII: readonly (readonly [RegExp, string])[] = [
  [/[\u2018\u2019\u201a\u2032]/g, "'"],
  [/[\u201c\u201d\u201e\u2033]/g, '"'],
  [/\s*(?:\u2014|--+)\s*/g, "--"],
  [/[\u2010-\u2013]/g, "-"],
  [/\u2026/g, "..."],
  [/\u0152/g, "OE"],
  [/\u00b0/g, " degrees "],
  [/[\u0300-\u036f\u2022]/g, ""],
  [/\s+/g, " "],
];

/** `text` on one line, with typographic marks and accents as ASCII; letters of other scripts stay as they are. */
export function plainText(text: string): string {
  return ASCII.reduce((line, [from, to]) => line.replace(from, to), text.normalize("NFKD")).trim();
}

const isAscii = ({ text }: Passage) => /^[\x20-\x7e]+$/.test(text);

/** Join neighbouring sentences into passages of about {@linkcode CLOSE} characters or a little more. */
function joined(source: string, sentences: readonly string[]): Passage[] {
  const out: Passage[] = [];
  let text = "";
  for (const [i, sentence] of sentences.entries()) {
    text += text === "" ? sentence : ` ${sentence}`;
    if (text.length >= CLOSE || i === sentences.length - 1) {
      out.push({ source, text });
      text = "";
    }
  }
  return out;
}

/** The paragraphs of Moby Dick, headings of chapters included. */
export function mobyDick(file: string): Passage[] {
  const paragraphs = file.split(/\n\s*\n/).map((text) => ({ source: "moby_dick", text: plainText(text) }));
  return paragraphs.filter(isAscii);
}

/** The Bible from lines such as `Ge1:1 In the beginning …`, passages never crossing a chapter. */
export function bible(file: string): Passage[] {
  const chapters = new Map<string, string[]>();
  for (const line of file.split("\n")) {
    const verse = line.match(/^(\w+):\d+ (.+)$/);
    if (!verse) continue;
    const [, chapter, text] = verse as unknown as [string, string, string];
    chapters.set(chapter, [...chapters.get(chapter) ?? [], plainText(text)]);
  }
  return [...chapters.values()].flatMap((verses) => joined("bible", verses)).filter(isAscii);
}

// A sentence ends at . ! or ? before a capital, unless the point belongs to a title, an initial or an abbreviation.
const SENTENCE_END =
  /(?<!\b(?:Mr|Mrs|Ms|Dr|St|Sen|Rep|Gen|Gov|Sgt|Cpl|Lt|Col|Capt|Jr|Sr|No|vs|[A-Z])\.)(?<=[.!?]["')]*)\s+(?=["'(]*[A-Z0-9])/;

/** The passages of one address, remarks on the audience removed. */
export function address(source: string, file: string): Passage[] {
  const speech = file.replace(/[[(](?:laughter|applause)\.?[\])]/gi, " ");
  const spaced = plainText(speech).replace(/([a-z][.!?]["']?)(?=[A-Z][a-z])/g, "$1 "); // "decades.Another" in some files
  return joined(source, spaced.split(SENTENCE_END)).filter(isAscii);
}

/** Those of `candidates` that share no run of eight words with any other passage of `all` (the Gospels repeat much). */
export function unrepeated(candidates: readonly Passage[], all: readonly Passage[]): Passage[] {
  const runs = ({ text }: Passage) => {
    const words = text.toLowerCase().match(/[a-z]+/g) ?? [];
    return words.slice(7).map((_, i) => words.slice(i, i + 8).join(" "));
  };
  const owners = new Map(candidates.flatMap((passage) => runs(passage).map((run) => [run, passage])));
  const repeated = new Set<Passage>();
  for (const passage of all) {
    for (const run of runs(passage)) {
      const owner = owners.get(run);
      if (owner && owner.text !== passage.text) repeated.add(owner);
    }
  }
  return candidates.filter((passage) => !repeated.has(passage));
}

/** Everything in `folder`, in the order of the books and of the years. */
export async function readCorpus(folder: string): Promise<{ readonly old: Passage[]; readonly sotu: Passage[] }> {
  const read = (name: string) => Deno.readTextFile(`${folder}/${name}`);
  const names = (await Array.fromAsync(Deno.readDir(`${folder}/sotu`), ({ name }) => name)).sort();
  const sotu = await Promise.all(
    names.map(async (name) => address(name.replace(/\.txt$/, ""), await read(`sotu/${name}`))),
  );
  return { old: [...mobyDick(await read("moby_dick.txt")), ...bible(await read("bible.txt"))], sotu: sotu.flat() };
}
