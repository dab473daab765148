// What beam search is made of: the best continuations of rows, and tokens that may not come yet. The step itself is
// compared with a float64 search in tests/train/beam_search_test.ts.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { chooseTrips } from "../../shaders/beams.ts";
import { continuationTrips } from "../../shaders/continuations.ts";
import type { GraftDevice } from "../../src/gpu/device.ts";
import { compile, read, run, write } from "../../src/gpu/executable.ts";
import { createStore, release } from "../../src/gpu/store.ts";
import { Graph } from "../../src/graph/graph.ts";
import { LOOP_BUDGET } from "../../src/graph/target.ts";
import { beamCandidates, beamStep } from "../../src/ops/beams.ts";
import { continuations } from "../../src/ops/continuations.ts";
import { forbidTokens } from "../../src/ops/forbid.ts";
import { gpuTest } from "../device.ts";
import { normal } from "./harness.ts";

async function best(
  device: GraftDevice,
  { S, V, K, logits }: Record<"S" | "V" | "K", number> & { logits: Float64Array },
) {
  const graph = new Graph(device.target);
  const x = graph.leaf("input", "logits", [S, V]);
  const { scores, tokens } = continuations(x, K);
  const store = createStore(device);
  const program = await compile(graph, { store, keep: [scores, tokens] });
  write(program, x, Float32Array.from(logits));
  for (const value of [scores, tokens]) write(program, value, new Uint32Array(S * K).fill(12345));
  run(program);
  const [found, places] = await read(program, [scores, tokens]);
  program.destroy();
  release(store);
  return { scores: [...found!], tokens: [...new Uint32Array(places!.buffer)] };
}

for (const kind of ["software", "gpu", "default"] as const) {
  gpuTest(`continuations, ${kind} class: sizes, equal logits, all of a row`, async (device) => {
    for (const [S, V, K] of [[3, 1, 1], [2, 5, 5], [4, 64, 9], [2, 1003, 12]] as const) {
      const logits = normal(S * V, V).map((x) => Math.fround(Math.round(4 * x) * 2500)); // many are equal
      const expected = Array.from({ length: S }, (_, s) => {
        const row = [...logits.subarray(s * V, (s + 1) * V)].map((x, i) => ({ x, i }));
        return row.sort((a, b) => b.x - a.x || a.i - b.i).slice(0, K);
      }).flat();
      const { scores, tokens } = await best(device, { S, V, K, logits });
      assertEquals(tokens, expected.map(({ i }) => i));
      assertEquals(scores, expected.map(({ x }) => x));
    }
  }, { kind });
}

gpuTest("continuations of rows above one binding (forced to 4 KiB)", async (device) => {
  const S = 70, V = 15, K = 3;
  const logits = normal(S * V, 4);
  const { tokens } = await best(device, { S, V, K, logits });
  for (let s = 0; s < S; s++) {
    const row = [...logits.subarray(s * V, (s + 1) * V)];
    assertEquals(tokens[s * K], row.indexOf(Math.max(...row)));
  }
}, { maxBinding: 4096 });

Deno.test("the loops of beam search stay in their budget for large vocabularies and many beams", () => {
  for (const V of [50_257, 262_144]) {
    const group = { lanes: 8, shuffle: true };
    assert(continuationTrips({ V, K: beamCandidates({ W: 8, ends: [1] }), group }) < LOOP_BUDGET);
  }
  assert(chooseTrips({ W: 64, K: beamCandidates({ W: 64, ends: [1, 2] }) }) < LOOP_BUDGET);
});

gpuTest("forbidTokens: until a sequence has its length, the others as they are", async (device) => {
  const graph = new Graph(device.target);
  const x = graph.leaf("input", "x", [3, 5]);
  const words = (name: string) => graph.leaf("input", name, [3], { dtype: "u32" });
  const lengths = { position: words("position"), until: words("until") };
  const y = forbidTokens(x, lengths, [0, 3]);
  const store = createStore(device);
  const program = await compile(graph, { store, keep: [y] });
  write(program, x, Float32Array.from({ length: 15 }, (_, i) => i));
  write(program, lengths.position, Uint32Array.of(3, 4, 5));
  write(program, lengths.until, Uint32Array.of(5, 5, 5)); // tokens to have before: 4, 5 and 6 are there
  run(program);
  const [found] = await read(program, [y]);
  const low = Math.fround(-1e30);
  assertEquals([...found!], [low, 1, 2, low, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
  program.destroy();
  release(store);
});

Deno.test("beam search: shapes are checked", () => {
  const graph = new Graph();
  const logits = graph.leaf("input", "x", [4, 9]);
  const words = (name: string, shape: number[]) => graph.leaf("state", name, shape, { dtype: "u32" });
  const state = {
    floats: graph.leaf("state", "floats", [2, 4]),
    words: words("words", [2, 5]),
    powers: graph.leaf("state", "powers", [7]),
    current: words("current", [4]),
    position: words("position", [4]),
    tokens: words("tokens", [4, 8]),
    ended: words("ended", [4, 8]),
  };
  const rules = { W: 2, ends: [1], early: false, far: false };
  assertEquals(beamStep(logits, state, rules).shape, [2, 10]);
  assertThrows(() => beamStep(logits, { ...state, words: words("other", [2, 4]) }, rules), TypeError, "words must be");
  const few = graph.leaf("input", "few", [4, 1]);
  assertThrows(() => beamStep(few, state, rules), RangeError, "2 tokens for 4 candidates");
  assertThrows(() => continuations(logits, 10), RangeError, "Cannot keep 10 of 9 logits");
  assertEquals(forbidTokens(logits, { position: state.current, until: state.position }, []), logits);
});
