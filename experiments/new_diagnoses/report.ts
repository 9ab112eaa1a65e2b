/**
 * The experiment's page, written from its rows by `task reproduce new_diagnoses`.
 *
 * @module
 */
import { fromCSV, markdownTable, type Row } from "../../lib/experiment/mod.ts";
import { mean, pairedDifference } from "../../lib/stats.ts";
import experiment from "./experiment.ts";
import { conditions, tasks } from "./world.ts";

/** What MedTok adds to a model on a task: one line each, over the seeds that both have. */
export interface Gain {
  readonly model: string;
  readonly task: string;
  readonly own: number;
  readonly medtok: number;
  readonly gain: number;
  /** 95 % interval over seeds; null of a single one. */
  readonly low: number | null;
  readonly high: number | null;
  readonly seeds: number;
}

/** Average precision with MedTok less that with own codes, seed by seed. */
export function gains(rows: readonly Row[]): Gain[] {
  const of = (model: string, tokens: string, task: string) =>
    new Map(
      rows.filter((row) => row.model === model && row.tokens === tokens && row.task === task && row.auprc !== null)
        .map((row) => [row.seed, Number(row.auprc)]),
    );
  return experiment.grid.model.flatMap((model) =>
    tasks.flatMap((task): Gain[] => {
      const own = of(model, "own codes", task), medtok = of(model, "MedTok", task);
      const seeds = [...own.keys()].filter((seed) => medtok.has(seed));
      if (!seeds.length) return [];
      const [a, b] = [medtok, own].map((from) => seeds.map((seed) => from.get(seed)!));
      const { value, low, high } = seeds.length > 1
        ? pairedDifference(a, b)
        : { value: a[0] - b[0], low: null, high: null };
      return [{ model, task, own: mean(b), medtok: mean(a), gain: value, low, high, seeds: seeds.length }];
    })
  );
}

/** The text of README.md. */
export async function readmeOf(rows: readonly Row[]): Promise<string> {
  const paper = fromCSV(await Deno.readTextFile(experiment.paper!.table), "paper.csv");
  const printed = (model: string, task: string): number | null => {
    const [own, medtok] = ["own codes", "MedTok"].map((tokens) =>
      paper.find((row) => row.model === model && row.tokens === tokens && row.task === task)?.auprc
    );
    return typeof own === "number" && typeof medtok === "number" ? medtok - own : null;
  };
  const all = gains(rows);
  const asked = tasks.map((task): Row => {
    const own = rows.filter((row) => row.task === task);
    // each seed's patients once
    const worlds = [...new Map(own.map((row) => [row.seed, row])).values()];
    return {
      task,
      "in table 4": paper.find((row) => row.task === task)?.asks ?? null,
      "patients asked of": mean(worlds.map((row) => Number(row.asked))),
      prevalence: mean(worlds.map((row) => Number(row.prevalence))),
    };
  });
  const lines = all.map(({ model, task, own, medtok, gain, low, high, seeds }): Row => ({
    model,
    task,
    "own codes": own,
    MedTok: medtok,
    gain,
    low,
    high,
    "gain, table 4": printed(model, task),
    seeds,
  }));
  const beside = all.flatMap(({ model, task, gain }) => {
    const theirs = printed(model, task);
    return theirs === null || task === "long stay"
      ? []
      : [{ same: Math.sign(theirs) === Math.sign(gain) || theirs === 0 }];
  });
  const byTask = tasks.map((task): Row => {
    const own = all.filter((gain) => gain.task === task);
    return {
      task,
      "mean gain over models": mean(own.map(({ gain }) => gain)),
      "models that gain": `${own.filter(({ gain }) => gain > 0).length} of ${own.length}`,
      "with an interval above 0": own.filter(({ low }) => low !== null && low > 0).length,
      "with one below 0": own.filter(({ high }) => high !== null && high < 0).length,
    };
  });
  const sure = (task: string) => all.filter((gain) => gain.task === task && gain.low !== null && gain.low > 0).length;
  const rare = conditions.reduce((sum, condition) => sum + sure(condition), 0);
  const there = new Set(rows.map(({ key }) => key)).size;
  const cells = experiment.grid.model.length * experiment.grid.tokens.length * experiment.seeds.length;
  return `# New diagnoses, with MedTok and without

**${experiment.question}** The shape of table 4 of Su et al., whose patients (EHRShot) need credentials, on patients who are
simulated: 800 to train on, 400 to choose the epoch by, 1,000 to test. A condition's own codes can be told by their words; what
brings it about are two mechanisms, which only the graph tells; whoever has one of its codes on record is not asked about. A long
stay depends on nothing that is recorded, and stands here as a control: a gain there would be a mistake of ours. Average
precision; ${
    there === cells ? `all ${cells} rows` : `**${there} of ${cells} rows are there**`
  }. A seed is a world, a tokenizer and a model; ${"`low`"} and ${"`high`"} are the 95 % interval of the gain over seeds. Written
from ${"`rows.csv`"} by ${"`task reproduce new_diagnoses`"}.

## What is asked

${markdownTable(asked, 3)}
## What MedTok adds, by task

${markdownTable(byTask, 3)}
Of ${
    conditions.length * experiment.grid.model.length
  } pairs of a model and a new diagnosis, ${rare} gain with an interval above 0. On the long
stay, which nothing tells, ${
    sure("long stay")
  } of ${experiment.grid.model.length} models do. Of ${beside.length} pairs that table 4 has too, ${
    beside.filter(({ same }) => same).length
  } change in its
direction; only the direction can be compared. Models, training and tokenizer are those of [ehr](../ehr/README.md), and so is what
its page says: part of such a gain is had by frozen vectors of any kind.

## By model

${markdownTable(lines, 3)}`;
}
