/**
 * Checkpoints: a training run in one safetensors file, from which it goes on as if it had never stopped.
 *
 * The weights stand under their own names, so that the file is a file of weights too; what belongs to the run has a prefix.
 *
 * @module
 */
import { type NumericArray, readSafetensors, writeSafetensors } from "../data/mod.ts";
import type { tf } from "../tensor/mod.ts";
import type { TrainStep } from "./step.ts";

/** What is told of a run beside its tensors. All randomness follows from the seed and the number of the update. */
export interface RunRecord {
  readonly optimizer: string;
  /** Updates of the step, from its making. */
  readonly count: number;
  /** Everything else that the loop wants to know again. */
  readonly run: unknown;
}

const FORMAT = "tessera training checkpoint 1";
const MOMENT = "optimizer.";

/** Prefixes of what is not a weight of the model as it stands. */
export const runPrefixes: readonly string[] = [MOMENT, "best.", "history."];

/**
 * Writes a checkpoint, completely or not at all.
 *
 * @param more Further arrays, under names with one of {@link runPrefixes}.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { sgd, trainStep } from "tessera/train/mod.ts";
 * const w = tf.variable(tf.scalar(3));
 * const step = trainStep(() => w.square(), sgd({ learningRate: 0.25 }), { w });
 * step();
 * const file = await Deno.makeTempFile({ suffix: ".safetensors" });
 * await writeCheckpoint(file, step, { seed: 1 });
 * step();
 * assert.deepEqual((await readCheckpoint(file, step)).run, { seed: 1 });
 * assert.deepEqual([w.arraySync(), step.count], [1.5, 1]);
 * await Deno.remove(file);
 * ```
 */
export async function writeCheckpoint<Args extends unknown[]>(
  file: string | URL,
  step: TrainStep<Args>,
  run: unknown,
  more: ReadonlyMap<string, NumericArray> = new Map(),
): Promise<void> {
  const arrays = new Map(await arraysOf(step.variables));
  for (const [name, array] of await arraysOf(step.moments)) arrays.set(MOMENT + name, array);
  for (const [name, array] of more) arrays.set(name, array);
  const record: RunRecord = { optimizer: step.optimizer.name, count: step.count, run };
  await writeSafetensors(file, arrays, { format: FORMAT, run: JSON.stringify(record) });
}

/**
 * Reads a checkpoint into a step: variables, moments and number of updates are then as they were.
 *
 * @param check Throws if what the loop has told of the run does not fit; before anything is changed.
 * @returns What the loop has told of the run, and the arrays that are neither weights nor moments.
 * @throws {Error} If the file is no checkpoint, or one of another model or optimizer; the step is then as before.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { dataFolder } from "tessera/data/mod.ts";
 * import { sgd, trainStep } from "tessera/train/mod.ts";
 * const w = tf.variable(tf.scalar(3));
 * const step = trainStep(() => w.square(), sgd({ learningRate: 0.25 }), { w });
 * await assert.rejects(readCheckpoint(new URL("vit-nano/mnist.safetensors", dataFolder), step), /is no checkpoint/);
 * ```
 */
export async function readCheckpoint<Args extends unknown[]>(
  file: string | URL,
  step: TrainStep<Args>,
  check: (run: unknown) => void = () => {},
): Promise<{ run: unknown; more: Map<string, NumericArray> }> {
  const { tensors, metadata } = await readSafetensors(file);
  if (metadata.format !== FORMAT) {
    throw new Error(`${file} is no checkpoint of a training run; remove it, or name another file`);
  }
  const { optimizer, count, run }: RunRecord = JSON.parse(metadata.run);
  if (optimizer !== step.optimizer.name) {
    throw new Error(
      `${file} was made with ${optimizer}, but the step has ${step.optimizer.name}; remove it, or name another file`,
    );
  }
  check(run);
  const variables = new Map<string, NumericArray>();
  const moments = new Map<string, NumericArray>();
  const more = new Map<string, NumericArray>();
  for (const [name, array] of tensors) {
    if (name.startsWith(MOMENT)) moments.set(name.slice(MOMENT.length), array);
    else if (runPrefixes.some((prefix) => name.startsWith(prefix))) more.set(name, array);
    else variables.set(name, array);
  }
  try {
    step.restore({ variables, moments, count });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`${file} is a checkpoint of another model: ${why}`, { cause: error });
  }
  return { run, more };
}

/**
 * Tensors as arrays, read back from the device.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const arrays = await arraysOf(new Map([["w", tf.tensor1d([1, 2])]]));
 * assert.deepEqual([...arrays.get("w")!.data], [1, 2]);
 * ```
 */
export async function arraysOf(tensors: ReadonlyMap<string, tf.Tensor>): Promise<Map<string, NumericArray>> {
  const arrays = new Map<string, NumericArray>();
  for (const [name, tensor] of tensors) {
    const data = Float32Array.from(await tensor.data());
    arrays.set(name, { shape: [...tensor.shape], dtype: "float32", data });
  }
  return arrays;
}
