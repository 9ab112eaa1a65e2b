/**
 * The experiment's page, written from its rows by `task reproduce ehr`.
 *
 * @module
 */
import { cellsOf, fromCSV, markdownTable, type Row } from "../../lib/experiment/mod.ts";
import { type Interval, mean, meanInterval, pairedDifference } from "../../lib/stats.ts";
import experiment, { training } from "./experiment.ts";

const here = (name: string) => new URL(name, import.meta.url);

/** Tasks of the planted world. */
export const tasks = ["mortality", "readmission", "drugs", "phenotypes"] as const;
/** A task, or the mean over tasks, on patients like those trained on or on those of another hospital. */
export type Measure = (typeof tasks)[number] | "mean" | "shiftMean";

/** The committed rows. */
export async function committedRows(): Promise<Row[]> {
  return fromCSV(await Deno.readTextFile(here("rows.csv")), "rows.csv");
}

/** A measure of a setting, seed by seed, in the order of the seeds. */
export function measured(rows: readonly Row[], setting: string, measure: Measure): number[] {
  return rows.filter((row) => row.setting === setting).toSorted((a, b) => Number(a.seed) - Number(b.seed))
    .map((row) => Number(row[measure]));
}

/** Settings that have a row for each of the experiment's seeds. */
export function whole(rows: readonly Row[]): string[] {
  const counts = Map.groupBy(rows, (row) => String(row.setting));
  return [...counts].filter(([, own]) => own.length === experiment.seeds.length).map(([setting]) => setting);
}

/** The mean over seeds; with its interval, where there are several. */
export function summary(values: readonly number[]): Pick<Interval, "value" | "low" | "high"> {
  return values.length > 1 ? meanInterval(values) : { value: values[0], low: NaN, high: NaN };
}

/** Models with their own codes and with MedTok, as table 3 of the paper. */
export function withAndWithout(rows: readonly Row[]): Row[] {
  const models = [...new Set(rows.map((row) => String(row.model)))];
  return models.flatMap((model): Row[] => {
    const [own, medtok] = ["own codes", "MedTok"].map((tokens) => `${model} | ${tokens}`);
    // pairs: the seeds that both have
    const seedsOf = (setting: string) => rows.filter((row) => row.setting === setting).map(({ seed }) => Number(seed));
    const common = new Set(seedsOf(own)).intersection(new Set(seedsOf(medtok)));
    const paired = rows.filter(({ seed }) => common.has(Number(seed)));
    const values = measured(paired, own, "mean"), other = measured(paired, medtok, "mean");
    if (!values.length) return [];
    const { value, low, high } = values.length > 1
      ? pairedDifference(other, values)
      : { value: other[0] - values[0], low: null, high: null };
    const of = (setting: string) =>
      Object.fromEntries(tasks.map((task) => [task, mean(measured(paired, setting, task))]));
    return [
      {
        model,
        tokens: "own codes",
        ...of(own),
        mean: mean(values),
        gain: null,
        low: null,
        high: null,
        seeds: values.length,
      },
      { model, tokens: "MedTok", ...of(medtok), mean: mean(other), gain: value, low, high, seeds: other.length },
    ];
  });
}

/** What each tokenizer, and each part of MedTok, does for the reference model. */
export function byTokenizer(rows: readonly Row[]): Row[] {
  const own = rows.filter((row) => row.model === "reference" && row.without === "whole");
  return [...Map.groupBy(own, (row) => String(row.tokens))].map(([tokens, group]): Row => {
    const setting = String(group[0].setting);
    const of = (measure: Measure) => mean(measured(rows, setting, measure));
    const spread = measured(rows, setting, "mean");
    return {
      tokens,
      ...Object.fromEntries(tasks.map((task) => [task, of(task)])),
      mean: of("mean"),
      lowest: Math.min(...spread),
      highest: Math.max(...spread),
      "other hospital": of("shiftMean"),
      seeds: group.length,
    };
  }).toSorted((a, b) => Number(b.mean) - Number(a.mean));
}

/** What each model loses without one of its parts: the difference to the whole model on the same seeds. */
export function switchedOff(rows: readonly Row[]): Row[] {
  const less = [...new Set(rows.filter((row) => row.without !== "whole").map((row) => String(row.setting)))];
  return less.flatMap((setting): Row[] => {
    const own = rows.filter((row) => row.setting === setting);
    const { model, tokens, without } = own[0];
    const pairs = own.flatMap((row) => {
      const base = rows.find((other) =>
        other.model === model && other.tokens === tokens && other.without === "whole" && other.seed === row.seed
      );
      return base ? [[Number(row.mean), Number(base.mean), Number(row.mortality), Number(base.mortality)]] : [];
    });
    if (!pairs.length) return [];
    return [{
      model,
      without,
      "mean AUPRC": mean(pairs.map(([value]) => value)),
      "whole model": mean(pairs.map(([, base]) => base)),
      difference: mean(pairs.map(([value, base]) => value - base)),
      "difference, mortality": mean(pairs.map(([, , value, base]) => value - base)),
      seeds: pairs.length,
    }];
  });
}

/** An order that the specification of MedTok expects on this world, and whether the rows have it. */
export interface Order {
  readonly claim: string;
  readonly better: string;
  readonly worse: string;
  readonly measure: Measure;
  /** Mean difference over seeds. */
  readonly difference: number;
  /** In how many seeds it holds. */
  readonly holds: number;
  readonly seeds: number;
}

const variants = [
  "MedTok",
  "MedTok without graph",
  "MedTok without text",
  "MedTok, codebook, shared and KL",
  "MedTok, codebook and specific",
];

/** The orders of section 7.5 (T23), where both sides have rows. */
export function orders(rows: readonly Row[]): Order[] {
  const expected: [string, string, string, Measure][] = [
    ...["MedTok without graph", "VQGraph", "own codes", "code pieces", "random vectors"].map((
      worse,
    ): [string, string, string, Measure] => ["the whole MedTok is better", "MedTok", worse, "mean"]),
    ...variants.map((better): [string, string, string, Measure] => [
      "the codebook loss alone is worst",
      better,
      "MedTok, codebook loss alone",
      "mean",
    ]),
    ["drugs need the graph", "MedTok without text", "MedTok without graph", "drugs"],
    ["readmission needs the graph", "MedTok without text", "MedTok without graph", "readmission"],
    ["phenotypes need the text", "MedTok without graph", "MedTok without text", "phenotypes"],
    ["mortality needs the text", "MedTok without graph", "MedTok without text", "mortality"],
  ];
  return expected.flatMap(([claim, better, worse, measure]) => {
    const [a, b] = [better, worse].map((tokens) => measured(rows, `reference | ${tokens}`, measure));
    const seeds = Math.min(a.length, b.length);
    if (!seeds) return [];
    const differences = Array.from({ length: seeds }, (_, i) => a[i] - b[i]);
    return [{
      claim,
      better,
      worse,
      measure,
      difference: mean(differences),
      holds: differences.filter((value) => value > 0).length,
      seeds,
    }];
  });
}

/** The text of README.md. */
export function readmeOf(rows: readonly Row[]): string {
  const tokenizers = byTokenizer(rows),
    models = withAndWithout(rows),
    parts = switchedOff(rows),
    expected = orders(rows);
  const gains = models.flatMap(({ gain }) => typeof gain === "number" ? [gain] : []);
  const failed = expected.filter(({ difference }) => difference <= 0);
  const of = (tokens: string) => Number(tokenizers.find((row) => row.tokens === tokens)?.mean ?? NaN);
  const [own, noise, medtok] = ["own codes", "random vectors", "MedTok"].map(of);
  const have = new Set(rows.map(({ setting, seed }) => `${setting} ${seed}`));
  const all = cellsOf(experiment).length;
  return `# Health records with MedTok and without

**${experiment.question}** Patients of a simulated world whose labels are known to depend on text, on the graph, or on both:
800 to train on, 500 to choose the epoch by, 600 to test, and 600 of another hospital that codes in a system which is rare
elsewhere. Numbers are average precision (AUPRC); a task with several labels counts with their mean, and *mean* is that of four
tasks. A seed is that of the world, the tokenizer and the model. Each model has about 64 channels and two layers and is
trained for ${training.epochs} epochs (and ${training.pretrainEpochs} before it sees labels); nothing was tuned. ${
    have.size === all ? "" : `**${have.size} of ${all} rows are there**; the others have not been run. `
  }Written from \`rows.csv\` by \`task reproduce ehr\`; \`task experiment run ehr\` computes what is missing.

## Models with their own codes and with MedTok

${markdownTable(models, 3)}
Mean gain over models: ${
    gains.length ? mean(gains).toFixed(3) : "no rows"
  }. \`low\` and \`high\` are the 95 % interval of the gain
over seeds. Table 3 of Su et al. (\`paper.csv\`) has gains of 0.012 to 0.048 per task on MIMIC-III and MIMIC-IV; only the sign can
be compared, because this world is made so that a code's text and graph tell something and its string tells nothing. ETHOS has
hardly learnt anything in so few epochs, with either kind of tokens: its scores are near the prevalence, and its row says
nothing about tokens.

## Tokenizers under the reference model

${markdownTable(tokenizers, 3)}
**Not all of the gain is meaning**: frozen random vectors are ${
    (noise - own).toFixed(3)
  } ahead of own codes, whose rows are too many to learn from 800 patients in ${training.epochs} epochs. Beyond them MedTok is ${
    (medtok - noise).toFixed(3)
  } ahead.

MedTok and its parts are frozen vectors, unless the name says otherwise. Orders that are expected on this world, by the mean over
seeds: ${expected.length - failed.length} of ${expected.length} hold.${
    failed.length
      ? ` Not: ${failed.map(({ better, worse, measure }) => `${better} over ${worse} (${measure})`).join("; ")}.`
      : ""
  }

${
    markdownTable(
      expected.map(({ claim, better, worse, measure, difference, holds, seeds }) => (
        { claim, better, worse, measure, difference, "holds in": `${holds} of ${seeds}` }
      )),
      3,
    )
  }
## What makes each model what it is, switched off

${parts.length ? markdownTable(parts, 3) : "No rows yet: `task experiment run ehr` computes them.\n"}
With MedTok vectors. A difference near 0 is a result too: what the paper calls essential adds little on these records.
\`one task\` is trained on mortality alone, so that only its mortality can be compared.
`;
}
