/**
 * Editing a trajectory: what follows a history at chosen times under chosen conditions, with concepts changed by hand, each
 * result with everything that made it.
 *
 * Li et al., "Controllable Sequence Editing for Biological and Clinical Trajectories", ICLR 2026, arXiv:2502.03569. Checked
 * against the authors' chain of daily edits (`clef.edit_chain`). The history that is passed in is never changed: the
 * authors' code writes into its caller's arrays.
 *
 * @module
 */
import { calendarOf, conditionVector, NO_CONDITION, sha256, type Trajectories, type Trajectory } from "../data/mod.ts";
import { backend, tf, tidy } from "../tensor/mod.ts";
import type { CLEF } from "./clef.ts";
import type { EncoderInput } from "./encoder.ts";

/** What happens to the concept of one variable: it becomes, is multiplied by, is raised by, or is kept within. */
export type ConceptEdit =
  | { readonly set: number }
  | { readonly scale: number }
  | { readonly add: number }
  | { readonly clamp: readonly [low: number, high: number] };

/** One state that is asked for. */
export interface Edit {
  /** Hours after the history's last record; above 0. */
  readonly hours: number;
  /** The condition that takes effect there. Default: none. */
  readonly condition?: string;
  /** Changes of concepts, by the variable's name. */
  readonly concepts?: Readonly<Record<string, ConceptEdit>>;
  /** Variables that must not move: they keep their last observed value. */
  readonly hold?: readonly string[];
}

/** Options of {@link editTrajectory}. */
export interface EditOptions {
  /**
   * "direct": each state from the history alone, in one step, at the same cost for any horizon. "chained": each state
   * joins the history of the next. Default: "direct".
   */
  readonly mode?: "direct" | "chained";
  /** Follow the authors' code. Default: false. */
  readonly parity?: boolean;
}

/** One state that was generated, and what made it. */
export interface EditedState {
  readonly hours: number;
  readonly condition: string;
  /** By variable, in the data's units. */
  readonly state: Float32Array;
  /** The ratio of each variable to its base, after all changes. */
  readonly concept: Float32Array;
  /** The ratio that the model gave. */
  readonly proposed: Float32Array;
  readonly base: Float32Array;
}

/** What made a result: enough to make it again, and to see that it is the same. */
export interface Provenance {
  /** SHA-256 of the history's times, values and missing cells. */
  readonly history: string;
  /** SHA-256 of the model's weights. */
  readonly weights: string;
  readonly model: string;
  readonly subject: string;
  readonly records: number;
  readonly edits: readonly Edit[];
  readonly mode: "direct" | "chained";
  readonly backend: string;
}

/** What {@link editTrajectory} gives. */
export interface EditedTrajectory {
  readonly states: readonly EditedState[];
  readonly provenance: Provenance;
}

/**
 * Generates the states that were asked for.
 *
 * @param history Its last record is "now". It is not changed.
 * @param data The data set that it belongs to: its variables and conditions.
 * @throws {RangeError} One sentence: a time at or before the history's end, times that do not ascend in a chain, an unknown
 *   condition, a variable that does not exist, a range whose ends are swapped, a history without records.
 *
 * @example Glucose held at half of what the history says
 * ```ts
 * import assert from "node:assert/strict";
 * import { synthLab } from "tessera/data/mod.ts";
 * import { CLEF, presets } from "tessera/editing/mod.ts";
 * const data = synthLab({ subjects: 1, seed: 3 });
 * const encoder = { kind: "transformer", heads: 4, layers: 1 } as const;
 * const model = CLEF.create(presets.repo({ variables: 16, conditionWidth: 32, records: 40, encoder }), 1);
 * const { states } = await editTrajectory(model, data.subjects[0], data, [
 *   { hours: 24, condition: "C3", concepts: { glucose: { set: 0.5 } } },
 * ]);
 * assert.equal(states[0].state[6], Math.fround(0.5 * states[0].base[6]));
 * ```
 */
export async function editTrajectory(
  model: CLEF,
  history: Trajectory,
  data: Pick<Trajectories, "variables" | "conditions" | "name">,
  edits: readonly Edit[],
  { mode = "direct", parity = false }: EditOptions = {},
): Promise<EditedTrajectory> {
  checkEdits(model, history, data, edits, mode);
  const width = data.variables.length;
  const records = history.hours.length;
  const now = history.hours[records - 1];
  const rows = {
    hours: [...history.hours],
    values: [...history.values],
    observed: Array.from(history.missing, (missing) => 1 - missing),
  };
  const states: EditedState[] = [];
  for (const edit of edits) {
    const condition = edit.condition ?? NO_CONDITION;
    const generated = tidy(() => {
      const vector = conditionVector(condition, data.conditions, { parity });
      const proposed: tf.Tensor2D[] = [];
      const result = model.forward(inputOf(rows, width), {
        to: momentsOf([now + edit.hours], rows.hours[0]),
        ...(model.config.conditionWidth > 0 ? { condition: tf.tensor2d(vector, [1, vector.length]) } : {}),
      }, {
        parity,
        edit: (concept, base) => {
          proposed.push(tf.keep(concept.clone())); // it would be freed with what made it
          return changed(concept, base, edit, data.variables.map(({ name }) => name), rows);
        },
      });
      // without concepts nothing is handed to `edit`; what it gives is the ratio itself
      const all = [result.state, result.concept, proposed[0] ?? result.concept, result.base].map((x) => x.clone());
      tf.dispose(proposed);
      return all;
    });
    const [state, concept, proposed, base] = await Promise.all(
      generated.map(async (x) => await x.data() as Float32Array),
    );
    tf.dispose(generated);
    states.push({ hours: edit.hours, condition, state, concept, proposed, base });
    if (mode === "direct") continue;
    rows.hours.push(now + edit.hours);
    rows.values.push(...state);
    rows.observed.push(...Array.from({ length: width }, () => 1)); // what is generated has no missing cells
  }
  return { states, provenance: await provenanceOf(model, history, edits, mode) };
}

interface Rows {
  readonly hours: number[];
  readonly values: number[];
  readonly observed: number[];
}

function inputOf({ hours, values, observed }: Rows, width: number): EncoderInput {
  const shape: [number, number, number] = [1, hours.length, width];
  return { x: tf.tensor3d(values, shape), observed: tf.tensor3d(observed, shape), ...momentsOf(hours, hours[0]) };
}

function momentsOf(hours: readonly number[], start: number) {
  return {
    calendar: tf.tensor3d(hours.flatMap((hour) => calendarOf(hour)), [1, hours.length, 3], "int32"),
    hours: tf.tensor2d(hours.map((hour) => hour - start), [1, hours.length]),
  };
}

function changed(
  concept: tf.Tensor2D,
  base: tf.Tensor2D,
  { concepts = {}, hold = [] }: Edit,
  names: readonly string[],
  rows: Rows,
): tf.Tensor2D {
  // clamp(concept x scale + shift, low, high), where nothing was asked for: x 1 + 0 within everything
  const scale = names.map(() => 1);
  const shift = names.map(() => 0);
  const [low, high] = [names.map(() => -FAR), names.map(() => FAR)];
  for (const [name, edit] of Object.entries(concepts)) {
    const v = names.indexOf(name);
    if ("set" in edit) [scale[v], shift[v]] = [0, edit.set];
    else if ("scale" in edit) scale[v] = edit.scale;
    else if ("add" in edit) shift[v] = edit.add;
    else [low[v], high[v]] = edit.clamp;
  }
  const row = (values: readonly number[]) => tf.tensor2d([[...values]]);
  const edited = tf.minimum<tf.Tensor2D>(
    tf.maximum(concept.mul(row(scale)).add(row(shift)), row(low)),
    row(high),
  );
  if (!hold.length) return edited;
  const held = row(names.map((name) => Number(hold.includes(name))));
  const last = row(names.map((_, v) => lastObserved(rows, names.length, v) ?? NaN));
  // a variable that was never observed has no value to keep: its concept stays at 1
  const still = tf.where(tf.isNaN(last), tf.onesLike(base), tf.div(last, base)) as tf.Tensor2D;
  return tf.where(held.cast("bool"), still, edited) as tf.Tensor2D;
}

/** Beyond any ratio. */
const FAR = 3e38;

function lastObserved({ values, observed }: Rows, width: number, v: number): number | undefined {
  for (let at = values.length - width + v; at >= 0; at -= width) if (observed[at]) return values[at];
  return undefined;
}

function checkEdits(
  model: CLEF,
  history: Trajectory,
  { variables, conditions }: Pick<Trajectories, "variables" | "conditions">,
  edits: readonly Edit[],
  mode: "direct" | "chained",
): void {
  if (!history.hours.length) {
    throw new RangeError(`the history of subject "${history.id}" has no records; give at least one`);
  }
  if (variables.length !== model.config.variables) {
    throw new RangeError(
      `the data have ${variables.length} variables, but the model was made for ${model.config.variables}; use its data set`,
    );
  }
  const names = variables.map(({ name }) => name);
  let before = 0;
  for (const { hours, condition = NO_CONDITION, concepts = {}, hold = [] } of edits) {
    if (!(hours > 0) || !Number.isFinite(hours)) {
      throw new RangeError(
        `an edit takes effect after the history's end, but its time is ${hours} hours from there; pass hours above 0`,
      );
    }
    if (mode === "chained" && hours <= before) {
      throw new RangeError(`a chain goes forward, but ${hours} hours come after ${before}; sort the edits by time`);
    }
    before = hours;
    conditionVector(condition, conditions); // refuses what is unknown
    for (const name of [...Object.keys(concepts), ...hold]) {
      if (!names.includes(name)) {
        throw new RangeError(`there is no variable ${JSON.stringify(name)} to edit; there are ${names.join(", ")}`);
      }
      if (hold.includes(name) && name in concepts) {
        throw new RangeError(`the variable ${JSON.stringify(name)} is to be held and to be edited; choose one`);
      }
    }
    for (const [name, edit] of Object.entries(concepts)) {
      if ("clamp" in edit && !(edit.clamp[0] <= edit.clamp[1])) {
        throw new RangeError(
          `the concept of ${name} is to be kept within [${edit.clamp}], which is empty; give the lower end first`,
        );
      }
      const numbers = Object.values(edit).flat() as number[];
      if (numbers.some((value) => Number.isNaN(value))) {
        throw new RangeError(`the edit of ${name} is ${JSON.stringify(edit)}; give numbers`);
      }
      if (model.config.concept === "none") {
        throw new RangeError("this model has no concepts, so that none can be edited; use one with concepts");
      }
    }
  }
}

async function provenanceOf(
  model: CLEF,
  history: Trajectory,
  edits: readonly Edit[],
  mode: "direct" | "chained",
): Promise<Provenance> {
  const bytes = ({ buffer, byteOffset, byteLength }: Float32Array | Float64Array | Uint8Array) =>
    new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
  const weights = await Promise.all([...model.weights.values()].map(async (weight) => await weight.data()));
  return {
    history: sha256(bytes(history.hours), bytes(history.values), history.missing),
    weights: sha256(...weights.map((values) => bytes(values as Float32Array))),
    model: model.describe(),
    subject: history.id,
    records: history.hours.length,
    edits: structuredClone(edits) as Edit[],
    mode,
    backend: String(backend),
  };
}

/**
 * The first records of a trajectory.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { synthLab } from "tessera/data/mod.ts";
 * assert.equal(firstRecords(synthLab({ subjects: 1, seed: 1 }).subjects[0], 9).values.length, 9 * 16);
 * ```
 */
export function firstRecords({ id, hours, values, missing, conditions }: Trajectory, count: number): Trajectory {
  if (!Number.isInteger(count) || count < 1 || count > hours.length) {
    throw new RangeError(
      `the history of subject "${id}" has ${hours.length} records, but ${count} were asked for; ask for 1 to ${hours.length}`,
    );
  }
  const width = values.length / hours.length;
  return {
    id,
    hours: hours.slice(0, count),
    values: values.slice(0, count * width),
    missing: missing.slice(0, count * width),
    conditions: conditions.slice(0, count),
  };
}

/** A variable that moved. */
export interface Moved {
  readonly variable: string;
  /** Ratio of the two concepts. */
  readonly ratio: number;
}

/**
 * Which variables a condition or an edit moves, against a reference: those whose concept changes by more than `least` of
 * itself, the largest change first.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const variables = [{ name: "a", unit: "1" }, { name: "b", unit: "1" }];
 * const moved = movedVariables(variables, { concept: new Float32Array([1, 2]) }, { concept: new Float32Array([1, 1]) });
 * assert.deepEqual(moved, [{ variable: "b", ratio: 2 }]);
 * ```
 */
export function movedVariables(
  variables: Trajectories["variables"],
  edited: Pick<EditedState, "concept">,
  reference: Pick<EditedState, "concept">,
  least = 0.05,
): Moved[] {
  return variables.map(({ name }, v) => ({ variable: name, ratio: edited.concept[v] / reference.concept[v] }))
    .filter(({ ratio }) => Math.abs(ratio - 1) > least)
    .sort((a, b) => Math.abs(b.ratio - 1) - Math.abs(a.ratio - 1));
}
