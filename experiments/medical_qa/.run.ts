import experiment from "./experiment.ts";
import { runExperiment } from "../../lib/experiment/mod.ts";
for (const pattern of Deno.args) {
  const re = new RegExp(pattern);
  await runExperiment(experiment, {
    folder: new URL("./", import.meta.url),
    only: ({ prefix }) => re.test(prefix),
    onRow: ({ task, row, error }) =>
      console.log(
        new Date().toISOString().slice(11, 19),
        JSON.stringify(task.cell),
        task.seed,
        row ? `${row.seconds} s ${JSON.stringify(row.results[0])}` : String(error),
      ),
  });
}
