// Numbers that were chosen by measuring, in one place.

/** Longest example in tokens, where the model knows as many positions. */
export const MAX_LENGTH = 512;

/**
 * The job without options: the bundled base and data. With these the whole of it, evaluations and samples included,
 * takes less than three minutes on two CPU cores with the software driver.
 */
export const BUNDLED = {
  learningRate: 3e-3,
  targetModules: "all-linear",
  batchSize: 8,
  epochs: 2,
  maxLength: 256,
  warmupSteps: 5,
} as const;

/** Rows of each domain that are evaluated before and after. */
export const EVAL_ROWS = 100;

/**
 * How a sample text is written: drawn, since small models repeat themselves when they always take the likeliest token,
 * and with one seed, so that before and after differ by the training alone.
 */
export const SAMPLING = { maxNewTokens: 40, temperature: 0.3 } as const;

/** Tokens of a row without a prompt that open a sample. */
export const OPENING_TOKENS = 12;
