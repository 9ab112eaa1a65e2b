/**
 * The experiment's page, written from its rows by `task reproduce break_even`.
 *
 * @module
 */
import { bySeed, judge, markdownTable, type Row } from "../../../lib/experiment/mod.ts";
import { mean } from "../../../lib/stats.ts";
import { claims } from "./claims.ts";
import experiment, { methods } from "./experiment.ts";

/**
 * The number of tokens at which a share of time falls below 1, by a straight line between the logarithms of the numbers
 * measured; undefined where it never does, 0 where it is below 1 from the first.
 *
 * @param points From the fewest tokens on.
 */
export function breakEven(points: readonly { readonly tokens: number; readonly share: number }[]): number | undefined {
  const last = points.findLastIndex(({ share }) => share >= 1);
  if (last === points.length - 1) return undefined;
  if (last < 0) return 0;
  const [a, b] = [points[last], points[last + 1]];
  const part = (a.share - 1) / (a.share - b.share);
  return Math.exp(Math.log(a.tokens) + part * Math.log(b.tokens / a.tokens));
}

/** The text of README.md. */
export function readmeOf(rows: readonly Row[]): string {
  const counts = experiment.grid.tokens.filter((tokens) => rows.some((row) => row.tokens === tokens));
  const share = (method: string, tokens: number, column: string) => mean(bySeed(rows, { method, tokens }, column));
  const times = methods.map((method): Row => {
    const shares = counts.map((tokens) => share(method, tokens, "timeShare"));
    const even = breakEven(counts.map((tokens, i) => ({ tokens, share: shares[i] })));
    return {
      method,
      ...Object.fromEntries(
        counts.map((tokens) => [`time, ${tokens} tokens (%)`, 100 * share(method, tokens, "timeShare")]),
      ),
      "pays from": even === undefined
        ? shares[0] < 1 ? "with few tokens alone" : "never here"
        : even === 0
        ? "the fewest on"
        : `${Math.ceil(even)} tokens`,
    };
  });
  const operations = methods.map((method): Row => ({
    method,
    ...Object.fromEntries(
      counts.map((tokens) => [`MACs, ${tokens} tokens (%)`, 100 * share(method, tokens, "macsShare")]),
    ),
  }));
  const verdicts = claims.flatMap((claim): Row[] => {
    try {
      const { verdict } = judge(claim, rows);
      return [{ card: claim.id, claim: claim.claim, verdict: verdict.verdict, reason: verdict.reason }];
    } catch {
      return []; // the small run has not measured all numbers of tokens
    }
  });
  return `# Fewer operations and less time

**${experiment.question}** A Vision Transformer of 192 channels and six blocks with random weights; half of its tokens are
removed, a twelfth in each block. Shares of the unreduced model, measured in turn: ${
    String(rows[0].backend)
  }, while others used the machine. Written from \`rows.csv\` by \`task reproduce break_even\`.

## Time

${markdownTable(times)}
## Multiply-accumulates

Of the model; what a method does to find out which tokens go is not counted.

${markdownTable(operations)}
## Cards

${verdicts.length ? markdownTable(verdicts) : "not run at all numbers of tokens\n"}`;
}
