// The strict JSON reader against JSON.parse where both must agree, and by rows where they must not.
import { assertEquals, assertThrows } from "@std/assert";
import { FormatError } from "../../src/core/errors.ts";
import { encodeJson } from "../../src/io/files.ts";
import { JsonNumber, parseJson } from "../../src/io/strict_json.ts";
import { compareCodePoints, decodeUtf8 } from "../../src/io/utf8.ts";

Deno.test("parseJson: agrees with JSON.parse on good texts", () => {
  const texts = [
    "null",
    "true",
    " [ ] ",
    "{}",
    "-0",
    "0.1e-5",
    "1E+2",
    "1000000000000000019884624838656",
    '"\\u00e9\\n\\t\\"\\\\\\/\\b\\f\\r\\ud83d\\ude00é😀"',
    '{"a":[1,2,{"b":null}],"":{"":[]},"10":1,"9":2}',
    "[".repeat(128) + "]".repeat(128),
    JSON.stringify({ lora_alpha: 16, r: 8, target_modules: ["q_proj"], rank_pattern: {} }, null, 2),
  ];
  for (const text of texts) assertEquals(parseJson(text), JSON.parse(text));
});

Deno.test("parseJson: refuses with a byte offset, a line and the file", () => {
  const fails = (text: string, message: string, code = "json/syntax") => {
    const error = assertThrows(() => parseJson(text, { path: "config.json" }), FormatError, message);
    assertEquals(error.code, code);
    return error;
  };
  assertEquals(fails('{\n"é": x}', 'received "x" at byte 8').line, 2);
  fails("", "the text ends");
  fails("[1,]", "at byte 3");
  fails("1e999", "out of range");
  fails("NaN", "expected a value");
  fails('"\u0000"', "control character");
  fails('{"a":1,"a":2}', '"a" is there twice', "json/duplicate-key");
  fails('{"a":1,"\\u0061":2}', '"a" is there twice', "json/duplicate-key");
  fails('{"x":{"__proto__":1,"__proto__":2}}', '"__proto__"', "json/duplicate-key");
  fails("[".repeat(129), "too deep");
});

Deno.test("parseJson: exact numbers", () => {
  const exact = (text: string) => parseJson(text, { exact: true });
  assertEquals(exact("9007199254740991"), 9007199254740991);
  assertEquals(exact("-3"), -3);
  for (const text of ["9007199254740992", "9007199254740993", "2.0", "2e0", "-0", "18446744073709551616"]) {
    assertEquals(exact(text), new JsonNumber(text));
  }
});

Deno.test("parseJson: keys of prototypes are plain keys", () => {
  const before = Reflect.ownKeys(Object.prototype).length;
  const value = parseJson('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"toString":2}');
  assertEquals(Object.keys(value as object), ["__proto__", "constructor", "toString"]);
  assertEquals((value as { [key: string]: unknown })["hasOwnProperty"], undefined);
  assertEquals(({} as { polluted?: number }).polluted, undefined);
  assertEquals(Reflect.ownKeys(Object.prototype).length, before);
});

Deno.test("decodeUtf8: the mark is dropped, invalid bytes are refused with their place", () => {
  assertEquals(decodeUtf8(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61)), "a");
  const fails = (bytes: number[], message: string) => {
    assertEquals(assertThrows(() => decodeUtf8(Uint8Array.from(bytes)), FormatError, message).code, "text/utf8");
  };
  fails([0x61, 0xff, 0x62], "byte 0xff at byte 1");
  fails([0x61, 0xc3], "unfinished character at byte 2");
  fails([...new Uint8Array(1000).fill(0x61), 0x80], "byte 0x80 at byte 1000");
});

Deno.test("encodeJson: sorted keys, no NaN, prototypes unharmed", () => {
  assertEquals(
    encodeJson({ b: [1, { d: null, c: "é" }], a: true, skipped: undefined }, { indent: 0 }),
    '{"a":true,"b":[1,{"c":"é","d":null}]}\n',
  );
  const evil = parseJson('{"__proto__":{"x":1}}');
  assertEquals(encodeJson(evil, { indent: 0 }), '{"__proto__":{"x":1}}\n');
  for (const bad of [NaN, Infinity]) {
    const error = assertThrows(() => encodeJson({ lora_alpha: [bad] }), FormatError, "$.lora_alpha[0]");
    assertEquals(error.code, "json/not-finite");
  }
});

Deno.test("compareCodePoints: the order of UTF-8 bytes", () => {
  const names = ["", "a", "ab", "b", "\ud7ff", "\ue000", "\uffee", "\u{10000}", "\u{10000}a", "\u{10ffff}"];
  for (const [i, a] of names.entries()) {
    for (const [j, b] of names.entries()) {
      assertEquals(Math.sign(compareCodePoints(a, b)), Math.sign(i - j), `${i} ${j}`);
    }
  }
});
