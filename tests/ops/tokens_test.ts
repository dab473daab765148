// The text on the GPU: what a decoding program writes behind prompts of different lengths.
import { assertEquals, assertThrows } from "@std/assert";
import { ShapeError } from "../../mod.ts";
import { readBack } from "../../src/gpu/buffer.ts";
import { compile, run, write } from "../../src/gpu/executable.ts";
import { createStore, put, release } from "../../src/gpu/store.ts";
import { Graph } from "../../src/graph/graph.ts";
import { putToken } from "../../src/ops/tokens.ts";
import { gpuTest } from "../device.ts";

gpuTest("tokens: every sequence goes on behind its position, and stays at its end", async (device) => {
  const S = 3, Tmax = 5;
  const store = createStore(device);
  await put(store, "tokens", Uint32Array.of(10, 11, 12, 0, 0, 20, 0, 0, 0, 0, 30, 31, 32, 33, 34));
  await put(store, "position", Uint32Array.of(2, 0, 4));
  await put(store, "current", Uint32Array.of(12, 20, 34));
  const graph = new Graph(device.target);
  const text = {
    tokens: graph.leaf("state", "tokens", [S, Tmax], { dtype: "u32" }),
    current: graph.leaf("state", "current", [S], { dtype: "u32" }),
    position: graph.leaf("state", "position", [S], { dtype: "u32" }),
  };
  const next = graph.leaf("input", "next", [S], { dtype: "u32" });
  putToken(text, next);
  const program = await compile(graph, { store });
  const words = async (name: string, length: number) => {
    const buffer = store.buffers.get(name)!;
    return [...(await readBack(device, name, [{ buffer, offset: 0, length }]))[0]!];
  };
  const positions: number[][] = [];
  for (let i = 0; i < 4; i++) {
    write(program, next, Uint32Array.of(100 + i, 200 + i, 300 + i));
    run(program);
    positions.push(await words("position", S));
  }
  assertEquals(positions, [[3, 1, 4], [4, 2, 4], [4, 3, 4], [4, 4, 4]]);
  assertEquals(await words("current", S), [101, 203, 34]);
  assertEquals(await words("tokens", S * Tmax), [10, 11, 12, 100, 101, 20, 200, 201, 202, 203, 30, 31, 32, 33, 34]);
  program.destroy();
  release(store);
});

Deno.test("tokens: shapes that do not fit are refused", () => {
  const graph = new Graph();
  const words = (name: string, ...shape: number[]) => graph.leaf("state", name, shape, { dtype: "u32" });
  const text = { tokens: words("tokens", 2, 8), current: words("current", 2), position: words("position", 3) };
  assertThrows(() => putToken(text, words("next", 2)), ShapeError, "S=2");
});
