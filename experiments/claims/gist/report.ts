/**
 * The experiment's page, written from its rows by `task reproduce gist`.
 *
 * @module
 */
import { bySeed, judge, markdownTable, type Row } from "../../../lib/experiment/mod.ts";
import { mean, meanInterval } from "../../../lib/stats.ts";
import { claims } from "./claims.ts";
import experiment from "./experiment.ts";

/** The text of README.md. */
export function readmeOf(rows: readonly Row[]): string {
  const askings = [...new Set(rows.map(({ asking }) => String(asking)))];
  const lines = askings.map((asking): Row => {
    const right = bySeed(rows, { asking }, "accuracy");
    const { low, high } = right.length > 1 ? meanInterval(right) : { low: null, high: null };
    const [vectors] = bySeed(rows, { asking }, "vectors");
    return {
      "a question looks at": asking,
      "cached vectors": vectors,
      "right answers (%)": 100 * mean(right),
      low: low === null ? null : 100 * low,
      high: high === null ? null : 100 * high,
      seeds: right.length,
    };
  });
  const verdicts = claims.map((claim): Row => {
    const { verdict } = judge(claim, rows);
    return { card: claim.id, claim: claim.claim, verdict: verdict.verdict, reason: verdict.reason };
  });
  return `# A context in a few vectors

**${experiment.question}** Six pairs of a name and a thing; then the names are asked. *Gist*: learned tokens behind the pairs, which
saw them; questions see nothing else. *Pooled*: averages of the pairs' keys and values in each block. *First*: the first
tokens of the context. *Blind*: gist tokens that saw nothing. Written from \`rows.csv\` by \`task reproduce gist\`.

${markdownTable(lines)}
## Cards

${markdownTable(verdicts)}`;
}
