/**
 * The experiment's page, written from its rows by `task reproduce reward`.
 *
 * @module
 */
import { bySeed, judge, markdownTable, type Row } from "tessera/experiment/mod.ts";
import { mean } from "tessera/stats.ts";
import { claims } from "./claims.ts";
import experiment from "./experiment.ts";

/** The text of README.md. */
export function readmeOf(rows: readonly Row[]): string {
  const arms = [...new Set(rows.map(({ arm }) => String(arm)))];
  const lines = experiment.grid.paid.flatMap((paid) =>
    // what came before any reward is the same for both, seed by seed
    (paid === "right" ? arms : ["after"]).map((arm): Row => {
      const of = (column: string, temperature: number) => mean(bySeed(rows, { paid, arm, temperature }, column));
      return {
        "rewarded for": arm === "after" ? paid : "-",
        arm,
        "right at temperature 1 (%)": 100 * of("accuracy", 1),
        "likeliest token (%)": 100 * of("accuracy", 0),
        tokens: of("tokens", 1),
        "terse chains (%)": 100 * of("terse", 1),
        "no chain (%)": 100 * of("empty", 1),
        fillers: of("fillers", 1),
        seeds: bySeed(rows, { paid, arm, temperature: 1 }, "tokens").length,
      };
    })
  );
  const verdicts = claims.map((claim): Row => {
    const { verdict } = judge(claim, rows);
    return { card: claim.id, claim: claim.claim, verdict: verdict.verdict, reason: verdict.reason };
  });
  return `# Shorter by reward

**${experiment.question}** A small Llama has learnt to write sums tersely, with fillers, twice, or not at all, told which or not.
*Before*: what it writes when it is told nothing. *After*: the same after 100 updates by reward. Tokens and chains at temperature
1. Written from \`rows.csv\` by \`task reproduce reward\`.

${markdownTable(lines)}
## Cards

${markdownTable(verdicts)}`;
}
