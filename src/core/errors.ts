// Every error that a user can meet, in one form: "Cannot X as Y: received Z", the place, and the next step.

/** Options of a {@linkcode GraftError}. */
export interface GraftErrorOptions {
  /** What to do next, one sentence. */
  readonly hint?: string;
  /** The file concerned. */
  readonly path?: string;
  /** The line of the file concerned, counted from 1. */
  readonly line?: number;
  /** The error that led to this one. */
  readonly cause?: unknown;
}

/** An error with a stable `code` such as `"st/offset"`, which scripts may test. */
export class GraftError extends Error {
  override readonly name: string = "GraftError";
  /** What to do next. */
  readonly hint: string | undefined;
  /** The file concerned. */
  readonly path: string | undefined;
  /** The line of the file concerned, counted from 1. */
  readonly line: number | undefined;
  /** A stable name of the problem, such as `"st/offset"`. */
  readonly code: string;

  /** Make an error; the message gets the place in front and the hint behind. */
  constructor(code: string, message: string, { hint, path, line, cause }: GraftErrorOptions = {}) {
    const place = path === undefined ? "" : `${printable(path)}${line === undefined ? "" : `:${line}`}: `;
    super(`${place}${message}${hint === undefined ? "" : `\n  ${hint}`}`, cause === undefined ? {} : { cause });
    this.code = code;
    this.hint = hint;
    this.path = path;
    this.line = line;
  }
}

/** The command line or an option is wrong; nothing was done. Exit code 2. */
export class UsageError extends GraftError {
  override readonly name = "UsageError";
}
/** A data file cannot be used. */
export class DataError extends GraftError {
  override readonly name = "DataError";
}
/** A file breaks its format. */
export class FormatError extends GraftError {
  override readonly name = "FormatError";
}
/** A model folder cannot be used. */
export class ModelError extends GraftError {
  override readonly name = "ModelError";
}
/** The GPU or its driver failed, or cannot do what is asked. */
export class DeviceError extends GraftError {
  override readonly name = "DeviceError";
}
/** The work does not fit in memory. */
export class OutOfMemoryError extends GraftError {
  override readonly name = "OutOfMemoryError";
}
/** A number that must be finite is not. */
export class NumericError extends GraftError {
  override readonly name = "NumericError";
}
/** An adapter or checkpoint cannot be used. */
export class CheckpointError extends GraftError {
  override readonly name = "CheckpointError";
}
/** A file of the user's points outside of where it may. */
export class SecurityError extends GraftError {
  override readonly name = "SecurityError";
}
/** The file system refused. */
export class IoError extends GraftError {
  override readonly name = "IoError";
}

/** A configuration has problems; all of them are listed. */
export class ConfigError extends GraftError {
  override readonly name = "ConfigError";
  /** One sentence for each problem. */
  readonly problems: readonly string[];

  /** Make an error from the problems of one `what`, such as `"adapter_config.json"`. */
  constructor(code: string, what: string, problems: readonly string[], options: GraftErrorOptions = {}) {
    super(code, `Cannot use ${what}:\n${problems.map((p) => `  - ${p}`).join("\n")}`, options);
    this.problems = problems;
  }
}

/** A value does not have the shape an op asks for. */
export class ShapeError extends TypeError {
  override readonly name = "ShapeError";

  /** Make an error: `expected` is a pattern such as `"N D"`, `known` the sizes of its letters so far. */
  constructor(
    op: string,
    input: string,
    expected: string,
    received: readonly number[],
    known: Readonly<Record<string, number>> = {},
  ) {
    const want = expected.split(" ").map((l) => l in known ? `${l}=${known[l]}` : l).join(", ");
    super(`Cannot apply ${op} as ${input} must be [${want}]: received [${received.join(", ")}]`);
  }
}

/** A gradient is needed where an op has none. */
export class GradError extends Error {
  override readonly name = "GradError";
}

/** `text` with control and bidirectional characters escaped, so that untrusted names cannot steer a terminal. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\u2028\u2029]/gu,
    (c) => `\\u{${c.codePointAt(0)!.toString(16)}}`,
  );
}
