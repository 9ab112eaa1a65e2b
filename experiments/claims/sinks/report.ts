/**
 * The experiment's page, written from its rows by `task reproduce sinks`.
 *
 * @module
 */
import { bySeed, judge, markdownTable, type Row } from "../../../lib/experiment/mod.ts";
import { mean, meanInterval } from "../../../lib/stats.ts";
import { claims } from "./claims.ts";
import experiment from "./experiment.ts";
import { policies } from "./model.ts";

/** The text of README.md. */
export function readmeOf(rows: readonly Row[]): string {
  const kinds = experiment.grid.texts.filter((texts) => rows.some((row) => row.texts === texts));
  const masses = kinds.map((texts): Row => {
    const of = (column: string) => mean(bySeed(rows, { texts, policy: "all kept" }, column));
    return {
      texts,
      "attention on the first token (%)": 100 * of("massOnFirst"),
      "of the strongest head (%)": 100 * of("strongestHead"),
      "even share (%)": 100 * of("evenShare"),
    };
  });
  const losses = kinds.flatMap((texts) =>
    Object.keys(policies).map((policy): Row => {
      const of = (column: string) => bySeed(rows, { texts, policy }, column);
      const { low, high } = of("far").length > 1 ? meanInterval(of("far")) : { low: null, high: null };
      return {
        texts,
        "kept in the cache": policy,
        "loss, tokens 48 to 64": mean(of("near")),
        "tokens 64 to 80": mean(of("to 80")),
        "tokens 512 to 1,024": mean(of("far")),
        low,
        high,
        seeds: of("far").length,
      };
    })
  );
  const verdicts = claims.map((claim): Row => {
    const { verdict } = judge(claim, rows);
    return { card: claim.id, claim: claim.claim, verdict: verdict.verdict, reason: verdict.reason };
  });
  return `# Sinks

**${experiment.question}** A small Llama reads Shakespeare character by character; it was trained on texts of 64 and goes on to
1,024 with a cache of 48. Losses in nats. Caches count their places from 0, unless *places kept*. Written from \`rows.csv\` by
\`task reproduce sinks\`.

## Is there a sink?

${markdownTable(masses)}
## Loss by what is kept

${markdownTable(losses)}
## Cards

${markdownTable(verdicts)}`;
}
