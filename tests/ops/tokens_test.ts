// The text on the GPU: what a decoding program reads at its position, and writes behind prompts of different lengths.
import { assertEquals, assertThrows } from "@std/assert";
import { ShapeError } from "../../mod.ts";
import { readBack } from "../../src/gpu/buffer.ts";
import { compile, run, write } from "../../src/gpu/executable.ts";
import { createStore, put, release } from "../../src/gpu/store.ts";
import { Graph } from "../../src/graph/graph.ts";
import { advance } from "../../src/ops/decode.ts";
import { putToken, tokenAt } from "../../src/ops/tokens.ts";
import { gpuTest } from "../device.ts";

gpuTest("tokens: prompts stay, what follows them is written, the end is not overrun", async (device) => {
  const S = 3, Tmax = 5;
  const store = createStore(device);
  await put(store, "tokens", Uint32Array.of(10, 11, 12, 0, 0, 20, 0, 0, 0, 0, 30, 31, 32, 33, 34));
  await put(store, "position", new Uint32Array(S));
  const graph = new Graph(device.target);
  const tokens = graph.leaf("state", "tokens", [S, Tmax], { dtype: "u32" });
  const position = graph.leaf("state", "position", [S], { dtype: "u32" });
  const length = graph.leaf("input", "length", [S], { dtype: "u32" });
  const next = graph.leaf("input", "next", [S], { dtype: "u32" });
  const token = tokenAt(tokens, position);
  putToken(tokens, { next, length, position });
  advance(position);
  const program = await compile(graph, { store, keep: [token] });
  write(program, length, Uint32Array.of(3, 1, 5));
  const read: number[][] = [];
  for (let i = 0; i < 6; i++) {
    write(program, next, Uint32Array.of(100 + i, 200 + i, 300 + i));
    run(program);
    const [words] = await readBack(device, "token", [{ ...program.locate(token), length: S }]);
    read.push([...words!]);
  }
  assertEquals(read, [[10, 20, 30], [11, 200, 31], [12, 201, 32], [102, 202, 33], [103, 203, 34], [103, 203, 34]]);
  const [words] = await readBack(device, "tokens", [{
    buffer: store.buffers.get("tokens")!,
    offset: 0,
    length: S * Tmax,
  }]);
  assertEquals([...words!], [10, 11, 12, 102, 103, 20, 200, 201, 202, 203, 30, 31, 32, 33, 34]);
  program.destroy();
  release(store);
});

Deno.test("tokens: shapes that do not fit are refused", () => {
  const graph = new Graph();
  const tokens = graph.leaf("state", "tokens", [2, 8], { dtype: "u32" });
  const position = graph.leaf("state", "position", [3], { dtype: "u32" });
  assertThrows(() => tokenAt(tokens, position), ShapeError, "S=2");
});
