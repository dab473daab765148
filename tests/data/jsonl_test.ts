import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { DataError } from "../../src/core/errors.ts";
import { type JsonlOptions, type JsonRow, readJsonl } from "../../src/data/jsonl.ts";

const encoder = new TextEncoder();

async function rows(content: string | Uint8Array, options: JsonlOptions = {}): Promise<JsonRow[]> {
  const path = await Deno.makeTempFile({ suffix: ".jsonl" });
  try {
    await Deno.writeFile(path, typeof content === "string" ? encoder.encode(content) : content);
    return await Array.fromAsync(readJsonl(path, options));
  } finally {
    await Deno.remove(path);
  }
}

async function problem(content: string | Uint8Array, options: JsonlOptions = {}): Promise<DataError> {
  return await assertRejects(() => rows(content, options), DataError);
}

const plain = [{ value: { text: "é" }, line: 1 }, { value: { text: "b" }, line: 2 }];

Deno.test("byte order mark, CRLF, blank lines and a missing last newline give the same rows", async () => {
  assertEquals(await rows('{"text":"é"}\n{"text":"b"}\n'), plain);
  assertEquals(await rows('{"text":"é"}\n{"text":"b"}'), plain);
  assertEquals(await rows('\ufeff{"text":"é"}\r\n{"text":"b"}\r\n\r\n'), plain);
  assertEquals((await rows('\n  \n{"text":"é"}\n'))[0]!.line, 3);
});

Deno.test("a file without rows is an error", async () => {
  for (const content of ["", "\n\n", "\ufeff", " \r\n\t\n"]) assertEquals((await problem(content)).code, "data/empty");
  assertEquals(
    (await assertRejects(() => Array.fromAsync(readJsonl("/nowhere.jsonl")), DataError)).code,
    "data/missing",
  );
  assertEquals((await assertRejects(() => Array.fromAsync(readJsonl("/tmp")), DataError)).code, "data/not-regular");
});

Deno.test("bytes that are not UTF-8 are named by line and byte", async () => {
  const cases: [number[], number][] = [
    [[0xff], 10],
    [[0x61, 0xc3, 0x28], 11], // a two-byte character cut short
    [[0xed, 0xa0, 0x80], 10], // a surrogate
    [[0xc0, 0x80], 10], // an overlong zero
  ];
  for (const [bad, byte] of cases) {
    const bytes = [...encoder.encode('{"text":"a"}\n{"text":"'), ...bad, ...encoder.encode('"}\n')];
    const error = await problem(new Uint8Array(bytes));
    assertEquals([error.code, error.line], ["data/encoding", 2]);
    assertStringIncludes(error.message, `byte ${byte} `);
  }
  assertEquals(
    (await problem(new Uint8Array([...encoder.encode('{"text":"a"}\n"'), 0xf0, 0x9f]))).code,
    "data/encoding",
  );
});

Deno.test("broken rows are named by line, and a set number may be left out", async () => {
  const lines = Array.from({ length: 20 }, (_, i) => `{"text":"${i}"}`);
  lines[16] = '{"text":';
  const error = await problem(lines.join("\n"));
  assertEquals([error.code, error.line], ["data/json", 17]);
  assert(/\.jsonl:17: /.test(error.message), error.message);

  const skipped: number[] = [];
  lines[3] = "nonsense";
  const kept = await rows(lines.join("\n"), { skipBadRows: 2, onSkip: ({ line }) => skipped.push(line!) });
  assertEquals([kept.length, skipped], [18, [4, 17]]);
  assertEquals((await problem(lines.join("\n"), { skipBadRows: 1 })).line, 17);
  assertEquals((await problem("nonsense\n", { skipBadRows: 5 })).code, "data/empty");
});

Deno.test("escape sequences of a row do not reach the terminal", async () => {
  assert(!(await problem('{"a": \u001b[2J}')).message.includes("\u001b"));
});

Deno.test("rows that are not objects are refused", async () => {
  for (const row of ["[1]", "null", "3", '"text"']) assertEquals((await problem(`${row}\n`)).code, "data/field");
});

Deno.test("a line above the limit is refused without reading it all", async () => {
  const long = `{"text":"${"x".repeat(5_000_000)}"}`;
  const error = await problem(`{"text":"a"}\n${long}\n`, { maxLineBytes: 1000 });
  assertEquals([error.code, error.line], ["data/line-too-long", 2]);
  assertEquals((await rows(`${long}\n`)).length, 1);
  const kept = await rows(`{"text":"a"}\n${"x".repeat(300_000)}\n{"text":"b"}\n`, {
    maxLineBytes: 1000,
    skipBadRows: 1,
  });
  assertEquals(kept.map(({ line }) => line), [1, 3]);
});

Deno.test("a key written twice is refused, in any spelling and depth", async () => {
  for (
    const row of [
      '{"text":"a","text":"b"}',
      '{"a":1,"\\u0061":2}',
      '{"a\\\\":1,"b":"\\\\\\"","b":2}',
      '{"x":[{"y":1,"z":{"q":"{,\\"","q":2}}]}',
    ]
  ) {
    const error = await problem(`{"text":"fine"}\n${row}\n`);
    assertEquals([error.code, error.line], ["data/json", 2]);
    assertStringIncludes(error.message, "twice");
  }
  assertEquals((await rows('{"a":"a","b":["a","a"],"c":{"a":1},"d":{"a":1}}')).length, 1);
});

Deno.test("names of Object.prototype are plain keys", async () => {
  const before = Object.getOwnPropertyNames(Object.prototype);
  const [row] = await rows('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}');
  assertEquals(Object.keys(row!.value), ["__proto__", "constructor"]);
  assertEquals(Object.getOwnPropertyNames(Object.prototype), before);
  assertEquals(({} as Record<string, unknown>).polluted, undefined);
});

Deno.test("deep nesting is refused", async () => {
  const error = await problem(`{"a":${"[".repeat(100_000)}${"]".repeat(100_000)}}`);
  assertEquals(error.code, "data/json");
});
