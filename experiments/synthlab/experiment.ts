/**
 * SynthLab, the whole table: CLEF beside its twins and the simple baselines, immediate and delayed, on simulated panels.
 *
 * Sizes are those of our specification: 2,048 training, 1,024 validation and 2,048 test subjects, a Transformer of two
 * layers and four heads, batches of 256 pairs, 30 epochs, learning rate 1e-3.
 *
 * @module
 */
import { synthLab } from "../../lib/data/mod.ts";
import { CLEF, type CLEFConfig, evaluate, presets, type Scaling, scalingOf, train } from "../../lib/editing/mod.ts";
import { defineExperiment } from "../../lib/experiment/mod.ts";

const sizes = {
  variables: 16,
  conditionWidth: 32,
  records: 20,
  encoder: { kind: "transformer", heads: 4, layers: 2 },
} as const;

/** What each row of the table is. `scaledLoss`: errors count in standard deviations. */
const variants: Record<
  string,
  (scaling: Scaling) => CLEFConfig & { scaledLoss?: boolean; train?: "delayed" | "none" }
> = {
  "historical mean": () => ({ ...presets.simpleLinear(sizes), train: "none" }),
  "last observed value": () => ({ ...presets.simpleLinear(sizes), base: "last", train: "none" }),
  "non-CLEF, raw units": () => presets.withoutConcepts(sizes),
  "CLEF, base mean, raw units": () => presets.repo(sizes),
  "CLEF, FFN 0": () => ({ ...presets.repo(sizes), feedForward: false }),
  "CLEF, centred": () => ({ ...presets.repo(sizes), centred: true }),
  "CLEF, base last": () => ({ ...presets.repo(sizes), base: "last" }),
  "non-CLEF, z-scored": (scaling) => ({ ...presets.withoutConcepts(sizes, scaling), scaledLoss: true }),
  "CLEF+, base last": (scaling) => ({ ...presets.plus(sizes, scaling), base: "last", scaledLoss: true }),
  "CLEF+, base mean": (scaling) => ({ ...presets.plus(sizes, scaling), base: "mean", scaledLoss: true }),
  "CLEF+, learned blend": (scaling) => ({ ...presets.plus(sizes, scaling), scaledLoss: true }),
  "non-CLEF, z-scored, trained delayed": (scaling) => (
    { ...presets.withoutConcepts(sizes, scaling), scaledLoss: true, train: "delayed" }
  ),
  "CLEF+, base mean, trained delayed": (scaling) => (
    { ...presets.plus(sizes, scaling), base: "mean", scaledLoss: true, train: "delayed" }
  ),
  "CLEF+, learned blend, trained delayed": (scaling) => (
    { ...presets.plus(sizes, scaling), scaledLoss: true, train: "delayed" }
  ),
};

export default defineExperiment({
  name: "synthlab",
  version: 1,
  question: "Is it the concepts that help, or the units that the twin without them is trained in?",
  grid: {
    model: [
      "historical mean",
      "last observed value",
      "non-CLEF, raw units",
      "CLEF, base mean, raw units",
      "CLEF, FFN 0",
      "CLEF, centred",
      "CLEF, base last",
      "non-CLEF, z-scored",
      "CLEF+, base last",
      "CLEF+, base mean",
      "CLEF+, learned blend",
      "non-CLEF, z-scored, trained delayed",
      "CLEF+, base mean, trained delayed",
      "CLEF+, learned blend, trained delayed",
    ],
  },
  seeds: [1, 2, 3],
  fast: {
    grid: {
      model: [
        "historical mean",
        "last observed value",
        "non-CLEF, raw units",
        "CLEF, base mean, raw units",
        "non-CLEF, z-scored",
        "CLEF+, base last",
      ],
    },
  },
  rowSeconds: 110,
  async row({ model: name }, { seed, signal, fast }) {
    const share = fast ? 1 / 8 : 1; // of the subjects, and about of the epochs
    const [training, validation, test] = [[2048 * share, 1], [1024 * share, 2], [2048 * share, 3]].map((
      [subjects, seed],
    ) => synthLab({ subjects, seed }));
    const scaling = scalingOf(training);
    const { scaledLoss = false, train: task = "immediate", ...config } = variants[name](scaling);
    const model = CLEF.create(config, seed);
    if (task !== "none") {
      const common = {
        epochs: fast ? 10 : 30,
        batch: fast ? 64 : 256,
        learningRate: 1e-3,
        seed,
        validation,
        show: false,
        signal,
      };
      await train(model, training, { ...common, task, ...(scaledLoss ? { scaling } : {}) });
    }
    const rows = [];
    for (const task of ["immediate", "delayed"] as const) {
      const { repository, nMAE, pooled } = await evaluate(model, test, { scaling, batchSize: 256, task });
      const rounded = (value: number) => Number(value.toFixed(5));
      rows.push({ task, mae: rounded(repository.mae), nMAE: rounded(nMAE), pooledMAE: rounded(pooled.mae) });
    }
    model.dispose();
    return rows;
  },
  paper: {
    cite:
      "Our specification of CLEF's experiments, section 9.4: measured with a JAX implementation, means over its seeds",
    table: new URL("./paper.csv", import.meta.url),
    compare: "mae",
  },
});
