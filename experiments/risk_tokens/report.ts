/**
 * The experiment's page, written from its rows by `task reproduce risk_tokens`.
 *
 * @module
 */
import { markdownTable, type Row, type Verdict, verdictOn } from "../../lib/experiment/mod.ts";
import { mean } from "../../lib/stats.ts";
import experiment from "./experiment.ts";

const groups = ["highest predicted risk", "fell ill", "most of the mechanisms", "drawn at random"] as const;
type Group = (typeof groups)[number];

/** Of each seed, the mean over conditions of a column. */
function bySeedOf(rows: readonly Row[], tokens: string, group: Group, column: string): number[] {
  const own = rows.filter((row) => row.tokens === tokens && row.group === group && row[column] !== null);
  return [...Map.groupBy(own, (row) => Number(row.seed))].sort(([a], [b]) => a - b)
    .map(([, some]) => mean(some.map((row) => Number(row[column]))));
}

/** Whether the most enriched tokens of the predicted group lead to causes more often than those of a group by chance. */
export function verdictFor(rows: readonly Row[], tokens: string): Verdict {
  return verdictOn({
    treatment: bySeedOf(rows, tokens, "highest predicted risk", "most"),
    against: { "a group drawn at random": bySeedOf(rows, tokens, "drawn at random", "most") },
    expect: "higher",
  });
}

const meanOrNone = (values: readonly number[]) => values.length ? mean(values) : null;
const percent = (share: number | null) => share === null ? null : 100 * share;

/** The text of README.md. */
export function readmeOf(rows: readonly Row[]): string {
  const kinds = experiment.grid.tokens.filter((tokens) => rows.some((row) => row.tokens === tokens));
  const lines = kinds.flatMap((tokens) =>
    groups.map((group): Row => {
      const of = (column: string) => meanOrNone(bySeedOf(rows, tokens, group, column));
      return {
        tokens,
        group,
        "fell ill (%)": percent(of("fellIll")),
        "causes behind the most enriched (%)": percent(of("most")),
        "behind the least (%)": percent(of("least")),
        "among all codes (%)": percent(of("everywhere")),
        seeds: bySeedOf(rows, tokens, group, "most").length,
      };
    })
  );
  const verdicts = kinds.map((tokens): Row => {
    const { verdict, reason } = verdictFor(rows, tokens);
    return { tokens, verdict, reason };
  });
  const quality = kinds.map((tokens) =>
    `${tokens} ${meanOrNone(bySeedOf(rows, tokens, "highest predicted risk", "auprc"))?.toFixed(3) ?? "unknown"}`
  );
  const prevalence = mean(rows.map((row) => Number(row.prevalence)));
  const there = new Set(rows.map(({ key }) => key)).size;
  const cells = experiment.grid.tokens.length * experiment.seeds.length;
  return `# Which tokens those at risk have more of

**${experiment.question}** Figure 7 of Su et al. maps the frequent tokens of patients at high risk of hyperlipidemia back to
codes and finds them plausible. On simulated patients plausible is not enough: a condition comes from two of 24 mechanisms, and
the codes behind a token either have one of them or do not. Patients and conditions are those of
[new_diagnoses](../new_diagnoses/README.md); four conditions a seed, of patients who have not had them; the 15 tokens at each
end of the list, with up to five codes each. ${
    there === cells ? `All ${cells} rows` : `**${there} of ${cells} rows are there**`
  }; a seed is a world, a tokenizer and a model. Written from ${"`rows.csv`"} by ${"`task reproduce risk_tokens`"}.

${markdownTable(lines, 3)}
The predictions that the first group rests on have an average precision of ${quality.join(", ")}; the prevalence is ${
    prevalence.toFixed(3)
  }.

**Do the tokens of the predicted group lead to causes more often than those of a group drawn at random?**

${markdownTable(verdicts)}
A group drawn at random has tokens that are more frequent than elsewhere, too, and codes behind them: that is what a list of this
kind shows when there is nothing to see. The group that truly has most of the mechanisms is the most that it can show.
`;
}
