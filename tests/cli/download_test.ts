// `download` in a process of its own, from a Hub on this machine, and the model that it leaves in the cache.
import { assertEquals, assertStringIncludes } from "@std/assert";
import { COMMIT, withHub } from "../io/hub_server.ts";
import { FIXTURE, graft, permissionsOf } from "./harness.ts";
import { withFolder } from "../temp_folder.ts";

Deno.test("download: a model of the Hub is fetched once and then opened by its name", () =>
  withFolder((cache) =>
    withHub(async (hub) => {
      for (const name of ["config.json", "model.safetensors"]) {
        hub.files.set(name, await Deno.readFile(`${FIXTURE}/model/${name}`));
      }
      const env = { HF_HUB_CACHE: cache };
      const local = { env, permissions: [...permissionsOf("download"), "--allow-net=127.0.0.1"] };
      const before = await graft(["evaluate", "--model", "org/tiny"], { env });
      assertEquals(before.code, 2);
      assertStringIncludes(before.stderr, "deno task download org/tiny");

      const { code, stdout, stderr } = await graft(["download", "org/tiny", "--endpoint", hub.endpoint], local);
      assertEquals(code, 0, stderr);
      assertStringIncludes(stdout, "org/tiny: 2 files");
      assertStringIncludes(stdout, `models--org--tiny/snapshots/${COMMIT}`);

      const inspected = await graft(["inspect", "org/tiny"], { env });
      assertEquals(inspected.code, 0, inspected.stderr);
      assertStringIncludes(inspected.stdout, "nothing is wrong with it");
    })
  ));

Deno.test("download: wrong names, addresses and tokens are refused together; the network needs a permission", async () => {
  const wrong = await graft(["download", "gpt2", "--endpoint", "ftp://x", "--token-file", "none.txt"]);
  assertEquals(wrong.code, 2);
  for (const text of ['received "gpt2"', "--endpoint must be", '"none.txt"']) assertStringIncludes(wrong.stderr, text);
  const refused = await graft(["download", "org/tiny", "--endpoint", "http://127.0.0.1:1999", "--cache", "runs"]);
  assertEquals(refused.code, 1);
  assertStringIncludes(refused.stderr, "--allow-net");
});
