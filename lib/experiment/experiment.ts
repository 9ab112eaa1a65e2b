/**
 * What an experiment is: a grid of configurations, seeds, and what one of its rows holds. It says everything that makes
 * the result what it is, and nothing about running.
 *
 * @module
 */

/** What stands in one field of a table. What could not be computed is null. */
export type Value = string | number | boolean | null;

/** Named values: one line of a table. */
export type Row = Readonly<Record<string, Value>>;

/** The values that each named setting takes. */
export type Grid = Readonly<Record<string, readonly Value[]>>;

/** One cell of a grid: each setting with one of its values. */
export type Cell<G extends Grid> = { readonly [Name in keyof G]: G[Name][number] };

/** What the making of a row gets beside its cell. */
export interface RowContext {
  /** One of the experiment's seeds; the only source of chance. */
  readonly seed: number;
  /** Aborted when Stop is pressed. */
  readonly signal: AbortSignal;
  /** Whether this is the small run: the same code on less data, or for fewer epochs. See {@link fastOf}. */
  readonly fast: boolean;
}

/** Published numbers to lay beside ours. */
export interface Paper {
  /** Authors, year, where, which table; shown under the table. */
  readonly cite: string;
  /**
   * A CSV file, copied by hand. Columns that the rows have too say which rows a line belongs to; the one named by
   * `compare` holds the published number; any other (page, table, note) is shown as it is.
   */
  readonly table: URL;
  /** The column of the rows that is compared, called the same in `table`. */
  readonly compare: string;
  /**
   * What is compared: each number, or only in which order the lines stand, where ours come from other data or smaller
   * models. Default: the numbers.
   */
  readonly as?: "number" | "order";
  /** With `as: "order"`: the columns within whose values lines are ordered, such as the data set. Default: none. */
  readonly within?: readonly string[];
}

/** See {@link defineExperiment}. */
export interface ExperimentOptions<G extends Grid, R extends Row> {
  /** Name of its folder below `experiments/`. */
  readonly name: string;
  /** From 1. Raise it when the meaning of a row changes: rows of another version are run again. */
  readonly version: number;
  /** The one question that it answers. */
  readonly question: string;
  readonly grid: G;
  /** One row per cell and seed. Default: 1. */
  readonly seeds?: readonly number[];
  /** Files and folders whose content the rows depend on. */
  readonly data?: readonly URL[];
  /** Computes the row of a cell; several of them where they can only be computed together. */
  row(cell: Cell<G>, context: RowContext): R | readonly R[] | Promise<R | readonly R[]>;
  readonly paper?: Paper;
  /** The small run of `--fast`: fewer values of some settings, fewer seeds. Default: the whole grid, the first seed. */
  readonly fast?: {
    readonly grid?: { readonly [Name in keyof G]?: readonly G[Name][number][] };
    readonly seeds?: readonly number[];
  };
  /** About how many seconds a row takes on two quiet cores; says how rows are bundled, and how long what is not run would take. */
  readonly rowSeconds?: number;
  /** What the columns of results hold. Default: as it is found in the rows. A row that holds something else is refused. */
  readonly columns?: { readonly [Name in keyof R]?: ColumnType };
}

/** What a column holds; null, for what could not be computed, may stand in each. */
export type ColumnType = "number" | "text" | "boolean";

/** A declared experiment. */
export interface Experiment<G extends Grid = Grid, R extends Row = Row> extends ExperimentOptions<G, R> {
  readonly seeds: readonly number[];
  readonly data: readonly URL[];
  /** Whether it is the small run of another one. */
  readonly isFast: boolean;
}

/** Columns that every row has; no setting and no result may be called the same. */
export const RECORDED = ["seed", "key", "seconds", "commit", "backend"] as const;

/**
 * Declares an experiment. Misspelt settings and values do not compile.
 *
 * @throws {RangeError} Where the name is no folder's name, the version no whole number from 1, a setting has no values or
 *   twice the same, a seed is no integer, or a setting has the name of a recorded column.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const sums = defineExperiment({
 *   name: "sums",
 *   version: 1,
 *   question: "What is a + b?",
 *   grid: { a: [1, 2], b: [10, 20] },
 *   row: ({ a, b }) => ({ sum: a + b }),
 * });
 * assert.deepEqual(cellsOf(sums).map(({ cell }) => cell.a + cell.b), [11, 21, 12, 22]);
 * ```
 */
export function defineExperiment<const G extends Grid, R extends Row>(
  options: ExperimentOptions<G, R>,
): Experiment<G, R> {
  const { name, version, grid, seeds = [1], data = [] } = options;
  if (!/^[a-z][a-z0-9_]*$/.test(name)) {
    throw new RangeError(
      `an experiment's name is that of a folder, a_b_2, but it is ${JSON.stringify(name)}; rename it`,
    );
  }
  const wrong = (what: string, rule: string, got: unknown) =>
    new RangeError(`${what} of experiment ${name} ${rule}, but it is ${JSON.stringify(got)}`);
  if (!Number.isInteger(version) || version < 1) throw wrong("the version", "must be a whole number from 1", version);
  for (const [setting, values] of Object.entries(grid)) {
    if ((RECORDED as readonly string[]).includes(setting)) {
      throw wrong(
        `the setting ${setting}`,
        `may not be called like a recorded column (${RECORDED.join(", ")})`,
        setting,
      );
    }
    if (new Set(values).size !== values.length || values.length === 0) {
      throw wrong(`the setting ${setting}`, "needs one value at least, and none twice", values);
    }
  }
  if (new Set(seeds).size !== seeds.length || !seeds.length || !seeds.every(Number.isSafeInteger)) {
    throw wrong("the list of seeds", "must hold one integer at least, and none twice", seeds);
  }
  for (const [setting, values] of Object.entries<readonly Value[] | undefined>(options.fast?.grid ?? {})) {
    if (!values?.length || !values.every((value) => grid[setting]?.includes(value))) {
      throw wrong(
        `the fast setting ${setting}`,
        `must have some of the values ${JSON.stringify(grid[setting])}`,
        values,
      );
    }
  }
  return Object.freeze({ ...options, seeds, data, isFast: false });
}

/**
 * The small run of an experiment: the same code with the part of the grid and the seeds that it names under `fast`, and
 * `fast: true` for its rows, which may then take less data. Its rows have other keys, so that neither is taken for the
 * other.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const experiment = defineExperiment({
 *   name: "a",
 *   version: 1,
 *   question: "?",
 *   grid: { r: [1, 2, 3] },
 *   seeds: [1, 2],
 *   fast: { grid: { r: [1, 3] } },
 *   row: (_, { fast }) => ({ images: fast ? 100 : 10_000 }),
 * });
 * assert.deepEqual(cellsOf(fastOf(experiment)).map(({ cell, seed }) => [cell.r, seed]), [[1, 1], [3, 1]]);
 * ```
 */
export function fastOf<G extends Grid, R extends Row>(experiment: Experiment<G, R>): Experiment<G, R> {
  const { grid, seeds, fast } = experiment;
  return Object.freeze({
    ...experiment,
    grid: { ...grid, ...fast?.grid } as G,
    seeds: fast?.seeds ?? seeds.slice(0, 1),
    isFast: true,
  });
}

/** One row to be computed. */
export interface Task<G extends Grid> {
  readonly cell: Cell<G>;
  readonly seed: number;
}

/**
 * All rows of an experiment, in the order of its table: the last setting changes fastest, but for the seed.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const grid = { method: ["tome", "evit"] };
 * const experiment = defineExperiment({ name: "a", version: 1, question: "?", grid, seeds: [1, 2], row: () => ({}) });
 * assert.equal(cellsOf(experiment).length, 4);
 * ```
 */
export function cellsOf<G extends Grid>({ grid, seeds }: Pick<Experiment<G>, "grid" | "seeds">): Task<G>[] {
  const cells = Object.entries(grid).reduce<Record<string, Value>[]>(
    (sofar, [name, values]) => sofar.flatMap((cell) => values.map((value) => ({ ...cell, [name]: value }))),
    [{}],
  );
  return cells.flatMap((cell) => seeds.map((seed) => ({ cell: cell as Cell<G>, seed })));
}
