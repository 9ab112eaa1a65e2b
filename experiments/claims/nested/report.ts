/**
 * The experiment's page, written from its rows by `task reproduce nested`.
 *
 * @module
 */
import { bySeed, judge, markdownTable, type Row } from "../../../lib/experiment/mod.ts";
import { mean } from "../../../lib/stats.ts";
import { claims } from "./claims.ts";
import experiment from "./experiment.ts";
import { SCALES } from "./model.ts";

/** The text of README.md. */
export function readmeOf(rows: readonly Row[]): string {
  const lines = experiment.grid.training.flatMap((training) =>
    SCALES.map((tokens): Row => {
      const of = (column: string) => mean(bySeed(rows, { training, tokens }, column));
      return {
        training,
        "image tokens": tokens,
        "colour (%)": 100 * of("colour"),
        "half (%)": 100 * of("half"),
        "alignment, block 1": of("alignment1"),
        "block 2": of("alignment2"),
        "steps of training": of("steps"),
        seeds: bySeed(rows, { training, tokens }, "colour").length,
      };
    })
  );
  const verdicts = claims.map((claim): Row => {
    const { verdict } = judge(claim, rows);
    return { card: claim.id, claim: claim.claim, verdict: verdict.verdict, reason: verdict.reason };
  });
  return `# Nested pooling

**${experiment.question}** A decoder of two blocks answers questions about grids of 64 cells. *Whole*: trained with all of them.
*Nested*: with all, with 16 and with 4 average squares in each step, at the same multiply-accumulates in all. Guessing among
the four colours that an image can show gives no more than half. Alignment is R² of a ridge regression from the mean image
token to the mean word vector of what is shown. Written from \`rows.csv\` by \`task reproduce nested\`.

${markdownTable(lines)}
## Cards

${markdownTable(verdicts)}`;
}
