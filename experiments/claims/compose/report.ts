/**
 * The experiment's page, written from its rows by `task reproduce compose`.
 *
 * @module
 */
import { bySeed, judge, markdownTable, type Row } from "../../../lib/experiment/mod.ts";
import { mean } from "../../../lib/stats.ts";
import { added, claims } from "./claims.ts";
import experiment, { SHARES } from "./experiment.ts";

/** The text of README.md. */
export function readmeOf(rows: readonly Row[]): string {
  const of = (choice: string, promptKept: number, cacheKept: number, column: string) =>
    mean(bySeed(rows, { choice, promptKept, cacheKept }, column));
  const grid = (choice: string) =>
    markdownTable(SHARES.map((promptKept): Row => ({
      "prompt kept": promptKept,
      ...Object.fromEntries(
        SHARES.map((cacheKept) => [`cache ${cacheKept}`, of(choice, promptKept, cacheKept, "recall")]),
      ),
    })));
  const beyond = markdownTable(
    SHARES.slice(1).map((promptKept): Row => ({
      "prompt kept": promptKept,
      ...Object.fromEntries(
        SHARES.slice(1).map((cacheKept) => [
          `cache ${cacheKept}`,
          of("by score", promptKept, cacheKept, "logOdds") - mean(added(rows, promptKept, cacheKept)),
        ]),
      ),
    })),
  );
  const apart = Math.max(
    ...rows.map((row) => Math.abs(Number(row.share) - Number(row.promptKept) * Number(row.cacheKept))),
  );
  const verdicts = claims.map((claim): Row => {
    const { verdict } = judge(claim, rows);
    return { card: claim.id, claim: claim.claim, verdict: verdict.verdict, reason: verdict.reason };
  });
  return `# A shorter prompt and a smaller cache

**${experiment.question}** Texts of 96 tokens with ten facts; first a share of the prompt stays, then a share of the slots that it
fills. Recall, means over ${
    new Set(rows.map(({ seed }) => seed)).size
  } seeds; guessing among the things of a text gives ${
    of("by score", 1, 1, "chance").toFixed(2)
  }. Written from \`rows.csv\` by
\`task reproduce compose\`.

## By score

The prompt by self-information, the cache by KeyDiff.

${grid("by score")}
## At random

${grid("at random")}
## More or less than added up

Log odds of recall, less what the two losses add up to: below 0 they lose more together than each by itself.

${beyond}
The share of slots that is left is the product of both shares, but for rounding: at most ${
    apart.toFixed(3)
  } apart. That holds where the prompt is shortened before it is read; a reduction inside the model leaves the blocks before it
as they were.

## Cards

${markdownTable(verdicts)}`;
}
