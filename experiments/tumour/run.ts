/**
 * Runs the rows that are missing and collects them: `deno run -A experiments/tumour/run.ts [GAMMA...]`. Each row is kept as
 * soon as it is there; a run that was stopped goes on with the next.
 *
 * @module
 */
import { collect, runExperiment } from "../../lib/experiment/mod.ts";
import experiment from "./experiment.ts";

const folder = new URL(".", import.meta.url);
const gammas = Deno.args.map(Number);
const { failed } = await runExperiment(experiment, {
  folder,
  only: ({ gamma }) => !gammas.length || gammas.includes(gamma),
  onRow: ({ task, row, error }) => {
    const { gamma, model } = task.cell;
    console.log(
      `gamma ${gamma}, ${model}, seed ${task.seed}: ${error ?? `${row?.results[0].last} in ${row?.seconds} s`}`,
    );
  },
});
await collect(experiment, { folder });
if (failed.length) Deno.exit(1);
