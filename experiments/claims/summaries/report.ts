/**
 * The experiment's page, written from its rows by `task reproduce summaries`.
 *
 * @module
 */
import { bySeed, judge, markdownTable, type Row } from "tessera/experiment/mod.ts";
import { mean, meanInterval } from "tessera/stats.ts";
import { claims } from "./claims.ts";
import experiment, { askings } from "./experiment.ts";

/** The text of README.md. */
export function readmeOf(rows: readonly Row[]): string {
  const lines = experiment.grid.variables.flatMap((variables) =>
    Object.keys(askings).map((asking): Row => {
      const right = bySeed(rows, { variables, asking }, "accuracy");
      const { low, high } = right.length > 1 ? meanInterval(right) : { low: null, high: null };
      return {
        variables,
        "a question looks at": asking,
        "right (%)": 100 * mean(right),
        low: low === null ? null : 100 * low,
        high: high === null ? null : 100 * high,
        "loss (nats)": mean(bySeed(rows, { variables, asking }, "loss")),
        seeds: right.length,
      };
    })
  );
  const verdicts = claims.map((claim): Row => {
    const { verdict } = judge(claim, rows);
    return { card: claim.id, claim: claim.claim, verdict: verdict.verdict, reason: verdict.reason };
  });
  return `# Summary tokens

**${experiment.question}** Variables of a first segment are asked for behind a second one; what is known of them has passed the summary
tokens of both. Written from \`rows.csv\` by \`task reproduce summaries\`.

${markdownTable(lines)}
## Cards

${markdownTable(verdicts)}`;
}
