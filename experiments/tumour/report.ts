/**
 * The experiment's page, written from its rows by `task reproduce tumour`.
 *
 * @module
 */
import { besidePaper, cellsOf, fromCSV, markdownTable, type Row } from "../../lib/experiment/mod.ts";
import { mean, std } from "../../lib/stats.ts";
import experiment from "./experiment.ts";
import { EPOCHS, publishedSettings } from "./models/published.ts";

const here = (name: string) => new URL(name, import.meta.url);
const PATIENTS = 10_000;

/** The committed rows. */
export async function rowsOf(): Promise<Row[]> {
  return fromCSV(await Deno.readTextFile(here("rows.csv")), "rows.csv");
}

/** How much longer an update of the Causal Transformer takes than one of CRN, measured side by side (the bench's rows). */
const TRANSFORMER_COST = 4;

/** Updates of a training run of a model, in units of CRN's, of all its networks; 0 where nothing is trained step by step. */
function updatesOf(model: string, gamma: number): number {
  const { crn, ct, gnet, rmsn } = publishedSettings(gamma);
  const steps = (batch: number, epochs: number, patients = PATIENTS) => epochs * Math.ceil(patients / batch);
  switch (model) {
    case "CRN":
    case "CRN (α=0)":
    case "CLEF head":
      return steps(crn.encoder.batch, EPOCHS.crn);
    case "CT":
    case "CT (α=0)":
      return TRANSFORMER_COST * steps(ct.batch, EPOCHS.ct);
    case "G-Net":
      return steps(gnet.batch, EPOCHS.gnet, 0.9 * PATIENTS);
    case "RMSN":
      return [rmsn.treatment, rmsn.history, rmsn.encoder].reduce(
        (sum, { batch }) => sum + steps(batch, EPOCHS.rmsn),
        0,
      );
    default:
      return 0;
  }
}

/** Seconds of an update, all trained rows together. */
function paceOf(rows: readonly Row[]): number {
  const trained = rows.filter((row) => row.trainingSeconds !== null);
  const updates = trained.reduce((sum, row) => sum + updatesOf(row.model as string, row.gamma as number), 0);
  return trained.reduce((sum, row) => sum + (row.trainingSeconds as number), 0) / updates;
}

/** Rows of the experiment that are not there, by model, with the hours that they take at the pace of the others. */
export function missing(rows: readonly Row[]): Row[] {
  const there = new Set(rows.map(({ model, gamma, seed }) => `${model}|${gamma}|${seed}`));
  const pace = paceOf(rows);
  const left = cellsOf(experiment).filter(({ cell, seed }) => !there.has(`${cell.model}|${cell.gamma}|${seed}`));
  return [...Map.groupBy(left, ({ cell }) => cell.model)].map(([model, tasks]): Row => ({
    model,
    "rows not run": tasks.length,
    "at gamma": [...new Set(tasks.map(({ cell }) => cell.gamma))].join(", "),
    "estimated hours": tasks.reduce((sum, { cell }) => sum + updatesOf(model, cell.gamma) * pace, 0) / 3600,
  }));
}

/** The text of README.md. */
export async function readmeOf(): Promise<string> {
  const rows = await rowsOf();
  const published = await besidePaper(rows, experiment.paper!);
  const of = (model: string, gamma: number, column = "last") =>
    rows.filter((row) => row.model === model && row.gamma === gamma).map((row) => row[column] as number);
  const numbers = (values: readonly number[], digits = 3) => {
    if (!values.length) return "-";
    const spread = values.length > 1 ? ` ± ${std(values).toFixed(digits)}` : "";
    return `${mean(values).toFixed(digits)}${spread} (${values.length})`;
  };
  const gammas = experiment.grid.gamma;
  const overview = experiment.grid.model.filter((model) => gammas.some((gamma) => of(model, gamma).length)).map((
    model,
  ): Row => ({ model, ...Object.fromEntries(gammas.map((gamma) => [`γ = ${gamma}`, numbers(of(model, gamma))])) }));
  const beside = published.filter(({ ours }) => ours !== null).map((line): Row => ({
    ...{ model: line.model, gamma: line.gamma, ours: line.ours, lowest: line.lowest, highest: line.highest },
    ...{ seeds: line.rows, paper: line.paper, "paper sd": line.sd },
    agreement: Math.abs(line.difference as number) <= (line.sd as number)
      ? "within the published spread"
      : Math.abs(line.difference as number) <= 2 * (line.sd as number)
      ? "within twice the published spread"
      : "differs",
  }));
  const three = ["last value", "POP", "CLEF head", "CRN"].flatMap((model) =>
    [0, 4].filter((gamma) => of(model, gamma).length).map((gamma): Row => ({
      ...{ model, gamma },
      ...Object.fromEntries(["last", "all", "orig"].map((name) => [name, mean(of(model, gamma, name))])),
    }))
  );
  const balance = ["CRN", "CRN (α=0)", "CLEF head"].flatMap((model) =>
    gammas.filter((gamma) => of(model, gamma).length).map((gamma): Row => ({
      ...{ model, gamma, "error, last": mean(of(model, gamma)) },
      "treatment told": mean(of(model, gamma, "treatmentTold")),
      discrepancy: mean(of(model, gamma, "discrepancy")),
    }))
  );
  const paired = (a: string, b: string, gamma: number) => {
    const seeds = new Map(
      rows.filter((row) => row.model === b && row.gamma === gamma).map((row) => [row.seed, row.last as number]),
    );
    const pairs = rows.filter((row) => row.model === a && row.gamma === gamma && seeds.has(row.seed));
    if (!pairs.length) return `not run at γ = ${gamma}`;
    const better = pairs.filter((row) => (row.last as number) < seeds.get(row.seed)!).length;
    const change = mean(pairs.map((row) => 100 * ((row.last as number) / seeds.get(row.seed)! - 1)));
    return `${change > 0 ? "+" : ""}${
      change.toFixed(1)
    } % at γ = ${gamma} (lower in ${better} of ${pairs.length} seeds)`;
  };
  const compare = (a: string, b: string) => `${paired(a, b, 0)}, ${paired(a, b, 4)}`;
  const undone = missing(rows);
  return `# Tumour growth: true counterfactuals, one day ahead

**${experiment.question}** Lung tumours under chemotherapy and radiotherapy are simulated
([Geng et al. 2017](https://doi.org/10.1038/s41598-017-13646-z)); the larger a tumour, the likelier its treatment, the more so
the larger γ is. 10,000 patients to train on; for each day of 1,000 others the next volume under all four treatments is known.
Sizes, learning rates, batches and epochs are the published ones of each model; CLEF's head has CRN's, and CRN's encoder.

Errors are root mean squared errors in percent of the deadly volume, over the counterfactual answers alone (\`last\`): mean ±
standard deviation over seeds (number of seeds).

${markdownTable(overview)}
*last value*: nothing changes. *POP*: the true law with mean parameters. *ORACLE*: the law with each patient's own, without
the noise. *α=0*: without balancing.

## Beside the paper

${experiment.paper!.cite}; mean and standard deviation over five seeds of theirs.

${markdownTable(beside)}
- CLEF's head beside CRN, paired by seed: ${compare("CLEF head", "CRN")}.
- CLEF's head beside POP: ${compare("CLEF head", "POP")}.
- CRN beside POP: ${compare("CRN", "POP")}.
- CRN with balancing beside CRN without: ${compare("CRN", "CRN (α=0)")}.

Patients differ by seed, and our generator is not NumPy's: POP alone varies by a tenth from seed to seed, so that models are
compared on the same patients, and a table of two seeds says little about a difference of a few percent.

## Three ways to average

Only \`last\` grows with γ as the published numbers do; over all days of the rows, histories outweigh the answers.

${markdownTable(three)}
## How much of the treatment a representation tells

On days of a validation cohort: which part of the next treatment's uncertainty a linear classifier takes away (0: none), and
the squared maximum mean discrepancy between days with and without chemotherapy.

${markdownTable(balance)}
## Not run

${
    undone.length
      ? `At the pace of the trained rows, one thread of two cores that many others used at the time (${
        (1000 * paceOf(rows)).toFixed(0)
      } ms an update of CRN; a quiet machine needs a fraction of it):

${markdownTable(undone)}`
      : "Nothing.\n"
  }
Two to six days ahead (published tables 10 and 11) are [tumour_ahead](../tumour_ahead/README.md). \`deno run -A experiments/tumour/run.ts --gamma 1 --models CRN\`
runs what is missing.
`;
}
