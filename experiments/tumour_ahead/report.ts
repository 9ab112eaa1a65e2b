/**
 * The experiment's page, written from its rows by `task reproduce tumour_ahead`.
 *
 * @module
 */
import { cellsOf, markdownTable, reproduction, type Row } from "../../lib/experiment/mod.ts";
import { mean } from "../../lib/stats.ts";
import experiment from "./experiment.ts";

const plans = {
  sliding: "One treatment on one of five days",
  random: "Fair coins for each treatment and day",
} as const;
type Plan = keyof typeof plans;
const TAUS = [2, 3, 4, 5, 6] as const;

function errorsOf(rows: readonly Row[], where: { gamma: number; model: string; plan: Plan; tau: number }): number[] {
  return rows.filter((row) => Object.entries(where).every(([name, value]) => row[name] === value))
    .map((row) => Number(row.error));
}

/**
 * How much a model loses from the second day to the sixth under plans of one treatment, paired by seed, in percent: the
 * mean over seeds, and the seeds.
 */
export function growth(rows: readonly Row[], gamma: number, model: string): { percent: number; seeds: number } | null {
  const of = (tau: number) => errorsOf(rows, { gamma, model, plan: "sliding", tau });
  const [first, last] = [of(2), of(6)];
  if (!first.length) return null;
  return { percent: mean(last.map((error, i) => 100 * (error / first[i] - 1))), seeds: first.length };
}

/** Rows that are not there, by model, with the hours that they take at the pace of those of the same model, or of all. */
export function missing(rows: readonly Row[]): Row[] {
  const there = new Map(rows.map((row) => [`${row.model}|${row.gamma}|${row.seed}`, row]));
  const secondsOf = (some: readonly Row[]) =>
    some.length ? mean(some.map(({ seconds }) => Number(seconds))) : undefined;
  const each = [...there.values()];
  const left = cellsOf(experiment).filter(({ cell, seed }) => !there.has(`${cell.model}|${cell.gamma}|${seed}`));
  return [...Map.groupBy(left, ({ cell }) => cell.model)].map(([model, tasks]): Row => {
    const seconds = secondsOf(each.filter((row) => row.model === model)) ?? experiment.rowSeconds!;
    return {
      model,
      "rows not run": tasks.length,
      "at gamma": [...new Set(tasks.map(({ cell }) => cell.gamma))].join(", "),
      "estimated hours": tasks.length * seconds / 3600,
    };
  });
}

/** The text of README.md. */
export async function readmeOf(rows: readonly Row[]): Promise<string> {
  const gammas = experiment.grid.gamma.filter((gamma) =>
    rows.some((row) => row.gamma === gamma && row.model === "CRN")
  );
  const tables = (Object.keys(plans) as Plan[]).flatMap((plan) =>
    gammas.map((gamma) => {
      const lines = experiment.grid.model.flatMap((model): Row[] => {
        const errors = TAUS.map((tau) => errorsOf(rows, { gamma, model, plan, tau }));
        if (!errors[0].length) return [];
        return [{
          model,
          ...Object.fromEntries(TAUS.map((tau, i) => [`${tau} days`, mean(errors[i])])),
          seeds: errors[0].length,
        }];
      });
      return `### ${plans[plan]}, γ = ${gamma}\n\n${markdownTable(lines)}`;
    })
  );
  const published = await reproduction(rows, experiment.paper!);
  const beside = published.filter(({ ours, tau }) => ours !== null && (tau === 2 || tau === 6)).map((line): Row => ({
    ...{ plan: line.plan, model: line.model, gamma: line.gamma, days: line.tau, ours: line.ours },
    ...{ seeds: line.rows, paper: line.paper, agreement: line.agreement, reason: line.reason },
  }));
  const words = [...Map.groupBy(published.filter(({ ours }) => ours !== null), ({ agreement }) => String(agreement))]
    .map(([word, all]) => `${word} ${all.length}`);
  const grown = experiment.grid.model.flatMap((model): Row[] => {
    const each = gammas.map((gamma) => [gamma, growth(rows, gamma, model)] as const);
    if (each.every(([, found]) => found === null)) return [];
    return [{
      model,
      ...Object.fromEntries(each.map(([gamma, found]) => [`γ = ${gamma} (%)`, found?.percent ?? null])),
    }];
  });
  const between = gammas.flatMap((gamma) =>
    (Object.keys(plans) as Plan[]).flatMap((plan) => {
      const of = (model: string) => errorsOf(rows, { gamma, model, plan, tau: 6 });
      const [chained, delayed] = ["CLEF, chained", "CLEF, delayed"].map(of);
      if (!chained.length || chained.length !== delayed.length) return [];
      const change = mean(delayed.map((error, i) => 100 * (error / chained[i] - 1)));
      const better = delayed.filter((error, i) => error < chained[i]).length;
      return [
        `- γ = ${gamma}, ${plan}: ${change > 0 ? "+" : ""}${
          change.toFixed(1)
        } % in one step (lower in ${better} of ${delayed.length} seeds).`,
      ];
    })
  );
  const undone = missing(rows);
  const hours = undone.reduce((sum, row) => sum + Number(row["estimated hours"]), 0);
  return `# Tumour growth, two to six days ahead

**${experiment.question}** Patients, models, sizes and training are those of [tumour](../tumour/README.md), which asks about
the next day. Here a plan of treatment is given for five more days, and nothing is seen after the origin, not even the next
volume. CRN and RMSN have a decoder on top of their encoder, G-Net draws fifty futures, the Causal Transformer and *CLEF, chained*
go on from their own predictions; *CLEF, delayed* answers each day in one step.

Root mean squared errors in percent of the deadly volume, over half a million answers of each kind (G-Net: a tenth of them), means
over seeds. Written from \`rows.csv\` by \`task reproduce tumour_ahead\`.

## Errors by days ahead

${tables.join("\n")}
*last value*: nothing changes. *POP*: the true law with mean parameters. *ORACLE*: the law with each patient's own, without
the noise.

## Day by day, or in one step

Error of CLEF six days ahead, asked in one step, beside its own predictions chained, paired by seed:

${between.join("\n") || "not run"}

How much the error grows from the second day to the sixth under plans of one treatment:

${markdownTable(grown)}
## Beside the paper

${
    experiment.paper!.cite
  }; *agreement* touches the published standard deviation over five seeds. Of all five horizons: ${
    words.join(", ")
  }. The first and the last of them:

${markdownTable(beside)}
## Not run

${
    undone.length
      ? `${hours.toFixed(0)} h estimated, one thread, at the pace of the same model's rows:

${markdownTable(undone)}
\`task experiment run tumour_ahead\` computes what is missing; it can be stopped.
`
      : "Nothing.\n"
  }`;
}
