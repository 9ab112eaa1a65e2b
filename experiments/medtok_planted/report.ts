/**
 * The experiment's page, written from its rows: `deno run -A experiments/medtok_planted/report.ts`; with `--run` it computes
 * what is missing first, half a minute to two minutes a row on two cores.
 *
 * @module
 */
import { collect, markdownTable, type Row, runExperiment } from "../../lib/experiment/mod.ts";
import { mean } from "../../lib/stats.ts";
import experiment from "./experiment.ts";

const here = new URL(".", import.meta.url);

/** The text of README.md. */
export function readmeOf(rows: readonly Row[]): string {
  const whole = [...Map.groupBy(rows, ({ setting }) => setting)].map(([setting, own]): Row => ({
    setting,
    "pair AUC": mean(own.map(({ pairAUC }) => pairAUC as number)),
  }));
  return `# MedTok on the planted world\n\n${markdownTable(whole, 3)}\n`;
}

if (import.meta.main) {
  if (Deno.args.includes("--run")) {
    const { failed } = await runExperiment(experiment, {
      folder: here,
      onRow: ({ task, row, error, left }) =>
        console.log(`${task.cell.setting}, seed ${task.seed}: ${row ? `${row.seconds} s` : error}; ${left} left`),
    });
    for (const { error } of failed) console.error(error);
  }
  await Deno.writeTextFile(new URL("README.md", here), readmeOf(await collect(experiment, { folder: here })));
}
