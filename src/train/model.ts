// A loaded model as users meet it. Every method is one call of a function beside it; methods run one after another.
import type { AdapterConfig } from "../adapters/mod.ts";
import type { Batch } from "../data/batch.ts";
import type { Tokenizer } from "../data/tokenizer.ts";
import type { GraftDevice } from "../gpu/device.ts";
import { release } from "../gpu/store.ts";
import type { WeightDType } from "../io/tensor_dtype.ts";
import { addAdapter, loadAdapter, type LoadAdapterOptions, saveAdapter, setAdapter } from "./adapters.ts";
import { forward, type ForwardResult, type GradientOptions, type GradientResult, gradients } from "./forward.ts";
import { generate, generateIds, type Prompts } from "./generate.ts";
import type { GenerateOptions } from "./generate_options.ts";
import { merge, saveMerged, unmerge } from "./merge.ts";
import { dropPrograms } from "./programs.ts";
import { activeAdapter, type ModelState } from "./state.ts";
import { adapterTensors, countTrained, unfreeze, weightTensors } from "./tensors.ts";

/**
 * A model on a device. Its weights are frozen unless {@linkcode Model.unfreeze} is called; adapters come and go.
 *
 * @example Usage
 * ```ts no-eval
 * import { loadModel, lora, openDevice } from "@graft/graft";
 *
 * const device = await openDevice();
 * const model = await loadModel(device, "models/smollm2");
 * await model.addAdapter(lora({ rank: 8, alpha: 16, targetModules: ["q_proj", "v_proj"] }));
 * const { loss } = await model.forward({ input_ids: [[1, 2, 3]], labels: [[1, 2, 3]] });
 * console.log(loss);
 * model.destroy();
 * ```
 */
export class Model {
  /**
   * What the model is made of; the functions of this folder work on it.
   *
   * @internal
   */
  readonly state: ModelState;
  #last: Promise<unknown> = Promise.resolve();

  /** Wrap a state; {@linkcode loadModel} makes it. */
  constructor(state: ModelState) {
    this.state = state;
  }

  /** The device it lives on. */
  get device(): GraftDevice {
    return this.state.device;
  }

  /**
   * The tokenizer of the model's folder.
   *
   * @throws {ModelError} `tokenizer/missing` if the folder has none.
   */
  get tokenizer(): Tokenizer {
    return this.state.tokenizer();
  }

  /** The name of the adapter in use. */
  get activeAdapter(): string | undefined {
    return activeAdapter(this.state)?.name;
  }

  /** Trained and all parameters. */
  get parameters(): { readonly trained: number; readonly total: number } {
    return countTrained(this.state);
  }

  /** The loss of a batch with labels, and the logits [B, T, V]. */
  forward(batch: Batch): Promise<ForwardResult> {
    return this.queue(() => forward(this.state, batch));
  }

  /** The loss of a batch and its gradient for every trained tensor, under PEFT's saved names. */
  gradients(batch: Batch, options: GradientOptions = {}): Promise<GradientResult> {
    return this.queue(() => gradients(this.state, batch, options));
  }

  /**
   * Put a fresh adapter on the model and use it.
   *
   * @throws {UsageError} `lora/no-target` listing the names that exist, `adapter/exists`.
   */
  addAdapter(config: AdapterConfig, options: { readonly name?: string; readonly seed?: number } = {}): Promise<void> {
    return this.queue(() => addAdapter(this.state, config, options));
  }

  /**
   * Load an adapter that PEFT or Graft saved and use it.
   *
   * @throws {CheckpointError} `adapter/keys` unless every tensor is used and every target got its own.
   */
  loadAdapter(path: string, options: LoadAdapterOptions = {}): Promise<void> {
    return this.queue(() => loadAdapter(this.state, path, options));
  }

  /** Save the adapter in use as PEFT does: adapter_config.json and adapter_model.safetensors. */
  saveAdapter(path: string): Promise<void> {
    return this.queue(() => saveAdapter(this.state, path));
  }

  /** Tensors of the adapter in use, by PEFT's saved names. */
  adapterTensors(): Promise<Map<string, Float32Array>> {
    return this.queue(() => adapterTensors(this.state));
  }

  /** All weights of the base, by their names in the checkpoint. */
  weights(): Promise<Map<string, Float32Array>> {
    return this.queue(() => weightTensors(this.state));
  }

  /** Use the adapter called `name`. */
  setAdapter(name: string): void {
    setAdapter(this.state, name);
  }

  /** Use no adapter: the model is its base, bit for bit. */
  disableAdapter(): void {
    setAdapter(this.state, undefined);
  }

  /** Train all weights from now on (full fine-tuning). */
  unfreeze(): Promise<void> {
    return this.queue(() => unfreeze(this.state));
  }

  /**
   * Fold the adapter in use into the weights.
   *
   * @throws {CheckpointError} `merge/already`, `merge/method` where no weights do the same; {@linkcode NumericError} `merge/non-finite`, with the base untouched.
   */
  merge(): Promise<void> {
    return this.queue(() => merge(this.state));
  }

  /** Undo {@linkcode Model.merge}: the base is restored bit for bit. */
  unmerge(): Promise<void> {
    return this.queue(() => unmerge(this.state));
  }

  /** Save a Hugging Face folder with the adapter in use folded in. */
  saveMerged(path: string, options: { readonly dtype?: WeightDType } = {}): Promise<void> {
    return this.queue(() => saveMerged(this.state, path, options));
  }

  /** Write a continuation of `prompt`, piece by piece. */
  generate(prompt: string, options: GenerateOptions = {}): AsyncGenerator<string, void, void> {
    return generate(this, prompt, options);
  }

  /** Continue every prompt of token ids; see {@linkcode generateIds}. */
  generateIds(prompts: Prompts, options: GenerateOptions = {}): Promise<number[][]> {
    return generateIds(this, prompts, options);
  }

  /** Run `body` after all calls before it: programs share scratch memory. */
  queue<T>(body: () => Promise<T>): Promise<T> {
    const next = this.#last.then(body, body);
    this.#last = next.catch(() => {});
    return next;
  }

  /** Free everything the model has on the device. */
  destroy(): void {
    dropPrograms(this.state);
    release(this.state.store);
  }
}
