/**
 * Trajectories: for each subject some records, each with its time, its values (some missing) and the condition in force.
 *
 * One type for laboratory panels, glucose sensors, tumours and cells. Times are hours, values are typed arrays in the units
 * of the data, missing values are marked and hold 0: nothing is ever NaN.
 *
 * @module
 */

/** A measured variable. */
export interface Variable {
  readonly name: string;
  /** Such as "mg/dL"; "1" for a number without one, "?" where nobody knows. */
  readonly unit: string;
}

/** One subject. Rows of `values` are records, in the order of time. */
export interface Trajectory {
  readonly id: string;
  /** Hours since 1970-01-01 00:00, [records], each later than the one before. Where only differences are known, the day is arbitrary. */
  readonly hours: Float64Array;
  /** [records x variables], row by row; 0 where missing. */
  readonly values: Float32Array;
  /** [records x variables]: 1 where missing. */
  readonly missing: Uint8Array;
  /** The condition stored at each record; {@link NO_CONDITION} for none. */
  readonly conditions: readonly string[];
}

/** What stands for "no condition"; its embedding is zeros. A token that is not in the table is another thing: an error. */
export const NO_CONDITION = "None";

/** Embeddings of conditions. */
export interface ConditionTable {
  /** Numbers of an embedding. */
  readonly width: number;
  readonly vectors: ReadonlyMap<string, Float32Array>;
}

/** A data set of trajectories over the same variables. */
export interface Trajectories {
  readonly name: string;
  readonly variables: readonly Variable[];
  readonly subjects: readonly Trajectory[];
  readonly conditions: ConditionTable;
  /** Which stored condition acts on a record: its own (patients), or that of the record before it (cells). */
  readonly actsOn: "same record" | "next record";
}

/** A subject as it comes: one row of values per record, `null` or NaN where missing. */
export interface RawTrajectory {
  readonly id: string | number;
  readonly hours: ArrayLike<number>;
  readonly values: readonly ArrayLike<number | null>[];
  /** Default: no condition anywhere. */
  readonly conditions?: readonly string[];
}

/** What {@link trajectories} takes besides the subjects. */
export interface TrajectoriesOptions {
  readonly name: string;
  readonly variables: readonly Variable[];
  readonly conditions?: ConditionTable;
  readonly actsOn?: Trajectories["actsOn"];
  /** What becomes of a condition that the table does not hold. Default: "refuse"; "keep" leaves the token as it is. */
  readonly unknownConditions?: "refuse" | "keep";
}

const NO_TABLE: ConditionTable = { width: 0, vectors: new Map() };

/**
 * A data set from subjects, checked. Nothing that is passed in is kept or changed.
 *
 * @throws {RangeError} One sentence: records whose time goes backwards or occurs twice, a variable without a unit or a
 *   value in all the data, a condition that the table does not hold, a row with another number of values, a value that is
 *   infinite.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const data = trajectories([{ id: 1, hours: [0, 6], values: [[5.1, null], [5.4, 140]] }], {
 *   name: "two records",
 *   variables: [{ name: "glucose", unit: "mmol/L" }, { name: "sodium", unit: "mmol/L" }],
 * });
 * assert.deepEqual([...data.subjects[0].missing], [0, 1, 0, 0]);
 * ```
 */
export function trajectories(
  subjects: readonly RawTrajectory[],
  options: TrajectoriesOptions,
): Trajectories {
  const { name, variables, conditions = NO_TABLE, actsOn = "same record", unknownConditions = "refuse" } = options;
  checkVariables(variables);
  const table = unknownConditions === "refuse" ? conditions : undefined;
  const made = subjects.map((subject) => trajectory(subject, variables, table));
  const ids = new Set<string>();
  for (const { id } of made) {
    if (ids.has(id)) throw new RangeError(`subject ${JSON.stringify(id)} occurs twice; join its records or rename one`);
    ids.add(id);
  }
  variables.forEach((variable, v) => {
    const seen = made.some(({ missing }) => observedIn(missing, variables.length, v));
    if (made.length && !seen) {
      throw new RangeError(
        `the variable ${JSON.stringify(variable.name)} has no value in all ${made.length} subjects; leave it out`,
      );
    }
  });
  return { name, variables: [...variables], subjects: made, conditions, actsOn };
}

function checkVariables(variables: readonly Variable[]): void {
  const names = new Set<string>();
  for (const { name, unit } of variables) {
    if (names.has(name)) {
      throw new RangeError(`the variable ${JSON.stringify(name)} occurs twice; give each its own name`);
    }
    names.add(name);
    if (!unit) {
      throw new RangeError(
        `the variable ${
          JSON.stringify(name)
        } has no unit; give it one, "1" for a number without a unit, or "?" if nobody knows`,
      );
    }
  }
}

function trajectory(raw: RawTrajectory, variables: readonly Variable[], table?: ConditionTable): Trajectory {
  const where = `subject ${JSON.stringify(String(raw.id))}`;
  const records = raw.hours.length;
  const conditions = raw.conditions ?? Array.from({ length: records }, () => NO_CONDITION);
  for (const [what, length] of [["rows of values", raw.values.length], ["conditions", conditions.length]] as const) {
    if (length !== records) {
      throw new RangeError(`${where} has ${records} times, but ${length} ${what}; give one per record`);
    }
  }
  checkTimes(raw.hours, where);
  for (const [k, token] of conditions.entries()) {
    if (table && token !== NO_CONDITION && !token.split(";").every((one) => table.vectors.has(one))) {
      throw new RangeError(
        `${where}, record ${k}: ${unknownCondition(token, table)}`,
      );
    }
  }
  const values = new Float32Array(records * variables.length);
  const missing = new Uint8Array(values.length);
  raw.values.forEach((row, k) => {
    if (row.length !== variables.length) {
      throw new RangeError(
        `${where}, record ${k} has ${row.length} values, but there are ${variables.length} variables; mark missing ones with null`,
      );
    }
    for (let v = 0; v < row.length; v++) {
      const value = row[v];
      const at = k * variables.length + v;
      if (value === null || Number.isNaN(value)) missing[at] = 1;
      else if (!Number.isFinite(value)) {
        throw new RangeError(
          `${where}, record ${k}: ${variables[v].name} is ${value}; mark it as missing or correct it`,
        );
      } else values[at] = value;
    }
  });
  return { id: String(raw.id), hours: Float64Array.from(raw.hours), values, missing, conditions: [...conditions] };
}

function checkTimes(hours: ArrayLike<number>, where: string): void {
  for (let k = 0; k < hours.length; k++) {
    if (!Number.isFinite(hours[k])) throw new RangeError(`${where}, record ${k} has the time ${hours[k]}; give hours`);
    if (k === 0 || hours[k] > hours[k - 1]) continue;
    if (hours[k] === hours[k - 1]) {
      throw new RangeError(
        `${where} has two records at hour ${hours[k]} (${k - 1} and ${k}); average them or keep one`,
      );
    }
    throw new RangeError(
      `${where}: time goes backwards from hour ${hours[k - 1]} to ${hours[k]} at record ${k}; sort the records by time`,
    );
  }
}

function observedIn(missing: Uint8Array, variables: number, v: number): boolean {
  for (let at = v; at < missing.length; at += variables) if (!missing[at]) return true;
  return false;
}

/** What is wrong with a token that the table does not hold. */
export function unknownCondition(token: string, { vectors }: ConditionTable): string {
  const first = token.split(";").find((one) => !vectors.has(one)) ?? token;
  return `the condition ${
    JSON.stringify(first)
  } is not among the ${vectors.size} that are known, which is not the same as ` +
    `none; add its embedding, or say ${JSON.stringify(NO_CONDITION)}`;
}

/**
 * The embedding of a condition: zeros for {@link NO_CONDITION}; of several joined by ";" the mean, number by number.
 *
 * The authors' code looks a joined token up as it is, finds nothing, and takes zeros for it and for every unknown token:
 * `parity: true`.
 *
 * @throws {RangeError} If the table does not hold it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const table = { width: 2, vectors: new Map([["a", new Float32Array([1, 0])], ["b", new Float32Array([0, 1])]]) };
 * assert.deepEqual([...conditionVector("a;b", table)], [0.5, 0.5]);
 * assert.deepEqual([...conditionVector("None", table)], [0, 0]);
 * assert.deepEqual([...conditionVector("a;b", table, { parity: true })], [0, 0]);
 * ```
 */
export function conditionVector(
  token: string,
  table: ConditionTable,
  { parity = false }: { readonly parity?: boolean } = {},
): Float32Array {
  const { width, vectors } = table;
  if (token === NO_CONDITION) return new Float32Array(width);
  if (parity) return vectors.get(token) ?? new Float32Array(width);
  const parts = token.split(";").map((one) => vectors.get(one));
  if (parts.includes(undefined)) throw new RangeError(unknownCondition(token, table));
  const sum = new Float32Array(width);
  for (const part of parts) part!.forEach((value, i) => sum[i] += value / parts.length);
  return sum;
}

/**
 * Embeddings of conditions without knowledge about them: each its own axis.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual([...oneHotConditions(["meal", "insulin"]).vectors.get("insulin")!], [0, 1]);
 * ```
 */
export function oneHotConditions(tokens: readonly string[]): ConditionTable {
  const vector = (at: number) => Float32Array.from(tokens, (_, i) => Number(i === at));
  return { width: tokens.length, vectors: new Map(tokens.map((token, i) => [token, vector(i)])) };
}

/**
 * The condition that acts on record `k`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const conditions = ["A", "B", "C"];
 * assert.equal(actingCondition(conditions, 2, "same record"), "C");
 * assert.equal(actingCondition(conditions, 2, "next record"), "B");
 * ```
 */
export function actingCondition(conditions: readonly string[], k: number, actsOn: Trajectories["actsOn"]): string {
  return conditions[actsOn === "same record" ? k : k - 1] ?? NO_CONDITION;
}

/** One line of {@link report} about a variable. */
export interface VariableReport {
  readonly variable: string;
  readonly unit: string;
  /** Share of the records in which it was observed. */
  readonly observed: number;
  readonly lowest: number;
  readonly median: number;
  readonly highest: number;
  /** Subjects in which it was never observed. */
  readonly neverIn: number;
}

/** What {@link report} says about a data set. */
export interface Report {
  readonly subjects: number;
  readonly records: number;
  /** Records per subject: fewest, median, most. */
  readonly length: readonly [number, number, number];
  /** Hours between neighbouring records: shortest, median, longest. */
  readonly gapHours: readonly [number, number, number];
  readonly variables: readonly VariableReport[];
  /** Records that have a condition, how many of them have an embedding, and how many different ones there are. */
  readonly conditions: { readonly records: number; readonly withEmbedding: number; readonly different: number };
  /** Records without a single value. */
  readonly emptyRecords: number;
}

/**
 * Looks at a data set: how long, how dense, in which units, how many conditions are known.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const data = trajectories([{ id: 1, hours: [0, 6], values: [[5.1], [null]] }], {
 *   name: "one value",
 *   variables: [{ name: "glucose", unit: "mmol/L" }],
 * });
 * assert.equal(report(data).variables[0].observed, 0.5);
 * assert.equal(report(data).emptyRecords, 1);
 * ```
 */
export function report({ variables, subjects, conditions }: Trajectories): Report {
  const width = variables.length;
  const records = subjects.reduce((sum, { hours }) => sum + hours.length, 0);
  const gaps = subjects.flatMap(({ hours }) => Array.from(hours.subarray(1), (hour, k) => hour - hours[k]));
  const tokens = subjects.flatMap((subject) => subject.conditions).filter((token) => token !== NO_CONDITION);
  const known = tokens.filter((token) => token.split(";").every((one) => conditions.vectors.has(one)));
  const empty = subjects.reduce(
    (sum, { hours, missing }) =>
      sum +
      Array.from(hours, (_, k) => missing.subarray(k * width, (k + 1) * width)).filter((row) =>
        row.every((value) => value === 1)
      ).length,
    0,
  );
  return {
    subjects: subjects.length,
    records,
    length: spread(subjects.map(({ hours }) => hours.length)),
    gapHours: spread(gaps),
    variables: variables.map(({ name, unit }, v) => {
      const values = subjects.flatMap((subject) => observedValues(subject, width, v));
      const [lowest, median, highest] = spread(values);
      const neverIn = subjects.filter(({ missing }) => !observedIn(missing, width, v)).length;
      return {
        variable: name,
        unit,
        observed: records ? values.length / records : 0,
        lowest,
        median,
        highest,
        neverIn,
      };
    }),
    conditions: { records: tokens.length, withEmbedding: known.length, different: new Set(tokens).size },
    emptyRecords: empty,
  };
}

function observedValues({ values, missing }: Trajectory, width: number, v: number): number[] {
  const found: number[] = [];
  for (let at = v; at < values.length; at += width) if (!missing[at]) found.push(values[at]);
  return found;
}

/** Lowest, median, highest; NaN of nothing. */
function spread(values: readonly number[]): [number, number, number] {
  if (!values.length) return [NaN, NaN, NaN];
  const sorted = Float64Array.from(values).sort();
  const middle = (sorted.length - 1) / 2;
  return [sorted[0], (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2, sorted[sorted.length - 1]];
}

/**
 * Some of the subjects, by their places.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const variables = [{ name: "x", unit: "1" }];
 * const data = trajectories([{ id: "a", hours: [0], values: [[1]] }, { id: "b", hours: [0], values: [[2]] }], {
 *   name: "two",
 *   variables,
 * });
 * assert.deepEqual(selectSubjects(data, [1]).subjects.map(({ id }) => id), ["b"]);
 * ```
 */
export function selectSubjects(data: Trajectories, places: readonly number[]): Trajectories {
  const wrong = places.find((place) => !(place in data.subjects));
  if (wrong !== undefined) {
    throw new RangeError(`there is no subject ${wrong}; ${data.name} has ${data.subjects.length}, counted from 0`);
  }
  return { ...data, subjects: places.map((place) => data.subjects[place]) };
}

/**
 * Month 1-12, day 1-31 and hour 0-23 of a time in hours since 1970-01-01 00:00.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(calendarOf(31 * 24 + 5.9), [2, 1, 5]);
 * ```
 */
export function calendarOf(hours: number): [month: number, day: number, hour: number] {
  const date = new Date(Math.floor(hours) * 3_600_000);
  return [date.getUTCMonth() + 1, date.getUTCDate(), date.getUTCHours()];
}
