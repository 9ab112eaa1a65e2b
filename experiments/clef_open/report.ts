/**
 * The experiment's page, written from its rows by `task reproduce clef_open`.
 *
 * @module
 */
import { markdownTable, reproduction, type Row } from "../../lib/experiment/mod.ts";
import { mean, meanInterval } from "../../lib/stats.ts";
import experiment from "./experiment.ts";

const settings = ["data", "units", "split", "task"] as const;

/** One line per setting: means over seeds, and the interval of the improvement. */
export function overSeeds(rows: readonly Row[]): Row[] {
  return [...Map.groupBy(rows, (row) => settings.map((name) => row[name]).join("|")).values()].map((group): Row => {
    const of = (column: string) => group.map((row) => row[column]).filter((value) => typeof value === "number");
    const average = (column: string) => of(column).length ? mean(of(column)) : null;
    const { low, high } = of("improvement").length > 1 ? meanInterval(of("improvement")) : { low: null, high: null };
    return {
      ...Object.fromEntries(settings.map((name) => [name, group[0][name]])),
      CLEF: average("clef"),
      twin: average("twin"),
      "improvement (%)": average("improvement"),
      low,
      high,
      "last value": average("lastValue"),
      "mean of history": average("historicalMean"),
      seeds: group.length,
    };
  });
}

/** The text of README.md. */
export async function readmeOf(rows: readonly Row[]): Promise<string> {
  const lines = overSeeds(rows);
  const simple = lines.filter((line) =>
    Number(line.CLEF) < Math.min(Number(line["last value"]), Number(line["mean of history"]))
  );
  const twin = lines.filter((line) => Number(line.low) > 0);
  const delayed = rows.filter(({ task }) => task === "delayed");
  const ways = [...Map.groupBy(delayed, ({ data, units }) => `${data}, ${units}`)].map(([name, group]): Row => {
    const of = (column: string) => mean(group.map((row) => Number(row[column])));
    return { setting: name, "one step": of("direct"), chained: of("chained"), rows: group.length };
  });
  const bounded = [...Map.groupBy(rows, ({ data, task }) => `${data}, ${task}`)].map(([name, group]): Row => {
    const of = (split: string) => mean(group.filter((row) => row.split === split).map(({ clef }) => Number(clef)));
    return { setting: name, "random split": of("random"), "bounded split": of("bounded") };
  });
  const best = (task: string) =>
    Math.max(...rows.filter((row) => row.task === task).map(({ improvement }) => Number(improvement))).toFixed(1);
  return `# CLEF on open data

**${experiment.question}** The 93 stays of the open eICU demo that have five records of laboratory values, and 240 WOT-like
simulated cells with 32 genes. Errors are mean absolute errors in standard deviations of the training set; an improvement is in
percent of the twin's. A Transformer of one layer, 60 epochs; models learn the next record, and are asked for later ones, and
for cells under another factor, without further training. Written by \`task reproduce clef_open\` from the rows.

${markdownTable(lines, 3)}
- CLEF errs less than its twin, with an interval that excludes 0, in ${twin.length} of ${lines.length} settings.
- It errs less than the better of two baselines that learn nothing in ${simple.length} of ${lines.length}${
    simple.length
      ? `: ${simple.map((line) => `${line.data}, ${line.units}, ${line.split}, ${line.task}`).join("; ")}`
      : ""
  }. An improvement over the twin says how bad the twin is, too.
- The greatest improvement of a pair: ${best("immediate")} % (immediate), ${best("delayed")} % (delayed), ${
    best("counterfactual")
  } % (counterfactual).

## One step or a chain

The delayed task again, on up to 60 test subjects: each later record in one step, or record by record.

${markdownTable(ways, 3)}
## A split of unlike subjects

In the bounded split no training subject is more alike to a test subject than a cosine of 0.9. CLEF's error:

${markdownTable(bounded, 3)}
## Beside the paper

Published: ${experiment.paper!.cite}.

${markdownTable(await reproduction(rows, experiment.paper!), 4)}`;
}
