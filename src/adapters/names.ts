// Names of tensors: PEFT saves others than it has in memory.

/** The saved name of what PEFT calls `name` in memory, for the adapter called "default". */
export function savedName(name: string): string {
  const plain = name.replace(/\.modules_to_save\.default(?=\.)/, "").replace(".default", "");
  if (plain === "prompt_encoder.embedding.weight") return "prompt_embeddings";
  return plain.replace(/\.lora_magnitude_vector\.weight$/, ".lora_magnitude_vector");
}
