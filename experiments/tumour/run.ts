/**
 * Runs the rows that are missing and collects them: `deno run -A experiments/tumour/run.ts --gamma 0,4 --models "CRN,POP"`.
 * Each row is kept as soon as it is there; a run that was stopped goes on with the next.
 *
 * @module
 */
import { collect, runExperiment } from "../../lib/experiment/mod.ts";
import experiment from "./experiment.ts";

const folder = new URL(".", import.meta.url);
const chosen = (option: string) => {
  const at = Deno.args.indexOf(option);
  return at < 0 ? undefined : Deno.args[at + 1]?.split(",");
};
const [gammas, models] = ["--gamma", "--models"].map(chosen);
const { failed } = await runExperiment(experiment, {
  folder,
  only: ({ gamma, model }) => (gammas?.includes(String(gamma)) ?? true) && (models?.includes(model) ?? true),
  onRow: ({ task, row, error }) => {
    const { gamma, model } = task.cell;
    const what = error ?? `${row?.results[0].last} in ${row?.seconds} s`;
    console.log(`gamma ${gamma}, ${model}, seed ${task.seed}: ${what}`);
  },
});
await collect(experiment, { folder });
if (failed.length) Deno.exit(1);
