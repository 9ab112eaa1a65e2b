/**
 * The experiment's page, written from its rows by `task reproduce medical_qa`.
 *
 * @module
 */
import { fromCSV, markdownTable, type Row } from "../../lib/experiment/mod.ts";
import { mean } from "../../lib/stats.ts";
import experiment from "./experiment.ts";

const here = (name: string) => new URL(name, import.meta.url);

/** Means over seeds, a line per prefix. */
export function answers(rows: readonly Row[]): Row[] {
  return [...Map.groupBy(rows, (row) => String(row.prefix))].map(([prefix, group]): Row => {
    const of = (column: string) => mean(group.map((row) => Number(row[column])));
    return {
      prefix,
      accuracy: of("accuracy"),
      lowest: Math.min(...group.map((row) => Number(row.accuracy))),
      "of the parent": of("parent"),
      "of the mechanism": of("mechanism"),
      "another code's prefix": of("shuffled"),
      seeds: group.length,
    };
  });
}

/** The committed rows as {@link answers}. */
export async function committedAnswers(): Promise<Row[]> {
  return answers(fromCSV(await Deno.readTextFile(here("rows.csv")), "rows.csv"));
}

/** The text of README.md. */
export function readmeOf(rows: readonly Row[]): string {
  const lines = answers(rows);
  const count = rows[0]?.questions ?? 0, size = rows[0]?.parameters ?? 0;
  return `# Questions about codes, with a vector as the first token

**${experiment.question}** A Llama of about ${
    Number(size).toLocaleString("en")
  } numbers, trained from nothing together with one
linear layer that makes a token of a vector, reads that token and \`which parent ?\` or \`which mechanism ?\`. ${
    Number(count).toLocaleString("en")
  } questions about codes of concepts that no training question was about; of four options the likeliest is the answer, so
chance is 0.25. The question's text says nothing about the code. Parents are told by a code's text, mechanisms by its graph.

${markdownTable(lines, 3)}
*Another code's prefix* is the control: the same model, the same questions, the vectors shuffled. Figure 6 of Su et al.
(\`paper.csv\`) has gains of 0.03 to 0.16 on real questions with models of 7 to 8 billion numbers; only the sign can be compared.

What the authors' tutorial does otherwise: its wrapper cannot be called, its table has no row for the missing code that more than
half of its training questions need, it averages normalised vectors in training and puts one unnormalised prefix per code in
use, and it counts an answer as right where the letter occurs anywhere in the response. Here training and use make the same
prefix, a missing code has a learned one, and an answer is right or not.
`;
}
