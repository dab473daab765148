// Settings of bottleneck adapters. PEFT has none, so the file has a type of Graft's own; the placements and their
// defaults are those of the adapters library (SeqBn, DoubleSeqBn, ParBn).
import { ACTIVATION_NAMES, type ActivationName } from "../nn/activation.ts";
import {
  type ConfigBase,
  type ConfigFile,
  configFile,
  type Field,
  type FieldsOf,
  names,
  oneOf,
  real,
  share,
} from "./fields.ts";

/** Where the layers are: behind attention and feed-forward, behind the feed-forward, or beside the feed-forward. */
export type Placement = "houlsby" | "pfeiffer" | "parallel";

const factor: Field<number> = {
  ...real("reduction_factor", 16),
  must: "a number of at least 1",
  ok: (value) => typeof value === "number" && Number.isFinite(value) && value >= 1,
};

/** Settings of bottleneck adapters, complete. */
export interface BottleneckConfig extends ConfigBase {
  readonly type: "GRAFT_BOTTLENECK";
  /** Where the layers are. */
  readonly placement: Placement;
  /** Width of the model over width of the bottleneck. */
  readonly reductionFactor: number;
  /** Between the two layers. */
  readonly activation: ActivationName;
  /** Factor on the output. */
  readonly scale: number;
  /** Share of the layer's input that is dropped in training. */
  readonly dropout: number;
  /** Modules that are trained in full. */
  readonly modulesToSave: readonly string[];
}

const FIELDS: FieldsOf<BottleneckConfig> = {
  placement: oneOf<Placement>("placement", ["houlsby", "pfeiffer", "parallel"], "pfeiffer"),
  reductionFactor: factor,
  activation: oneOf<ActivationName>("non_linearity", ACTIVATION_NAMES, "relu"),
  scale: real("scaling", 1),
  dropout: share("dropout"),
  modulesToSave: names("modules_to_save"),
};

/** Settings of {@linkcode bottleneck}. */
export type BottleneckOptions = Partial<Omit<BottleneckConfig, "type">>;

/** The file. */
export const bottleneckFile: ConfigFile<BottleneckConfig> = configFile("GRAFT_BOTTLENECK", FIELDS, {
  title: "bottleneck",
});

const DEFAULTS: Readonly<Record<Placement, BottleneckOptions>> = {
  houlsby: { activation: "swish" },
  pfeiffer: {},
  parallel: { reductionFactor: 2, scale: 4 },
};

/**
 * Bottleneck adapters: two small layers with an activation between them, behind the attention and the feed-forward of
 * every layer (`"houlsby"`, arXiv:1902.00751), behind the feed-forward (`"pfeiffer"`, arXiv:2005.00247) or beside it
 * (`"parallel"`, arXiv:2110.04366). The other defaults are those of the placement. PEFT cannot read their files.
 *
 * @throws {ConfigError} `adapter/<field>` listing every setting that is wrong.
 */
export function bottleneck(options: BottleneckOptions = {}): BottleneckConfig {
  return bottleneckFile.create({ ...DEFAULTS[options.placement ?? "pfeiffer"], ...options });
}
