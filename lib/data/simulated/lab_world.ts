/**
 * Laboratory worlds: many variables that wander around a level of their own, are coupled, and are moved by conditions that
 * wear off. Made by a program, so that what would have happened under another condition or at another time is known: the
 * same noise, run again.
 *
 * @module
 */
import { type Random, random } from "../../random.ts";
import { type ConditionTable, NO_CONDITION, type Trajectory, type Variable } from "../trajectories.ts";

/** What makes a world. All rows are over the variables. */
export interface LabWorld {
  readonly variables: readonly Variable[];
  /** Level of each variable. */
  readonly mean: readonly number[];
  /** Standard deviation of the logarithm. */
  readonly std: readonly number[];
  /** How much the level differs from subject to subject, in standard deviations. */
  readonly betweenSubjects: number;
  /** Hours in which a deviation fades to 1/e. */
  readonly memoryHours: readonly number[];
  /** Pull of a variable (column) on another (row), by how far it deviates. */
  readonly coupling: readonly { readonly row: number; readonly column: number; readonly size: number }[];
  /** Effect of each condition on the logarithms, by variable, and the hours in which it wears off. */
  readonly conditions: readonly {
    readonly token: string;
    readonly effect: Readonly<Record<number, number>>;
    readonly fadesInHours: number;
  }[];
  readonly table: ConditionTable;
  /** Hours between records: median, and standard deviation of the logarithm (0: always the median). */
  readonly gap: { readonly medianHours: number; readonly logStd: number };
  /** Probability that a record has a condition. */
  readonly conditionRate: number;
  /** Probability that a value is missing. */
  readonly missingRate: number;
  /** Whether a condition acts on the record at which it is stored, or on the next one. */
  readonly actsOn: "same record" | "next record";
}

/** What is different in a counterfactual. Everything else, the noise included, stays. */
export interface Change {
  /** Condition at a record, by its place; {@link NO_CONDITION} takes one away. */
  readonly conditions?: Readonly<Record<number, string>>;
  /** Hours between a record and the one before, by the record's place. */
  readonly gapHours?: Readonly<Record<number, number>>;
}

/** All that chance decides about one subject. */
interface Noise {
  readonly level: Float64Array;
  readonly start: Float64Array;
  readonly startHour: number;
  readonly gaps: Float64Array;
  readonly steps: Float64Array[];
  readonly events: readonly string[];
  readonly missing: Float64Array[];
}

/**
 * Simulates one subject. The same world, seed and subject give the same noise, whatever is changed.
 *
 * @param subject Its number; it names the stream of random numbers.
 * @param change What is different from what chance has decided. Default: nothing, the factual trajectory.
 */
export function simulateSubject(
  world: LabWorld,
  { seed, subject, records }: { readonly seed: number; readonly subject: number; readonly records: number },
  change: Change = {},
): Trajectory {
  const noise = noiseOf(world, random(seed, `subject ${subject}`), records);
  const { mean, std, betweenSubjects, memoryHours, coupling, conditions, actsOn, missingRate } = world;
  const width = mean.length;
  const base = mean.map((level, v) => level * Math.exp(betweenSubjects * std[v] * noise.level[v]));
  let z = Float64Array.from(std, (value, v) => value * noise.start[v]);
  const strength = new Float64Array(conditions.length);
  const hours = new Float64Array(records);
  const values = new Float32Array(records * width);
  const missing = new Uint8Array(records * width);
  const tokens: string[] = [];
  let waiting: string = NO_CONDITION; // stored at the record before, where conditions act on the next one
  for (let k = 0; k < records; k++) {
    const gap = k === 0 ? 0 : change.gapHours?.[k] ?? noise.gaps[k];
    hours[k] = k === 0 ? noise.startHour : hours[k - 1] + gap;
    const kept = memoryHours.map((memory) => Math.exp(-gap / memory));
    const pull = new Float64Array(width);
    for (const { row, column, size } of coupling) pull[row] += size * z[column];
    z = z.map((value, v) =>
      value * kept[v] + std[v] * Math.sqrt(1 - kept[v] ** 2) * noise.steps[k][v] + 0.1 * (1 - kept[v]) * pull[v]
    );
    conditions.forEach(({ fadesInHours }, c) => strength[c] *= Math.exp(-gap / fadesInHours));
    const token = change.conditions?.[k] ?? noise.events[k];
    tokens.push(token);
    const acting = actsOn === "same record" ? token : waiting;
    waiting = token;
    if (acting !== NO_CONDITION) strength[conditionPlace(world, acting)] += 1;
    for (let v = 0; v < width; v++) {
      const moved = conditions.reduce((sum, { effect }, c) => sum + strength[c] * (effect[v] ?? 0), 0);
      const at = k * width + v;
      missing[at] = Number(noise.missing[k][v] < missingRate);
      values[at] = missing[at] ? 0 : base[v] * Math.exp(z[v] + moved);
    }
  }
  return { id: String(subject), hours, values, missing, conditions: tokens };
}

function conditionPlace({ conditions }: LabWorld, token: string): number {
  const place = conditions.findIndex((condition) => condition.token === token);
  if (place >= 0) return place;
  throw new RangeError(
    `this world has no condition ${JSON.stringify(token)}; it has ${
      conditions.map((condition) => condition.token).join(", ")
    }`,
  );
}

function noiseOf({ mean, gap, conditions, conditionRate }: LabWorld, from: Random, records: number): Noise {
  const normals = (stream: Random) => Float64Array.from(mean, () => stream.normal());
  // streams of their own, so that a changed condition or time shifts no other number
  const [levels, gaps, steps, events, missing] = ["level", "gap", "step", "event", "missing"].map((name) =>
    from.stream(name)
  );
  return {
    level: normals(levels),
    start: normals(levels),
    startHour: levels.uniform(0, 8760),
    gaps: Float64Array.from({ length: records }, () => Math.exp(gaps.normal(Math.log(gap.medianHours), gap.logStd))),
    steps: Array.from({ length: records }, () => normals(steps)),
    events: Array.from({ length: records }, () => {
      const happens = events.bernoulli(conditionRate);
      const which = events.choice(conditions).token;
      return happens ? which : NO_CONDITION;
    }),
    missing: Array.from({ length: records }, () => Float64Array.from(mean, () => missing.uniform())),
  };
}

/** Embeddings of width `width` with entries N(0, 4 / width): their content is immaterial, only that they differ. */
export function randomEmbeddings(tokens: readonly string[], width: number, seed: number): ConditionTable {
  const from = random(seed, "embeddings");
  return { width, vectors: new Map(tokens.map((token) => [token, from.normals(width, 0, 2 / Math.sqrt(width))])) };
}
