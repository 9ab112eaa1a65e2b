/**
 * CLEF beside its twin without concepts on data that anybody can have: laboratory values of the open eICU demo, and WOT-like
 * simulated cells, whose counterfactuals share a prefix with them.
 *
 * Improvement is the paper's: 100 (error of the twin - error of CLEF) / error of the twin, for the same data, task and
 * encoder, in percent of the mean absolute error; positive where CLEF errs less. `raw` are the authors' configurations, which
 * see and give raw units; `z-scored` are both models with standardised input and loss. Models are trained on the next record;
 * later records, and counterfactuals, are asked for without further training. A split is by subject, at random, or such that
 * no training subject is more alike to a test subject than a bound.
 *
 * @module
 */
import { eicuDemo, selectSubjects, type Trajectories, type Trajectory, wotLike } from "../../lib/data/mod.ts";
import {
  baselines,
  CLEF,
  type CLEFConfig,
  editTrajectory,
  evaluate,
  type EvaluateOptions,
  firstRecords,
  presets,
  type Scaling,
  scalingOf,
  splitBySimilarity,
  train,
} from "../../lib/editing/mod.ts";
import { defineExperiment, type Row } from "../../lib/experiment/mod.ts";
import { random } from "../../lib/random.ts";
import { mean } from "../../lib/stats.ts";

const GENES = 32, CELLS = 240;
/** Records that a history has at least, less one; and targets ahead of it, at most. */
const WARM_UP = 2, MOST = 12;
/** Highest likeness of a training and a test subject: the cosine of their mean records in standard deviations. */
const MOST_ALIKE = 0.9;
/** Test subjects that are generated record by record too. */
const CHAINED = 60;

interface World {
  readonly data: Trajectories;
  readonly counterfactuals?: { readonly subjects: readonly Trajectory[]; readonly divergeAt: number };
}

async function worldOf(name: "eICU demo" | "WOT-like", seed: number, fast: boolean): Promise<World> {
  if (name === "eICU demo") {
    const { data } = await eicuDemo.labs({ minimumRecords: 5 });
    return { data };
  }
  const cells = wotLike({ trajectories: fast ? 80 : CELLS, genes: GENES, seed });
  return { data: cells, counterfactuals: { subjects: cells.counterfactuals, divergeAt: cells.divergeAt } };
}

/** The mean record of each subject, in standard deviations of all, made as long as 1. */
function directions({ subjects, variables }: Trajectories, { mean: centre, std }: Scaling): Float64Array[] {
  const width = variables.length;
  return subjects.map(({ values, missing, hours }) => {
    const sums = new Float64Array(width), counts = new Float64Array(width);
    for (let cell = 0; cell < hours.length * width; cell++) {
      if (missing[cell]) continue;
      sums[cell % width] += (values[cell] - centre[cell % width]) / std[cell % width];
      counts[cell % width]++;
    }
    const panel = sums.map((sum, v) => counts[v] ? sum / counts[v] : 0);
    const length = Math.hypot(...panel) || 1;
    return panel.map((value) => value / length);
  });
}

function splitOf(data: Trajectories, kind: "random" | "bounded", seed: number) {
  const count = data.subjects.length;
  if (kind === "random") {
    const order = random(seed, "split").permutation(count);
    const tested = Math.round(0.25 * count);
    return { test: order.slice(0, tested), train: order.slice(tested), dropped: 0 };
  }
  const own = directions(data, scalingOf(data));
  const similarity = (a: number, b: number) => own[a].reduce((sum, value, v) => sum + value * own[b][v], 0);
  const { train, test, dropped } = splitBySimilarity({ count, similarity, seed, testShare: 0.25, most: MOST_ALIKE });
  return { train, test, dropped: dropped.length };
}

export default defineExperiment({
  name: "clef_open",
  version: 1,
  question:
    "On open data, by how much does CLEF err less than its twin without concepts: now, later, and counterfactually?",
  grid: { data: ["eICU demo", "WOT-like"], units: ["raw", "z-scored"], split: ["random", "bounded"] },
  seeds: [0, 1, 2],
  fast: { grid: { split: ["random"] }, seeds: [0] },
  data: [new URL("../../data/eicu-demo/", import.meta.url)],
  rowSeconds: 60,
  async row({ data: name, units, split: kind }, { seed, signal, fast }) {
    const { data, counterfactuals } = await worldOf(name, seed, fast);
    const split = splitOf(data, kind, seed);
    const training = selectSubjects(data, split.train), test = selectSubjects(data, split.test);
    const scaling = scalingOf(training);
    const sizes = {
      variables: data.variables.length,
      conditionWidth: data.conditions.width,
      records: 24,
      encoder: { kind: "transformer", heads: name === "eICU demo" ? 3 : 4, layers: 1 },
    } as const;
    const configs: Record<"twin" | "clef", CLEFConfig> = units === "raw"
      ? { twin: presets.withoutConcepts(sizes), clef: presets.repo(sizes) }
      : { twin: presets.withoutConcepts(sizes, scaling), clef: presets.plus(sizes, scaling) };
    const made: Partial<Record<"twin" | "clef", CLEF>> = {};
    for (const which of ["twin", "clef"] as const) {
      made[which] = CLEF.create(configs[which], seed);
      await train(made[which], training, {
        ...{ epochs: fast ? 10 : 60, batch: 128, learningRate: 2e-3, warmUp: WARM_UP, window: 20, show: false },
        ...{ seed, signal, ...(units === "raw" ? {} : { scaling }) },
      });
    }
    const { twin, clef } = made as Record<"twin" | "clef", CLEF>;
    const common = { scaling, warmUp: WARM_UP, most: MOST };
    const tasks: Record<string, [Trajectories, EvaluateOptions]> = {
      immediate: [test, { ...common, task: "immediate" }],
      delayed: [test, { ...common, task: "delayed" }],
    };
    if (counterfactuals) {
      const others = split.test.map((place) => counterfactuals.subjects[place]);
      tasks.counterfactual = [{ ...test, subjects: others }, {
        ...common,
        task: "delayed",
        warmUp: counterfactuals.divergeAt - 1,
      }];
    }
    const rows: Row[] = [];
    for (const [task, [on, options]] of Object.entries(tasks)) {
      const errors = async (model: Parameters<typeof evaluate>[0]) => (await evaluate(model, on, options)).nMAE;
      const own = await errors(clef), without = await errors(twin);
      rows.push({
        task,
        clef: rounded(own),
        twin: rounded(without),
        improvement: rounded(100 * (1 - own / without)),
        lastValue: rounded(await errors(baselines.lastValue())),
        historicalMean: rounded(await errors(baselines.historicalMean())),
        chained: task === "delayed" ? rounded(await chained(clef, on, scaling)) : null,
        direct: task === "delayed" ? rounded(await chained(clef, on, scaling, "direct")) : null,
        testSubjects: on.subjects.length,
        dropped: split.dropped,
      });
    }
    twin.dispose();
    clef.dispose();
    return rows;
  },
  paper: {
    cite:
      "Li et al., ICLR 2026, arXiv:2502.03569, abstract: average (16.28, 26.73) and greatest (36.01, 65.71, 62.84) " +
      "improvement over twins, in percent",
    table: new URL("./paper.csv", import.meta.url),
    compare: "improvement",
  },
});

/** Mean absolute error, in standard deviations, of records generated one after the other, or each in one step. */
async function chained(model: CLEF, data: Trajectories, { std }: Scaling, mode: "chained" | "direct" = "chained") {
  const width = data.variables.length, errors: number[] = [];
  for (const subject of data.subjects.slice(0, CHAINED)) {
    const places = [...subject.hours.keys()].slice(WARM_UP + 1, WARM_UP + 1 + MOST);
    const now = subject.hours[WARM_UP];
    const edits = places.map((k) => ({ hours: subject.hours[k] - now, condition: subject.conditions[k] }));
    const { states } = await editTrajectory(model, firstRecords(subject, WARM_UP + 1), data, edits, { mode });
    places.forEach((k, i) =>
      states[i].state.forEach((value, v) => {
        const cell = k * width + v;
        if (!subject.missing[cell]) errors.push(Math.abs(value - subject.values[cell]) / std[v]);
      })
    );
  }
  return mean(errors);
}

function rounded(value: number): number {
  return Number(value.toFixed(4));
}
