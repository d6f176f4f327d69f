/**
 * Typed errors. Each has a stable `code` to branch on and a one-line message that says what was
 * wrong, where (stage, slot, file), and what would be right.
 *
 * @module
 */

/** The stable codes of every error that this project throws on purpose. */
export type ErrorCode =
  | "SHAPE"
  | "OPTION"
  | "INPUT"
  | "PIPELINE"
  | "REGISTRY"
  | "PACKAGE"
  | "DEVICE"
  | "DEVICE_LOST"
  | "MODEL"
  | "OUTPUT"
  | "TRAINING";

/**
 * The base of all errors that are somebody's to act on, as opposed to defects of this project.
 *
 * @example
 * ```ts
 * import { OvsError } from "@ovstage/ovstage";
 * try {
 *   throw new OvsError("INPUT", "cat.png: no such file");
 * } catch (error) {
 *   if (error instanceof OvsError) console.log(error.code); // "INPUT"
 * }
 * ```
 */
export class OvsError extends Error {
  /** What kind of thing went wrong; stable across versions. */
  readonly code: ErrorCode;

  /**
   * For subclasses to call.
   *
   * @param code The kind of thing that went wrong.
   * @param message One line: what, where, and what would be right.
   * @param options The underlying error as `cause`, where there is one.
   */
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** A tensor whose shape does not fit; the message names stage, slot and both shapes. */
export class ShapeError extends OvsError {
  /**
   * Says what is wrong and what would be right.
   *
   * @param message One line that names the stage and the slot.
   * @param options The underlying error as `cause`, where there is one.
   */
  constructor(message: string, options?: ErrorOptions) {
    super("SHAPE", message, options);
  }
}

/** An option outside its domain (`omega` 1.5, an unknown fuser's option …). */
export class OptionError extends OvsError {
  /**
   * Says what is wrong and what would be right.
   *
   * @param message One line that names the option, its value and its domain.
   * @param options The underlying error as `cause`, where there is one.
   */
  constructor(message: string, options?: ErrorOptions) {
    super("OPTION", message, options);
  }
}

/** Input from outside (a file, a class list) that can't be used. */
export class InputError extends OvsError {
  /**
   * Says what is wrong and what would be right.
   *
   * @param message One line that names the file or the entry at fault.
   * @param options The underlying error as `cause`, where there is one.
   */
  constructor(message: string, options?: ErrorOptions) {
    super("INPUT", message, options);
  }
}

/** A result that can't be written where it was asked for. */
export class OutputError extends OvsError {
  /**
   * Says what is wrong and what would be right.
   *
   * @param message One line that names the path.
   * @param options The underlying error as `cause`, where there is one.
   */
  constructor(message: string, options?: ErrorOptions) {
    super("OUTPUT", message, options);
  }
}

/** Stages that don't fit together, or a pipeline document that can't be read. */
export class PipelineError extends OvsError {
  /**
   * Says what is wrong and what would be right.
   *
   * @param message One line that names the stage and the slot.
   * @param options The underlying error as `cause`, where there is one.
   */
  constructor(message: string, options?: ErrorOptions) {
    super("PIPELINE", message, options);
  }
}

/** A role or name that nobody registered, or registered twice. */
export class RegistryError extends OvsError {
  /**
   * Says what is wrong and what would be right.
   *
   * @param message One line that names the role, the name and the known names.
   * @param options The underlying error as `cause`, where there is one.
   */
  constructor(message: string, options?: ErrorOptions) {
    super("REGISTRY", message, options);
  }
}

/** An optional package that is needed now and isn't installed. */
export class PackageError extends OvsError {
  /**
   * Says what is wrong and what would be right.
   *
   * @param message One line that names the package and says how to install it.
   * @param options The underlying error as `cause`, where there is one.
   */
  constructor(message: string, options?: ErrorOptions) {
    super("PACKAGE", message, options);
  }
}

/** A device that was asked for and can't be had. */
export class DeviceError extends OvsError {
  /**
   * Says what is wrong and what would be right.
   *
   * @param message One line that names the device and says what to do.
   * @param options The underlying error as `cause`, where there is one.
   */
  constructor(message: string, options?: ErrorOptions) {
    super("DEVICE", message, options);
  }
}

/** The WebGPU device went away; acquire another one and open the pipeline again. */
export class DeviceLostError extends OvsError {
  /**
   * Says what is wrong and what would be right.
   *
   * @param message One line with the driver's own reason.
   * @param options The underlying error as `cause`, where there is one.
   */
  constructor(message: string, options?: ErrorOptions) {
    super("DEVICE_LOST", message, options);
  }
}

/** A model file that is missing, cut short, or not what the stage expects. */
export class ModelError extends OvsError {
  /**
   * Says what is wrong and what would be right.
   *
   * @param message One line that names the model.
   * @param options The underlying error as `cause`, where there is one.
   */
  constructor(message: string, options?: ErrorOptions) {
    super("MODEL", message, options);
  }
}

/** Training that can't go on: a loss that is no number any more, or one that runs away. */
export class TrainingError extends OvsError {
  /**
   * Says what is wrong and what would be right.
   *
   * @param message One line that names the run, the step and the last good checkpoint.
   * @param options The underlying error as `cause`, where there is one.
   */
  constructor(message: string, options?: ErrorOptions) {
    super("TRAINING", message, options);
  }
}
