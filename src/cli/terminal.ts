// Where words go: results to stdout, progress to stderr; with --json stdout has the JSON alone.
// Colours and bars only where a person looks on: a terminal, and NO_COLOR unset (https://no-color.org).

/** A stream to write to. */
export interface Stream {
  /** Write all of the text. */
  write(text: string): void;
  /** Whether a person looks on. */
  readonly terminal: boolean;
}

/** The output of a command. */
export interface Terminal {
  /** Whether stdout is for JSON. */
  readonly json: boolean;
  /** A line for people. */
  say(text?: string): void;
  /** Text for people that is not a whole line. */
  piece(text: string): void;
  /** A line on stderr: warnings, progress. */
  note(text: string): void;
  /** The result as a line of JSON on stdout; nothing without --json. */
  result(value: unknown): void;
  /** Replace the last line of stderr; without a terminal there nothing happens. */
  redraw(text: string): void;
  /** Whether lines of stderr can be replaced. */
  readonly redraws: boolean;
  /** Emphasis, for {@linkcode Terminal.say}. */
  readonly style: Style;
}

/** Ways to set off text; they return it unchanged where there are no colours. */
export interface Style {
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
  /** Whether there are colours. */
  readonly colours: boolean;
}

/** Options of {@linkcode createTerminal}. */
export interface TerminalOptions {
  readonly json: boolean;
  /** Never use colours. */
  readonly plain?: boolean;
  readonly stdout?: Stream;
  readonly stderr?: Stream;
}

/** Make the output of a command. */
export function createTerminal(options: TerminalOptions): Terminal {
  const { json, plain = Deno.noColor, stdout = streamOf(Deno.stdout), stderr = streamOf(Deno.stderr) } = options;
  const people = json ? stderr : stdout;
  const redraws = stderr.terminal && !plain;
  let drawn = false;
  const clear = () => {
    if (drawn) stderr.write("\r\x1b[K");
    drawn = false;
  };
  return {
    json,
    redraws,
    style: createStyle(people.terminal && !plain),
    say: (text = "") => (clear(), people.write(`${text}\n`)),
    piece: (text) => (clear(), people.write(text)),
    note: (text) => (clear(), stderr.write(`${text}\n`)),
    result: (value) => json ? stdout.write(`${JSON.stringify(value)}\n`) : undefined,
    redraw(text) {
      if (!redraws) return;
      stderr.write(`\r${text}\x1b[K`);
      drawn = true;
    },
  };
}

/** Emphasis by ANSI escapes, or none. */
export function createStyle(colours: boolean): Style {
  const paint = (code: number) => (text: string) => colours ? `\x1b[${code}m${text}\x1b[0m` : text;
  return { colours, bold: paint(1), dim: paint(2), good: paint(32), bad: paint(31) };
}

function streamOf(stream: typeof Deno.stdout | typeof Deno.stderr): Stream {
  const encoder = new TextEncoder();
  return {
    terminal: stream.isTerminal(),
    write(text) {
      try {
        for (let bytes = encoder.encode(text); bytes.length > 0;) bytes = bytes.subarray(stream.writeSync(bytes));
      } catch (error) {
        // Nobody reads any more (`… | head`): the work goes on, its words are lost.
        if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
      }
    },
  };
}
