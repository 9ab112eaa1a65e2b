/**
 * What PyTorch gives for layers, losses, optimizers and schedules: `torch_cases.json`, written by `torch_cases.py`.
 *
 * @module
 */
import assert from "node:assert/strict";
import { tf } from "tessera/tensor/mod.ts";

/** Nested lists of numbers. */
export type Numbers = number | readonly Numbers[];

/** One case. */
export interface TorchCase {
  name: string;
  options: Record<string, unknown>;
  inputs: Record<string, Numbers>;
  parameters: Record<string, Numbers>;
  output: Numbers;
  gradients: Record<string, Numbers>;
  norms?: number[];
}

const file: { source: string; cases: TorchCase[] } = JSON.parse(
  Deno.readTextFileSync(new URL("./torch_cases.json", import.meta.url)),
);

/** The cases of a name. */
export function torchCases(name: string): TorchCase[] {
  const found = file.cases.filter((entry) => entry.name === name);
  assert.ok(found.length > 0, `torch_cases.json has no case named ${name}`);
  return found;
}

/** The names of all cases. */
export const torchCaseNames: readonly string[] = [...new Set(file.cases.map(({ name }) => name))];

/** A tensor of nested lists. */
export function tensorOf<T extends tf.Tensor>(numbers: Numbers, dtype: "float32" | "int32" = "float32"): T {
  return tf.tensor(numbers as number[], undefined, dtype) as T;
}
