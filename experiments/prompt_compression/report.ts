/**
 * The experiment's page, written from its rows by `task reproduce prompt_compression`.
 *
 * @module
 */
import { markdownTable, type Row } from "../../lib/experiment/mod.ts";
import experiment, { STAGES } from "./experiment.ts";

/** The text of README.md. */
export function readmeOf(rows: readonly Row[]): string {
  const number = (row: Row, column: string) => Number(row[column]);
  const table = rows.map((row): Row => ({
    method: row.method,
    "kept (% of tokens)": 100 * number(row, "achievedRate"),
    "information kept (%)": 100 * number(row, "informationShare"),
    "first run (s)": number(row, "firstSeconds"),
    "second run (s)": number(row, "totalSeconds"),
    ...Object.fromEntries(STAGES.map((stage) => [`${stage} (ms)`, 1000 * number(row, `${stage}Seconds`)])),
    "largest stage but the model (%)": 100 * number(row, "largestOtherShare"),
  }));
  const withModel = rows.filter((row) => number(row, "modelSeconds") > 0);
  const above = withModel.filter((row) => number(row, "largestOtherShare") > 0.5).map((row) => row.method);
  const [{ characters, tokens, backend }] = rows;
  const load = Math.max(...rows.map((row) => number(row, "load")));
  const chance = rows.find((row) => row.method === "randomWords");
  const worse = rows.filter((row) =>
    chance && row !== chance &&
    number(row, "informationShare") / number(row, "achievedRate") <=
      number(chance, "informationShare") / number(chance, "achievedRate")
  ).map((row) => row.method);
  return `# Compressing a prompt of 100 kB

**${experiment.question}** Stories of stories260k, ${characters} characters, ${tokens} of its tokens, at keepRate 0.5; the model
looks at 512 tokens. ${backend}, at a load of up to ${
    load.toFixed(1)
  }. The first run compiles the model's functions; stages are those of the second. Information is
the text's surprise as stories260k sees it, of which a method keeps a share. Written from \`rows.csv\` by
\`task reproduce prompt_compression\`; \`task experiment run prompt_compression\` computes what is missing.

${markdownTable(table, 3)}
- Methods with a model in which another stage takes more than half: ${above.join(", ") || "none"}.
- No more information per kept token than words kept at random: ${worse.join(", ") || "none"}. LongLLMLingua is given a
  question, and keeps what answers it, not what surprises.
- The authors' loop keeps more than it is asked for: it decides with a threshold over all losses that it remembers, and leaves
  what is left of the last segment as it is.
`;
}
