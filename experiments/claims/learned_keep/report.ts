/**
 * The experiment's page, written from its rows by `task reproduce learned_keep`.
 *
 * @module
 */
import { judge, markdownTable, type Row } from "../../../lib/experiment/mod.ts";
import { mean, meanInterval } from "../../../lib/stats.ts";
import { claims } from "./claims.ts";
import experiment from "./experiment.ts";

/** The text of README.md. */
export function readmeOf(rows: readonly Row[]): string {
  const groups = [...Map.groupBy(rows, (row) => `${row.price}|${row.arm}`).values()];
  const lines = groups.map((own): Row => {
    const of = (column: string) => own.map((row) => row[column]).filter((value) => typeof value === "number");
    const right = of("accuracy"), { low, high } = right.length > 1 ? meanInterval(right) : { low: null, high: null };
    const variances = of("gradient variance");
    return {
      price: own[0].price,
      arm: own[0].arm,
      "told right": mean(right),
      low,
      high,
      "tokens kept": mean(of("kept")),
      "no clutter": mean(of("kept, no clutter")),
      "most clutter": mean(of("kept, most clutter")),
      "object cells kept": mean(of("object cells kept")),
      "other cells kept": mean(of("other cells kept")),
      "variance of the gradient": variances.length ? mean(variances) : null,
      seeds: own.length,
    };
  });
  const verdicts = claims.map((claim): Row => {
    const { verdict } = judge(claim, rows);
    return { card: claim.id, claim: claim.claim, verdict: verdict.verdict, reason: verdict.reason };
  });
  const there = new Set(rows.map(({ key }) => key)).size;
  return `# A reduction that is learnt by reward

**${experiment.question}** Images of 64 tokens, four objects on sixteen of them, clutter on none, a fifth or half of the others;
a frozen classifier says which of six shapes are there. Policies are paid 1 for a right answer and pay *price* times the share of
tokens that they keep. \`its numbers\`: as many tokens of each image as REINFORCE's policy keeps, chosen otherwise; \`one number for
all\`: its mean. ${
    there === experiment.seeds.length
      ? `All ${there} seeds`
      : `**${there} of ${experiment.seeds.length} seeds are there**`
  }, each with a classifier of its own. Written from \`rows.csv\` by \`task reproduce learned_keep\`.

${markdownTable(lines)}
## Cards

${markdownTable(verdicts)}`;
}
