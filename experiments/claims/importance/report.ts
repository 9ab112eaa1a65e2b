/**
 * The experiment's page, written from its rows by `task reproduce importance`.
 *
 * @module
 */
import { bySeed, judge, markdownTable, type Row } from "../../../lib/experiment/mod.ts";
import { mean, meanInterval } from "../../../lib/stats.ts";
import { claims } from "./claims.ts";
import experiment, { KEEPS } from "./experiment.ts";

/** The text of README.md. */
export function readmeOf(rows: readonly Row[]): string {
  const scores = [...new Set(rows.map(({ score }) => String(score)))];
  const lines = scores.map((score): Row => {
    const of = (column: string) => bySeed(rows, { score }, column);
    const { low, high } = of("correlation").length > 1 ? meanInterval(of("correlation")) : { low: null, high: null };
    return {
      score,
      "rank correlation with the truth": mean(of("correlation")),
      low,
      high,
      "object's cells among the first 16 (%)": 100 * mean(of("objectFound")),
      ...Object.fromEntries(KEEPS.map((keep) => [`right with ${keep} (%)`, 100 * mean(of(`right${keep}`))])),
      seeds: of("correlation").length,
    };
  });
  const verdicts = claims.map((claim): Row => {
    const { verdict } = judge(claim, rows);
    return { card: claim.id, claim: claim.claim, verdict: verdict.verdict, reason: verdict.reason };
  });
  return `# What a token is worth

**${experiment.question}** The truth: leave each of 64 tokens out of a frozen model, before its first block, and see what the
right answer's log probability loses. With all tokens ${
    (100 * mean(bySeed(rows, { score: "random" }, "whole"))).toFixed(1)
  } % are right; guessing among four colours gives a quarter.
*Gradient times input* and *left out, truly* know the right answer, and are there to compare with. Written from \`rows.csv\` by
\`task reproduce importance\`.

${markdownTable(lines)}
## Cards

${markdownTable(verdicts)}`;
}
