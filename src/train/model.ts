// A loaded model as users meet it. Every method is one call of a function beside it; methods run one after another.
import type { AdapterConfig } from "../adapters/mod.ts";
import type { Batch } from "../data/batch.ts";
import type { Tokenizer } from "../data/tokenizer.ts";
import type { GraftDevice } from "../gpu/device.ts";
import { release } from "../gpu/store.ts";
import { deleteAdapter, loadAdapters, saveAdapters } from "./adapter_set.ts";
import {
  addAdapter,
  type AddAdapterOptions,
  enableAdapter,
  loadAdapter,
  type LoadAdapterOptions,
  saveAdapter,
  type SaveAdapterOptions,
  setAdapter,
} from "./adapters.ts";
import { combineAdapters, type CombineAdaptersOptions } from "./combine.ts";
import {
  forward,
  type ForwardOptions,
  type ForwardResult,
  type GradientOptions,
  type GradientResult,
  gradients,
} from "./forward.ts";
import { generate, generateIds, type Prompts } from "./generate.ts";
import type { GenerateOptions } from "./generate_options.ts";
import { merge, saveMerged, type SaveMergedOptions, unmerge } from "./merge.ts";
import { predict, type PredictInput, type PredictionOf, type PredictOptions } from "./predict.ts";
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

  /** The names of all adapters. */
  get adapters(): readonly string[] {
    return [...this.state.adapters.keys()];
  }

  /** Trained and all parameters. */
  get parameters(): { readonly trained: number; readonly total: number } {
    return countTrained(this.state);
  }

  /** The loss of a batch with labels, and the logits [B, T, V]. */
  forward(batch: Batch, options: ForwardOptions = {}): Promise<ForwardResult> {
    return this.queue(() => forward(this.state, batch, options));
  }

  /** The loss of a batch and its gradient for every trained tensor, under PEFT's saved names. */
  gradients(batch: Batch, options: GradientOptions = {}): Promise<GradientResult> {
    return this.queue(() => gradients(this.state, batch, options));
  }

  /**
   * Put a fresh adapter on the model, or on top of another adapter that stays as it is, and use it.
   *
   * @throws {UsageError} `lora/no-target` listing the names that exist, `adapter/exists`.
   */
  addAdapter(config: AdapterConfig, options: AddAdapterOptions = {}): Promise<void> {
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

  /**
   * Load all adapters of a folder, as PEFT saves several: "default" in the folder itself, others in folders of their
   * names. The first one is used.
   *
   * @returns Their names.
   */
  loadAdapters(path: string, options: Pick<LoadAdapterOptions, "warn"> = {}): Promise<string[]> {
    return this.queue(() => loadAdapters(this.state, path, options));
  }

  /** Save an adapter, the one in use by default, as PEFT does: adapter_config.json and adapter_model.safetensors. */
  saveAdapter(path: string, options: SaveAdapterOptions = {}): Promise<void> {
    return this.queue(() => saveAdapter(this.state, path, options));
  }

  /** Save all adapters as PEFT does: "default" in the folder itself, others in folders of their names. */
  saveAdapters(path: string): Promise<void> {
    return this.queue(() => saveAdapters(this.state, path));
  }

  /**
   * Make a LoRA adapter from several by PEFT's rules (add_weighted_adapter) and use it.
   *
   * @throws {UsageError} `adapter/combine` listing what does not fit together.
   *
   * @example Usage
   * ```ts no-eval
   * await model.combineAdapters(["poems", "letters"], { weights: [0.7, 0.3], combination: "ties", density: 0.5 });
   * ```
   */
  combineAdapters(names: readonly string[], options: CombineAdaptersOptions = {}): Promise<void> {
    return this.queue(() => combineAdapters(this.state, names, options));
  }

  /** Remove the adapter called `name` and free what it has on the device; without it in use, the base is used. */
  deleteAdapter(name: string): Promise<void> {
    return this.queue(() => Promise.resolve(deleteAdapter(this.state, name)));
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

  /** Use the adapter that was in use before {@linkcode Model.disableAdapter} again. */
  enableAdapter(): void {
    enableAdapter(this.state);
  }

  /** Train all weights from now on (full fine-tuning). */
  unfreeze(): Promise<void> {
    return this.queue(() => unfreeze(this.state));
  }

  /**
   * Fold the adapter in use, or those that are named, one after another, into the weights.
   *
   * @throws {CheckpointError} `merge/already`, `merge/method` where no weights do the same; {@linkcode NumericError} `merge/non-finite`, with the base untouched.
   */
  merge(adapters?: readonly string[]): Promise<void> {
    return this.queue(() => merge(this.state, adapters));
  }

  /** Undo {@linkcode Model.merge}: the base is restored bit for bit. */
  unmerge(): Promise<void> {
    return this.queue(() => unmerge(this.state));
  }

  /** Save a Hugging Face folder with the adapter in use, or those that are named, folded in. */
  saveMerged(path: string, options: SaveMergedOptions = {}): Promise<void> {
    return this.queue(() => saveMerged(this.state, path, options));
  }

  /**
   * What the model says of texts, tagged words or questions, as its task is: see {@linkcode predict}.
   *
   * @throws {UsageError} `usage/task` where the model has another task.
   */
  predict<I extends PredictInput>(inputs: readonly I[], options: PredictOptions = {}): Promise<PredictionOf<I>[]> {
    return predict(this, inputs, options);
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
