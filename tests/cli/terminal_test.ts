import { assert, assertEquals, assertThrows } from "@std/assert";
import { bytes, clock, digits, percent, plural, table } from "../../src/cli/format.ts";
import { largestDifference, relativeError, shownPositions } from "../../src/cli/parity_errors.ts";
import { parseCase } from "../../src/cli/parity_format.ts";
import { progressBar } from "../../src/cli/progress.ts";
import { markedText, openings } from "../../src/cli/sample_text.ts";
import { createStyle, createTerminal, type Stream, type Terminal } from "../../src/cli/terminal.ts";
import { ConfigError } from "../../src/core/errors.ts";
import type { Example } from "../../src/data/labels.ts";
import { tiny } from "../data/tiny_tokenizer.ts";

interface Recorded {
  readonly terminal: Terminal;
  readonly out: string[];
  readonly err: string[];
}

function record(options: { readonly json?: boolean; readonly tty?: boolean; readonly plain?: boolean }): Recorded {
  const { json = false, tty = false, plain = false } = options;
  const [out, err]: [string[], string[]] = [[], []];
  const stream = (lines: string[]): Stream => ({ terminal: tty, write: (text) => void lines.push(text) });
  return { terminal: createTerminal({ json, plain, stdout: stream(out), stderr: stream(err) }), out, err };
}

/** What everybody who looks at a terminal sees. */
function useAll({ terminal }: Recorded): void {
  terminal.say(terminal.style.bold("result"));
  terminal.redraw("half way");
  terminal.note("note");
  terminal.result({ x: 1 });
}

Deno.test("terminal: results to stdout, notes to stderr; with --json stdout has the JSON alone", () => {
  const plain = record({});
  useAll(plain);
  assertEquals([plain.out, plain.err], [["result\n"], ["note\n"]]);
  const json = record({ json: true });
  useAll(json);
  assertEquals([json.out, json.err], [['{"x":1}\n'], ["result\n", "note\n"]]);
});

Deno.test("terminal: colours and redrawn lines only for a person, and not with NO_COLOR", () => {
  const tty = record({ tty: true });
  useAll(tty);
  assertEquals(tty.out, ["\x1b[1mresult\x1b[0m\n"]);
  assertEquals(tty.err, ["\rhalf way\x1b[K", "\r\x1b[K", "note\n"]);
  const noColor = record({ tty: true, plain: true });
  useAll(noColor);
  assertEquals([noColor.out, noColor.err], [["result\n"], ["note\n"]]);
});

Deno.test("progress: a bar on a terminal, else the first, the last and about twenty lines", () => {
  const steps = (recorded: Recorded): void => {
    const show = progressBar(recorded.terminal);
    for (let step = 1; step <= 1000; step++) {
      show({ step, steps: 1000, loss: 2.5, tokensPerSecond: 12345.6, secondsLeft: 61 });
    }
  };
  const lines = record({});
  steps(lines);
  assert(lines.err.length >= 20 && lines.err.length <= 22, String(lines.err.length));
  assertEquals(lines.err[0], "step    1/1000 · loss 2.500 · 12,346 tokens/s · 1:01 left\n");
  assert(lines.err.at(-1)!.startsWith("step 1000/1000"));
  const bar = record({ tty: true });
  steps(bar);
  assertEquals(bar.err.length, 1001); // the last line is no longer redrawn
  assert(bar.err[499]!.startsWith(`\r${"█".repeat(8)}${"░".repeat(8)} step  500/1000`));
  assert(bar.err.at(-1)!.startsWith("█".repeat(16)) && bar.err.at(-1)!.endsWith("\n"));
});

Deno.test("format: numbers, sizes, times, tables", () => {
  assertEquals([digits(1234567), plural(1, "step"), plural(0, "step")], ["1,234,567", "1 step", "0 steps"]);
  assertEquals([bytes(0), bytes(1023), bytes(1024), bytes(3 * 2 ** 30)], [
    "0 bytes",
    "1023 bytes",
    "1.0 KiB",
    "3.0 GiB",
  ]);
  assertEquals([clock(9.4), clock(61), clock(3723), clock(Infinity), clock(-1)], [
    "0:09",
    "1:01",
    "1:02:03",
    "-:--",
    "0:00",
  ]);
  assertEquals(percent(41472 / 1049600), "4.0 %");
  assertEquals(table([["domain", "loss"], ["new", "1.5"]]), "  domain   loss\n  new       1.5");
});

Deno.test("samples: what is trained is marked, and rows open with their prompt", () => {
  const ids = Uint32Array.from(tiny.encode("ab\x1bthe cab"));
  const trained = (from: number): Example => ({ ids, labels: Int32Array.from(ids, (id, t) => t < from ? -100 : id) });
  const [head, tail] = [tiny.decode(ids.subarray(0, 3)), tiny.decode(ids.subarray(3))].map((t) =>
    t.replace("\x1b", "\\u{1b}")
  );
  assertEquals(markedText(trained(3), tiny, createStyle(false)), `${head}「${tail}」`);
  assert(markedText(trained(3), tiny, createStyle(true)).includes("\x1b[32m"));
  assertEquals(markedText(trained(0), tiny, createStyle(false)), "「ab\\u{1b}the cab」");
  assertEquals(openings([trained(3), trained(3)], tiny, { count: 2, longest: 9 }), [tiny.decode(ids.subarray(0, 3))]);
  assertEquals(openings([trained(0)], tiny, { count: 1, longest: 99 }), ["ab\x1bthe cab"]);
  assertEquals(openings([trained(3)], tiny, { count: 1, longest: 2 }), []);
});

Deno.test("parity: errors count only real positions, and a NaN is never small", () => {
  const batch = { input_ids: [[1, 2], [3, 0]], attention_mask: [[1, 1], [1, 0]] };
  assertEquals(shownPositions(batch, 2), [0, 1, 2]);
  assertEquals(shownPositions({ input_ids: [[1, 2]] }, 2), [0, 1]);
  const x = new Float32Array([1, 2, 3, 9]), y = new Float32Array([1, 2.5, 3, 0]);
  assertEquals(largestDifference(x, y, [0, 1, 2], 1), 0.5);
  assertEquals(largestDifference(new Float32Array([NaN, 2, 3, 9]), y, [0, 1], 1), NaN);
  assertEquals(largestDifference(x, new Float32Array(3), [0], 1), NaN);
  assertEquals(relativeError(new Float32Array([3, 4]), new Float32Array([0, 0])), 5);
  assertEquals(relativeError(new Float32Array([6, 8]), new Float32Array([3, 4])), 1);
  const error = assertThrows(() => parseCase({ kind: "causal", losses: [1, "2"] }, "case.json"), ConfigError);
  assertEquals(error.problems.length, 12, error.message);
});
