import { createModel, createTokenizer, loadTaskDataset, openDevice } from "@graft/graft";
import { probe } from "./lib/probe.ts";
import { USE_LITE_CONFIG, useLiteTensors, useLiteTokenizer } from "./lib/use_lite.ts";
const device = await openDevice(); const tensors = useLiteTensors(); const tokenizer = createTokenizer({ tokenizer: useLiteTokenizer() });
const encoder = await createModel(device, USE_LITE_CONFIG, { initial: ({ name }) => tensors.get(name) });
for (const n of [2000, 6920]) {
const data = await loadTaskDataset("/work/shared/datasets/sst2", { task: "sequence-classification", tokenizer, maxLength: 64, limit: n });
const held = await loadTaskDataset("/work/shared/datasets/sst2", { task: "sequence-classification", tokenizer, maxLength: 64, split: "test", limit: n===2000? 800: 2000 });
console.log(n, data.labels, await probe(encoder, data, held)); }
