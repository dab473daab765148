// Question answering: a real encoder (Universal Sentence Encoder Lite, npm) learns with LoRA and a new head where in a
// text the answer to a question begins and ends; on facts about people, or on a file of SQuAD's form.
//
//   deno run --allow-read examples/question_answering.ts [file, such as ../shared/datasets/qa-t0/adversarial_qa.squad.jsonl]
import {
  closeDevice,
  createModel,
  createTokenizer,
  loadTaskDataset,
  lora,
  openDevice,
  readJsonl,
  taskMetrics,
  taskPredictions,
  train,
} from "@graft/graft";
import { USE_LITE_CONFIG, useLiteTensors, useLiteTokenizer } from "./lib/use_lite.ts";

/** Facts about people who do not exist; which place goes with whom differs between the rows. */
function facts(count: number): Record<string, unknown>[] {
  const names = ["Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry", "Ivy", "Jack", "Kate", "Leo"];
  const places = ["Paris", "London", "Rome", "Boston", "Tokyo", "Berlin", "Madrid", "Dublin", "Chicago", "Vienna"];
  const jobs = ["doctor", "baker", "teacher", "lawyer", "farmer", "pilot", "nurse", "painter", "singer", "judge"];
  const pick = (list: readonly string[], n: number) => list[n % list.length]!;
  return Array.from({ length: count }, (_, i) => {
    const name = pick(names, i), place = pick(places, i * 7 + Math.floor(i / 12)), job = pick(jobs, i * 3 + i % 7);
    const context = `${name} has lived in ${place} for ten years and works there as a ${job}.`;
    const [question, answer] = i % 2 ? [`Where does ${name} live?`, place] : [`What is the job of ${name}?`, job];
    return { question, context, answers: { text: [answer], answer_start: [context.indexOf(answer)] } };
  });
}

const [file, limit = "60"] = Deno.args;
const rows: Record<string, unknown>[] = file ? [] : facts(300);
if (file) {
  for await (const { value } of readJsonl(file)) if (rows.push(value) === Number(limit)) break;
}
const device = await openDevice();
const tensors = useLiteTensors();
const tokenizer = createTokenizer({ tokenizer: useLiteTokenizer() });
const config = { ...USE_LITE_CONFIG, architectures: ["UseLiteForQuestionAnswering"] };
const model = await createModel(device, config, { initial: ({ name }) => tensors.get(name) });
const reading = { task: "question-answering", tokenizer, maxLength: 128, stride: 16 } as const;
const data = await loadTaskDataset(rows.filter((_, i) => i % 5 !== 0), reading);
const held = await loadTaskDataset(rows.filter((_, i) => i % 5 === 0), reading);
await model.addAdapter(lora({ rank: 8, alpha: 16, targetModules: "all-linear" }));

const measure = async () => {
  const found = await taskPredictions(model, held);
  const { exact_match, f1 } = taskMetrics(found);
  return { exact: exact_match!, f1: f1!, ...found };
};
const before = await measure();
for await (
  const { step, steps, loss } of train(model, { data, batchSize: 16, learningRate: 3e-3, epochs: file ? 3 : 2 })
) {
  if (step % 10 === 0) console.log(`step ${step}/${steps}  loss ${loss.toFixed(3)}`);
}
const after = await measure();
console.log(`${data.examples.length} windows learned, ${held.rows.length} questions tested`);
for (const [name, { exact, f1 }] of Object.entries({ before, after })) {
  console.log(`${name.padEnd(7)} exact match ${exact.toFixed(3)}, F1 ${f1.toFixed(3)}`);
}
for (let i = 0; i < 3; i++) {
  const { question } = held.rows[i] as unknown as { readonly question: string };
  console.log(`${question} — ${after.predictions[i]} (right: ${(after.references[i] as string[]).join(" | ")})`);
}
// Few questions of a real set teach little.
const needed = file ? before.f1 : 0.9;
if (!(after.f1 > needed)) {
  throw new Error(`Cannot call this a success: F1 is ${after.f1}, more than ${needed} was needed`);
}
model.destroy();
closeDevice(device);
