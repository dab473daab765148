// What `download` fetches, resumes, verifies and refuses.
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { createHash } from "node:crypto";
import { FormatError, IoError, ModelError } from "../../src/core/errors.ts";
import { cachedSnapshot, hubNameOf, parseHubName } from "../../src/io/hub_cache.ts";
import { type Download, downloadModel, type DownloadOptions } from "../../src/io/hub_download.ts";
import { COMMIT, gitHash, type Hub, withHub } from "./hub_server.ts";
import { withFolder } from "../temp_folder.ts";

const encoder = new TextEncoder();

type Fetch = (options?: Partial<DownloadOptions>) => Promise<Download>;

function hubTest(name: string, body: (hub: Hub, cache: string, fetch: Fetch) => Promise<void>): void {
  Deno.test(`hub: ${name}`, () =>
    withFolder((cache) =>
      withHub((hub) =>
        body(
          hub,
          cache,
          (options) => downloadModel({ name: "org/tiny", revision: "main", cache, endpoint: hub.endpoint, ...options }),
        )
      )
    ));
}

hubTest(
  "a model lands in the cache as huggingface_hub lays it out, and is not fetched twice",
  async (hub, cache, fetch) => {
    const seen: number[] = [];
    const { folder, files, bytes } = await fetch({ progress: ({ done }) => seen.push(done) });
    assertEquals(folder, `${cache}/models--org--tiny/snapshots/${COMMIT}`);
    assertEquals(files, ["config.json", "model.safetensors"]);
    assertEquals(bytes, 50_002);
    assertEquals(seen.at(-1), bytes);
    assertEquals(await Deno.readFile(`${folder}/model.safetensors`), hub.files.get("model.safetensors"));
    assertEquals(await Deno.readLink(`${folder}/config.json`), `../../blobs/${gitHash(encoder.encode("{}"))}`);
    assertEquals(await Deno.readTextFile(`${cache}/models--org--tiny/refs/main`), COMMIT);
    assertEquals(await cachedSnapshot(cache, { name: "org/tiny", revision: "main" }), folder);
    assertEquals(await cachedSnapshot(cache, { name: "org/tiny", revision: "v2" }), undefined);
    hub.requests.splice(0);
    await fetch();
    assert(hub.requests.every((request) => request.startsWith("/api/")), hub.requests.join("\n"));
  },
);

hubTest("a connection that breaks is taken up again where it broke", async (hub, _, fetch) => {
  hub.breakAfter = 20_000;
  const { folder } = await fetch();
  assertEquals(await Deno.readFile(`${folder}/model.safetensors`), hub.files.get("model.safetensors"));
  const ranges = hub.requests.filter((r) => /model\.safetensors bytes=[1-9]/.test(r)).map((r) => r.split(" ")[1]);
  assertEquals(ranges, ["bytes=20000-49999", "bytes=40000-49999"]);
});

hubTest("a download that was stopped goes on from its .incomplete file", async (hub, cache, fetch) => {
  const data = hub.files.get("model.safetensors")!;
  const blob = `${cache}/models--org--tiny/blobs/${createHash("sha256").update(data).digest("hex")}`;
  await Deno.mkdir(`${cache}/models--org--tiny/blobs`, { recursive: true });
  await Deno.writeFile(`${blob}.incomplete`, data.slice(0, 30_000));
  await fetch();
  assertEquals(await Deno.readFile(blob), data);
  assert(hub.requests.some((request) => request.endsWith("model.safetensors bytes=30000-49999")));
});

hubTest(
  "what arrives changed is deleted and refused; no name stands for half a snapshot",
  async (hub, cache, fetch) => {
    hub.damaged.add("model.safetensors");
    const error = await assertRejects(() => fetch(), FormatError, "its hash must be");
    assertEquals(error.code, "hub/checksum");
    for await (const { name } of Deno.readDir(`${cache}/models--org--tiny/blobs`)) {
      assert(
        !name.endsWith(".incomplete"),
      );
    }
    assertEquals(await cachedSnapshot(cache, { name: "org/tiny", revision: "main" }), undefined);
  },
);

hubTest("shards are fetched with their index, and other copies of the weights are not", async (hub, _, fetch) => {
  hub.files.delete("model.safetensors");
  for (const name of ["model.safetensors.index.json", "consolidated.safetensors"]) {
    hub.files.set(name, encoder.encode("[]"));
  }
  for (const i of [1, 2]) hub.files.set(`model-0000${i}-of-00002.safetensors`, encoder.encode(`shard ${i}`));
  assertEquals((await fetch()).files, [
    "config.json",
    "model.safetensors.index.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
  ]);
});

hubTest("pickled weights are refused with the way out", async (hub, _, fetch) => {
  hub.files.delete("model.safetensors");
  const error = await assertRejects(() => fetch(), ModelError, "received pytorch_model.bin");
  assertEquals(error.code, "model/pickle");
  assertStringIncludes(error.message, "huggingface.co/spaces/safetensors/convert");
  assert(hub.requests.every((request) => request.startsWith("/api/")));
});

hubTest("what the Hub refuses, and a Hub that is away, are told apart", async (hub, _, fetch) => {
  for (const [status, code] of [[401, "hub/access"], [403, "hub/access"], [404, "hub/not-found"]] as const) {
    hub.status = status;
    assertEquals((await assertRejects(() => fetch(), ModelError)).code, code);
  }
  const error = await assertRejects(
    () => fetch({ endpoint: "http://127.0.0.1:1999" }),
    IoError,
    "goes on where it stopped",
  );
  assertEquals(error.code, "hub/network");
});

hubTest("names from the Hub cannot leave the cache", async (hub, cache, fetch) => {
  hub.files.set("../../../escape/config.json", encoder.encode("{}"));
  hub.files.set("..\\tokenizer.json", encoder.encode("{}"));
  assertEquals((await fetch()).files, ["config.json", "model.safetensors"]);
  assertEquals([...Deno.readDirSync(cache)].map(({ name }) => name), ["models--org--tiny"]);
});

Deno.test("hub: names of models", () => {
  assertEquals(parseHubName("org/name"), { name: "org/name", revision: "main" });
  assertEquals(parseHubName("org/name@refs/pr/3"), { name: "org/name", revision: "refs/pr/3" });
  for (const text of ["gpt2", "a/b/c", "../x", "a/..", "org/name@../../x", "a--b/c", "./models", "/abs/path", "a/b@"]) {
    assertEquals(parseHubName(text), undefined, text);
  }
  assertEquals(hubNameOf(`/cache/models--org--name/snapshots/${COMMIT}`), "org/name");
  assertEquals(hubNameOf("models/smollm2"), "models/smollm2");
});
