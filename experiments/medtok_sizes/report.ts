/**
 * The experiment's page, written from its rows by `task reproduce medtok_sizes`.
 *
 * @module
 */
import { markdownTable, reproduction, type Row } from "../../lib/experiment/mod.ts";
import { mean, meanInterval, pairedDifference } from "../../lib/stats.ts";
import experiment from "./experiment.ts";

/** The setting that the paper recommends. */
const USUAL = "N = 12000";

/** One line per setting: means over seeds, and the difference in AUPRC to the usual setting on the same seeds. */
export function overSeeds(rows: readonly Row[]): Row[] {
  const of = (setting: string, column: string) =>
    rows.filter((row) => row.setting === setting).toSorted((a, b) => Number(a.seed) - Number(b.seed))
      .map((row) => Number(row[column]));
  const usual = of(USUAL, "auprc");
  return [...new Set(rows.map(({ setting }) => String(setting)))].map((setting): Row => {
    const auprc = of(setting, "auprc");
    const isPaired = auprc.length > 1 && auprc.length === usual.length && setting !== USUAL;
    const { low, high } = auprc.length > 1 ? meanInterval(auprc) : { low: null, high: null };
    const against = isPaired ? pairedDifference(auprc, usual) : undefined;
    return {
      setting,
      AUPRC: mean(auprc),
      low,
      high,
      [`less ${USUAL}`]: against?.value ?? null,
      from: against?.low ?? null,
      to: against?.high ?? null,
      module: mean(of(setting, "module")),
      category: mean(of(setting, "category")),
      "rows used": mean(of(setting, "rowsUsed")),
      of: of(setting, "rows")[0],
      seeds: auprc.length,
    };
  });
}

/** The text of README.md. */
export async function readmeOf(rows: readonly Row[]): Promise<string> {
  const lines = overSeeds(rows);
  const sure = lines.filter(({ from, to }) => Number(from) > 0 || Number(to) < 0);
  return `# MedTok's sizes

**${experiment.question}** Rows of the codebook (N, as the paper counts them; 30 of ours stand for 1,000), weights of the two
packing losses (λ = β; 0.1 elsewhere), codewords per slot (K; 5 elsewhere), one changed at a time. The planted world, a
tokenizer of 200 steps, the reference model of health records with 4 epochs; AUPRC is the mean of four tasks. *module* and
*category* are how well the best slot tells these factors to a linear reader. Written by \`task reproduce medtok_sizes\`.

${markdownTable(lines, 3)}
${
    sure.length
      ? `Different from ${USUAL} with an interval that excludes 0: ${sure.map(({ setting }) => setting).join("; ")}.`
      : `No setting differs from ${USUAL} with an interval that excludes 0.`
  } What the paper draws as a peak at 12,000 rows can be compared in order alone:

${markdownTable(await reproduction(rows, experiment.paper!), 3)}`;
}
