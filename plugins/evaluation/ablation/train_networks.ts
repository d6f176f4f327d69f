/**
 * The training runs of an ablation, one after the other.
 *
 * @module
 */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { InputError } from "../../../lib/errors.ts";
import { CheckpointFolder, differences, type JsonObject } from "../../training/checkpoint.ts";
import { writeError, writeTextAtomically } from "../../training/run_files.ts";
import { runTraining } from "../../training/run_training.ts";
import { openTowers, towersFingerprint } from "../../training/towers.ts";
import { totalSteps } from "../../training/train_config.ts";
import { identityOf } from "../../training/trainer.ts";
import type { Network } from "./ablation_work.ts";

/** How far the training of all networks has come. */
export interface TrainNetworksProgress {
  /** The network under way. */
  readonly network: string;
  /** Steps done, of all networks. */
  readonly done: number;
  /** Steps in all. */
  readonly total: number;
  /** Loss of the last step. */
  readonly loss: number;
  /** Seconds that a step takes. */
  readonly secondsPerStep: number;
}

/** Options of {@linkcode trainNetworks}. */
export interface TrainNetworksOptions {
  /** Saves a checkpoint after the step under way, and stops. */
  readonly signal?: AbortSignal | undefined;
  /** Called after every step. */
  readonly onProgress?: ((progress: TrainNetworksProgress) => void) | undefined;
  /** Told what a person may want to know, in a line. */
  readonly onNote?: ((note: string) => void) | undefined;
}

const recordName = "trained.json";

/** What defines a trained network. */
function identify({ config }: Network, towers: string): JsonObject {
  return JSON.parse(JSON.stringify(identityOf(config, { towers }))) as JsonObject;
}

/** What was noted when a network was trained; null where it isn't, or not to the end. */
function readRecord({ config }: Network): JsonObject | null {
  const path = join(config.out, recordName);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return null;
  }
  try {
    return JSON.parse(text) as JsonObject;
  } catch (cause) {
    throw new InputError(`${path}: is damaged: ${(cause as Error).message}`, { cause });
  }
}

/**
 * The fingerprint of the towers that all networks of a plan share.
 *
 * @throws {ModelError} If there are none.
 */
export async function networkTowers(networks: readonly Network[]): Promise<string> {
  return towersFingerprint(await openTowers(networks[0]!.config.encoder));
}

/**
 * Whether a network is trained, and its models are there.
 *
 * @param towers See {@linkcode networkTowers}.
 * @throws {InputError} If its folder holds the network of another plan; says where they differ.
 */
export function isTrained(network: Network, towers: string): boolean {
  const record = readRecord(network);
  if (record === null) return false;
  const found = differences(record, identify(network, towers));
  if (found.length === 0) return existsSync(join(network.config.out, "models"));
  const shown = found.slice(0, 3).join("; ");
  const more = found.length > 3 ? `; and ${found.length - 3} more` : "";
  throw new InputError(
    `${network.config.out}: holds a network of another plan: ${shown}${more}; choose another ` +
      "folder with --out, or remove this one",
  );
}

/** Steps that an unfinished network has behind it, by its newest checkpoint's name. */
export function stepsDone({ config }: Network): number {
  return new CheckpointFolder(config.out).steps().at(-1) ?? 0;
}

/**
 * Trains what isn't trained yet, each network as `ovs train` does, from its newest checkpoint on.
 *
 * @param networks The networks, in the order of training.
 * @throws {InputError} If a folder holds the network of another plan.
 * @throws {ModelError} If the towers or a checkpoint can't be used.
 * @throws {OutputError} If something can't be written.
 * @throws {TrainingError} If a loss is no number any more, or runs away.
 * @throws The signal's reason once it is aborted; called again, it goes on from there.
 */
export async function trainNetworks(
  networks: readonly Network[],
  { signal, onProgress, onNote }: TrainNetworksOptions = {},
): Promise<void> {
  const towers = await networkTowers(networks);
  // All folders are looked at before hours go into the first.
  const isDone = networks.map((network) => isTrained(network, towers));
  const steps = networks.map(({ config }) => totalSteps(config));
  const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);
  for (const [i, network] of networks.entries()) {
    if (isDone[i]) continue;
    signal?.throwIfAborted();
    const { config, name } = network;
    const before = sum(steps.filter((_, other) => isDone[other]));
    try {
      mkdirSync(config.out, { recursive: true });
    } catch (cause) {
      throw writeError(config.out, cause);
    }
    const { finished } = await runTraining(config, {
      resume: true,
      ...(signal === undefined ? {} : { signal }),
      // Of many runs, only what is out of the ordinary.
      onNote: (note) => note.startsWith("refused ") && onNote?.(`${name}: ${note}`),
      onProgress({ step, loss, samplesPerSecond }) {
        onProgress?.({
          network: name,
          done: before + step,
          total: sum(steps),
          loss,
          secondsPerStep: config.batch / samplesPerSecond,
        });
      },
    });
    if (!finished) {
      signal?.throwIfAborted();
      throw new Error(`training of ${name} ended before its last step`);
    }
    const record = JSON.stringify(identify(network, towers), null, 2) + "\n";
    writeTextAtomically(join(config.out, recordName), record);
    isDone[i] = true;
  }
}
