// Small safetensors files, one per row, with the code of the error that each must give, or "ok". The verdicts are those
// of the reference implementation (safetensors 0.8), except for rows marked "stricter".
const encoder = new TextEncoder();

/** One file and what must happen. */
export interface CorpusCase {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Code of the error, or "ok". */
  readonly expected: string;
  /** What the message must contain. */
  readonly message?: string;
}

/** A file of a header and `data` zero bytes; `length` overrides the header length. */
export function file(header: string | Uint8Array, data = 0, length?: bigint): Uint8Array<ArrayBuffer> {
  const json = typeof header === "string" ? encoder.encode(header) : header;
  const out = new Uint8Array(8 + json.length + data);
  new DataView(out.buffer).setBigUint64(0, length ?? BigInt(json.length), true);
  out.set(json, 8);
  return out;
}

/** A file of one tensor "a", whose three fields are given as JSON text. */
function one(dtype: string, shape: string, offsets: string, data: number): Uint8Array<ArrayBuffer> {
  return file(`{"a":{"dtype":${dtype},"shape":${shape},"data_offsets":${offsets}}}`, data);
}

/** Fields of a U8 tensor that lies at [begin, end). */
function u8(begin: number, end: number): string {
  return `{"dtype":"U8","shape":[${end - begin}],"data_offsets":[${begin},${end}]}`;
}

const F32x2 = `{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`;

type Row = readonly [name: string, bytes: Uint8Array<ArrayBuffer>, message?: string];

function rows(expected: string, list: readonly Row[]): CorpusCase[] {
  return list.map(([name, bytes, message]) => ({
    name,
    bytes,
    expected,
    ...(message === undefined ? {} : { message }),
  }));
}

const lengths = [
  ...rows("st/header-too-small", [
    ["no byte", new Uint8Array(0), "received 0 bytes"],
    ["one byte", new Uint8Array(1)],
    ["seven bytes", new Uint8Array(7), "received 7 bytes"],
  ]),
  ...rows("st/header-too-large", [
    ["length 2^64 - 1", file("{}", 0, 2n ** 64n - 1n)],
    ["length 2^63", file("{}", 0, 2n ** 63n)],
    ["length 2^53 + 1", file("{}", 0, 2n ** 53n + 1n)],
    ["length 2^32", file("{}", 0, 2n ** 32n)],
    ["length 100,000,001", file("{}", 0, 100_000_001n), "100000001"],
  ]),
  ...rows("st/header-past-end", [
    ["length one past the end", file("{}", 0, 3n), "says 3 bytes, the file has 2"],
    ["length 100,000,000", file("{}", 0, 100_000_000n)],
    ["eight bytes that promise a header", file("", 0, 1n)],
    ["ASCII text", encoder.encode("\u0040\u0000\u0000\u0000\u0000\u0000\u0000\u0000 is short")],
  ]),
];

const starts = rows("st/header-start", [
  ["empty header", file("")],
  ["array", file(`[]`)],
  ["string", file(`"abc"`)],
  ["number", file(`12`)],
  ["null", file(`null`)],
  ["space in front (stricter)", file(` {"a":${F32x2}}`, 8)],
  ["line break in front (stricter)", file(`\n{"a":${F32x2}}`, 8)],
  ["byte order mark", file(`\ufeff{"a":${F32x2}}`, 8)],
  ["UTF-16 with mark", file(Uint8Array.of(0xff, 0xfe, 0x7b, 0, 0x7d, 0))],
  ["NUL", file("\u0000{}")],
  ["only spaces", file("        ")],
  ["100,000 nested arrays", file("[".repeat(100_000))],
]);

const encodings = [
  ...rows("st/header-utf8", [
    ["lone continuation byte", file(Uint8Array.of(0x7b, 0x22, 0x80, 0x22, 0x7d)), "at byte 10"],
    ["overlong slash", file(Uint8Array.of(0x7b, 0x22, 0xc0, 0xaf, 0x22, 0x7d))],
    ["surrogate as UTF-8", file(Uint8Array.of(0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x7d))],
    ["beyond U+10FFFF", file(Uint8Array.of(0x7b, 0x22, 0xf4, 0x90, 0x80, 0x80, 0x22, 0x7d))],
    ["unfinished character", file(Uint8Array.of(0x7b, 0x22, 0xe2, 0x82))],
    ["Latin-1 letter", file(Uint8Array.of(0x7b, 0x22, 0xe9, 0x22, 0x3a, 0x7d))],
  ]),
];

const syntax = rows("st/header-json", [
  ["only an opening brace", file("{")],
  ["only a closing brace missing", file(`{"a":${F32x2}`, 8)],
  ["cut in a string", file(`{"a`)],
  ["cut after a colon", file(`{"a":`)],
  ["trailing comma", file(`{"a":${F32x2},}`, 8)],
  ["trailing comma in an array", file(`{"a":{"dtype":"F32","shape":[2,],"data_offsets":[0,8]}}`, 8)],
  ["leading comma", file(`{,"a":${F32x2}}`, 8)],
  ["missing comma", file(`{"a":${F32x2} "b":${F32x2}}`, 8)],
  ["comment", file(`{/* x */"a":${F32x2}}`, 8)],
  ["line comment", file(`{"a":${F32x2}} // x`, 8)],
  ["single quotes", file(`{'a':${F32x2}}`, 8)],
  ["bare key", file(`{a:${F32x2}}`, 8)],
  ["NaN", file(`{"a":NaN}`)],
  ["Infinity", file(`{"a":Infinity}`)],
  ["-Infinity", file(`{"a":-Infinity}`)],
  ["True", file(`{"a":True}`)],
  ["undefined", file(`{"a":undefined}`)],
  ["hexadecimal", one(`"F32"`, `[0x2]`, `[0,8]`, 8)],
  ["leading zero", one(`"F32"`, `[02]`, `[0,8]`, 8)],
  ["plus sign", one(`"F32"`, `[+2]`, `[0,8]`, 8)],
  ["number ends with a point", one(`"F32"`, `[2.]`, `[0,8]`, 8)],
  ["number out of range", one(`"F32"`, `[1e999]`, `[0,8]`, 8)],
  ["raw line break in a name", file(`{"a\n":${F32x2}}`, 8)],
  ["raw NUL in a name", file(`{"a\u0000":${F32x2}}`, 8)],
  ["unknown escape", file(`{"\\x41":${F32x2}}`, 8)],
  ["short escape", file(`{"\\u12":${F32x2}}`, 8)],
  ["lone high surrogate", file(`{"\\ud800":${F32x2}}`, 8), "lone surrogate"],
  ["lone low surrogate", file(`{"\\udc00":${F32x2}}`, 8)],
  ["high surrogate before a letter", file(`{"\\ud800\\u0041":${F32x2}}`, 8)],
  ["two values", file(`{}{}`)],
  ["text behind", file(`{"a":${F32x2}}x`, 8)],
  ["NUL padding", file(`{"a":${F32x2}}\u0000\u0000`, 8)],
  ["no-break space", file(`{"a":\u00a0${F32x2}}`, 8)],
  ["key without value", file(`{"a"}`)],
  ["key is a number", file(`{1:${F32x2}}`, 8)],
  ["100,000 nested arrays", file(`{"a":${"[".repeat(100_000)}`), "too deep"],
  ["100,000 nested objects", file(`{"a":`.repeat(100_000)), "too deep"],
  ["nested 129 deep and closed", file(`{"a":${"[".repeat(128)}${"]".repeat(128)}}`), "too deep"],
  ["tensor is a number", file(`{"a":5}`)],
  ["tensor is null", file(`{"a":null}`)],
  ["tensor is a string", file(`{"a":"F32"}`)],
  ["tensor is an array (stricter)", file(`{"a":["F32",[2],[0,8]]}`, 8)],
]);

const duplicates = rows("st/duplicate-key", [
  ["two tensors of one name (stricter)", file(`{"a":${F32x2},"a":${F32x2}}`, 8), `"a"`],
  ["the name once escaped (stricter)", file(`{"a":${F32x2},"\\u0061":${F32x2}}`, 8), `"a"`],
  ["two __metadata__", file(`{"__metadata__":{},"__metadata__":{},"a":${F32x2}}`, 8)],
  ["metadata key twice (stricter)", file(`{"__metadata__":{"k":"1","k":"2"},"a":${F32x2}}`, 8)],
  ["two dtypes", file(`{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8)],
  ["two shapes", file(`{"a":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}}`, 8)],
  ["__proto__ twice", file(`{"__proto__":${u8(0, 1)},"__proto__":${u8(1, 2)}}`, 2)],
]);

const offsets = rows("st/offset", [
  ["overlap", file(`{"a":${u8(0, 8)},"b":${u8(0, 8)}}`, 8), "starts at 0, expected 8"],
  ["partial overlap", file(`{"a":${u8(0, 8)},"b":${u8(4, 12)}}`, 12), "starts at 4, expected 8"],
  ["contained", file(`{"a":${u8(0, 8)},"b":${u8(2, 4)}}`, 8)],
  ["hole at the start", file(`{"a":${u8(4, 8)}}`, 8), "starts at 4, expected 0"],
  ["hole in the middle", file(`{"a":${u8(0, 8)},"b":${u8(12, 16)}}`, 16), "starts at 12, expected 8"],
  ["begin after end", one(`"U8"`, `[4]`, `[4,0]`, 4)],
  ["negative begin", one(`"U8"`, `[4]`, `[-4,0]`, 4), "[-4,0]"],
  ["negative end", one(`"U8"`, `[4]`, `[0,-4]`, 4)],
  ["minus zero", one(`"U8"`, `[4]`, `[-0,4]`, 4)],
  ["float", one(`"U8"`, `[4]`, `[0,4.0]`, 4), "4.0"],
  ["fraction", one(`"U8"`, `[4]`, `[0.5,4.5]`, 4)],
  ["exponent", one(`"U8"`, `[4]`, `[0,4e0]`, 4)],
  ["string", one(`"U8"`, `[4]`, `["0","4"]`, 4)],
  ["boolean", one(`"U8"`, `[1]`, `[false,true]`, 1)],
  ["three values", one(`"U8"`, `[4]`, `[0,4,8]`, 4)],
  ["one value", one(`"U8"`, `[4]`, `[4]`, 4)],
  ["no value", one(`"U8"`, `[4]`, `[]`, 4)],
  ["null", one(`"U8"`, `[4]`, `null`, 4)],
  ["null inside", one(`"U8"`, `[4]`, `[null,4]`, 4)],
  ["object", one(`"U8"`, `[4]`, `{"0":0,"1":4,"length":2}`, 4)],
  ["nested", one(`"U8"`, `[4]`, `[[0],[4]]`, 4)],
  ["2^53 + 1", one(`"U8"`, `[4]`, `[0,9007199254740993]`, 4), "9007199254740993"],
  ["2^64 - 1", one(`"U8"`, `[4]`, `[0,18446744073709551615]`, 4)],
  ["2^64", one(`"U8"`, `[4]`, `[0,18446744073709551616]`, 4)],
  ["absent", file(`{"a":{"dtype":"U8","shape":[4]}}`, 4), "received nothing"],
  ["misspelt", file(`{"a":{"dtype":"U8","shape":[4],"offsets":[0,4]}}`, 4)],
  ["empty tensor beyond the data", file(`{"a":${u8(0, 4)},"b":${u8(8, 8)}}`, 4)],
]);

const sizes = [
  ...rows("st/size", [
    ["one byte behind", one(`"F32"`, `[2]`, `[0,8]`, 9)],
    ["one byte missing", one(`"F32"`, `[2]`, `[0,8]`, 7), "the file is"],
    ["all data missing", one(`"F32"`, `[2]`, `[0,8]`, 0), "incomplete"],
    ["data without tensors", file("{}", 4)],
    ["offsets of 4 TiB", one(`"U8"`, `[4398046511104]`, `[0,4398046511104]`, 4)],
    ["second tensor missing", file(`{"a":${u8(0, 8)},"b":${u8(8, 16)}}`, 8)],
  ]),
  ...rows("st/size-mismatch", [
    ["twice the bytes", one(`"F16"`, `[2]`, `[0,8]`, 8), "F16 [2] needs 4 bytes, has 8"],
    ["too few bytes", one(`"F32"`, `[2]`, `[0,4]`, 4)],
    ["scalar of eight bytes", one(`"F32"`, `[]`, `[0,8]`, 8)],
    ["empty shape with bytes", one(`"F32"`, `[0]`, `[0,8]`, 8)],
    ["shape without bytes", one(`"F32"`, `[2]`, `[0,0]`, 0)],
    ["other dtype", one(`"F64"`, `[2]`, `[0,8]`, 8)],
    ["half a byte", one(`"F4"`, `[3]`, `[0,1]`, 1), "12 bits"],
    ["six bits", one(`"F6_E2M3"`, `[1]`, `[0,1]`, 1)],
  ]),
];

const shapes = rows("st/shape", [
  ["2^32 by 2^32", one(`"F32"`, `[4294967296,4294967296]`, `[0,0]`, 0)],
  ["2^63 + 1 by 2", one(`"F32"`, `[9223372036854775809,2]`, `[0,8]`, 8)],
  ["2^53 + 1", one(`"U8"`, `[9007199254740993]`, `[0,8]`, 8)],
  ["overflow by the dtype only", one(`"F64"`, `[1152921504606846976,2]`, `[0,8]`, 8)],
  ["overflow before a zero", one(`"F32"`, `[4294967296,4294967296,0]`, `[0,0]`, 0)],
  ["negative pair", one(`"F32"`, `[-2,-1]`, `[0,8]`, 8)],
  ["negative", one(`"F32"`, `[-2]`, `[0,8]`, 8)],
  ["float 2.0", one(`"F32"`, `[2.0]`, `[0,8]`, 8), "2.0"],
  ["fraction", one(`"F32"`, `[4,0.5]`, `[0,8]`, 8)],
  ["exponent", one(`"F32"`, `[2e0]`, `[0,8]`, 8)],
  ["object with length", one(`"F32"`, `{"length":1}`, `[0,8]`, 8)],
  ["string", one(`"F32"`, `"2"`, `[0,8]`, 8)],
  ["string inside", one(`"F32"`, `["2"]`, `[0,8]`, 8)],
  ["number", one(`"F32"`, `2`, `[0,8]`, 8)],
  ["null", one(`"F32"`, `null`, `[0,8]`, 8)],
  ["null inside", one(`"F32"`, `[null]`, `[0,8]`, 8)],
  ["true inside", one(`"F32"`, `[true]`, `[0,4]`, 4)],
  ["nested", one(`"F32"`, `[[2]]`, `[0,8]`, 8)],
  ["absent", file(`{"a":{"dtype":"F32","data_offsets":[0,8]}}`, 8)],
]);

const dtypes = rows("st/dtype", [
  ["unknown", one(`"F128"`, `[2]`, `[0,8]`, 8), "F32"],
  ["lower case", one(`"f32"`, `[2]`, `[0,8]`, 8)],
  ["PyTorch's name", one(`"float32"`, `[2]`, `[0,8]`, 8)],
  ["with a space", one(`"F32 "`, `[2]`, `[0,8]`, 8)],
  ["empty", one(`""`, `[2]`, `[0,8]`, 8)],
  ["number", one(`32`, `[2]`, `[0,8]`, 8)],
  ["null", one(`null`, `[2]`, `[0,8]`, 8)],
  ["array", one(`["F32"]`, `[2]`, `[0,8]`, 8)],
  ["__proto__", one(`"__proto__"`, `[2]`, `[0,8]`, 8)],
  ["constructor", one(`"constructor"`, `[2]`, `[0,8]`, 8)],
  ["toString", one(`"toString"`, `[2]`, `[0,8]`, 8)],
  ["absent", file(`{"a":{"shape":[2],"data_offsets":[0,8]}}`, 8)],
  ["escape sequences", one(`"\\u001b[2J"`, `[2]`, `[0,8]`, 8), "\\u001b[2J"],
]);

const metadata = rows("st/metadata", [
  ["number value", file(`{"__metadata__":{"k":1}}`)],
  ["null value", file(`{"__metadata__":{"k":null}}`)],
  ["nested object", file(`{"__metadata__":{"k":{"x":"y"}}}`)],
  ["nested array", file(`{"__metadata__":{"k":["x"]}}`)],
  ["is a number", file(`{"__metadata__":1}`)],
  ["is a string", file(`{"__metadata__":"pt"}`)],
  ["is an array", file(`{"__metadata__":[]}`)],
  ["is a boolean", file(`{"__metadata__":true}`)],
]);

const valid = rows("ok", [
  ["no tensor", file("{}")],
  ["metadata only", file(`{"__metadata__":{"format":"pt"}}`)],
  ["metadata null", file(`{"__metadata__":null,"a":${F32x2}}`, 8)],
  ["metadata empty", file(`{"__metadata__":{},"a":${F32x2}}`, 8)],
  ["metadata behind the tensors", file(`{"a":${F32x2},"__metadata__":{"format":"pt"}}`, 8)],
  ["metadata with odd keys", file(`{"__metadata__":{"__proto__":"x","constructor":"y","":"z"}}`)],
  ["one tensor", file(`{"a":${F32x2}}`, 8)],
  ["padded with spaces", file(`{"a":${F32x2}}     `, 8)],
  ["padded with line breaks", file(`{"a":${F32x2}}\r\n\t`, 8)],
  ["spaces everywhere", file(`{ "a" :\t{ "dtype" : "U8" , "shape" : [ 4 ] ,\n"data_offsets" : [ 0 , 4 ] } }`, 4)],
  ["header not a multiple of 8", file(`{"a":${u8(0, 1)}} `, 1)],
  ["tensor at an odd byte", file(`{"a":${u8(0, 1)},"b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}`, 5)],
  ["entries out of order", file(`{"b":${u8(4, 8)},"a":${u8(0, 4)}}`, 8)],
  ["scalar", one(`"F32"`, `[]`, `[0,4]`, 4)],
  ["no element", one(`"F32"`, `[0]`, `[0,0]`, 0)],
  ["no element, two dimensions", one(`"F32"`, `[3,0]`, `[0,0]`, 0)],
  ["no element, a huge dimension", one(`"F32"`, `[0,4294967296,4294967296]`, `[0,0]`, 0)],
  ["empty tensors between others", file(`{"a":${u8(0, 4)},"b":${u8(4, 4)},"c":${u8(4, 8)},"d":${u8(8, 8)}}`, 8)],
  ["unknown field", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"note":{"x":[1.5,null]}}}`, 1)],
  ["fields in another order", file(`{"a":{"data_offsets":[0,1],"shape":[1],"dtype":"U8"}}`, 1)],
  ["five dimensions", one(`"U8"`, `[1,2,1,2,1]`, `[0,4]`, 4)],
  ["name __proto__", file(`{"__proto__":${u8(0, 1)}}`, 1)],
  ["name constructor", file(`{"constructor":${u8(0, 1)},"toString":${u8(1, 2)},"hasOwnProperty":${u8(2, 3)}}`, 3)],
  ["empty name", file(`{"":${u8(0, 1)}}`, 1)],
  ["name that is a path", file(`{"../../etc/passwd":${u8(0, 1)}}`, 1)],
  ["name that is a number", file(`{"10":${u8(0, 1)},"9":${u8(1, 2)}}`, 2)],
  ["name of a megabyte", file(`{"${"x".repeat(1_000_000)}":${u8(0, 1)}}`, 1)],
  ["escaped name", file(`{"\\u0061\\n\\/\\"\\\\":${u8(0, 1)}}`, 1)],
  ["name with a pair of surrogates", file(`{"\\ud83d\\ude00":${u8(0, 1)},"é":${u8(1, 2)}}`, 2)],
  ["name with terminal escapes", file(`{"\\u001b[2J\\u202e":${u8(0, 1)}}`, 1)],
  [
    "nested 127 deep in an unknown field",
    file(
      `{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":${"[".repeat(126)}${"]".repeat(126)}}}`,
      1,
    ),
  ],
  ...(["BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"] as const).map((
    t,
  ): Row => [t, one(`"${t}"`, `[3]`, `[0,3]`, 3)]),
  ...(["I16", "U16", "F16", "BF16"] as const).map((t): Row => [t, one(`"${t}"`, `[3]`, `[0,6]`, 6)]),
  ...(["I32", "U32", "F32"] as const).map((t): Row => [t, one(`"${t}"`, `[3]`, `[0,12]`, 12)]),
  ...(["C64", "F64", "I64", "U64"] as const).map((t): Row => [t, one(`"${t}"`, `[3]`, `[0,24]`, 24)]),
  ["F4 of whole bytes", one(`"F4"`, `[4]`, `[0,2]`, 2)],
  ["F6 of whole bytes", one(`"F6_E3M2"`, `[4]`, `[0,3]`, 3)],
]);

/** All rows. */
export const corpus: readonly CorpusCase[] = [lengths, starts, encodings, syntax, duplicates, offsets, sizes, shapes]
  .concat([dtypes, metadata, valid]).flat();
