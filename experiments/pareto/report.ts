/**
 * The experiment's page, written from its rows by `task reproduce pareto`.
 *
 * @module
 */
import { markdownTable, type Row } from "../../lib/experiment/mod.ts";
import { pareto, paretoFront, paretoPoints, type ParetoRow } from "../../lib/plot/mod.ts";
import { mean } from "../../lib/stats.ts";
import experiment from "./experiment.ts";

const shown = { mnist: "Digits", pneumonia: "Chest X-rays" };
type Data = keyof typeof shown;

/** The committed rows as points of a Pareto figure; `cost` says which column is the price. */
export function paretoRows(rows: readonly Row[], data: Data, cost: "macs" | "timeShare" = "macs"): ParetoRow[] {
  return rows.filter((row) => row.data === data && row[cost] !== null).map((row) => ({
    method: String(row.method),
    setting: Number(row.r),
    seed: Number(row.seed),
    cost: Number(row[cost]) / (cost === "macs" ? 1e6 : 1),
    value: Number(row.accuracy),
  }));
}

/** The text of README.md. */
export function readmeOf(rows: readonly Row[]): string {
  const parts = (Object.keys(shown) as Data[]).map((data) => {
    const own = rows.filter((row) => row.data === data);
    const lines = [...Map.groupBy(own, (row) => `${row.method}|${row.r}`).values()].map((group): Row => {
      const of = (column: string) => group.map((row) => row[column]).filter((value) => typeof value === "number");
      const share = of("timeShare");
      return {
        method: group[0].method,
        r: group[0].r,
        "patches left": mean(of("patches")),
        "cost (% of MACs)": 100 * mean(of("macsShare")),
        "time (% of unreduced)": share.length ? 100 * mean(share) : null,
        accuracy: mean(of("accuracy")),
        lowest: Math.min(...of("accuracy")),
        highest: Math.max(...of("accuracy")),
        seeds: group.length,
      };
    });
    const front = (cost: "macs" | "timeShare") =>
      paretoFront(paretoPoints(paretoRows(rows, data, cost))).map(({ method, setting }) => `${method} ${setting}`).join(
        ", ",
      );
    const slower = lines.filter((line) => Number(line["time (% of unreduced)"]) >= 100).map((line) =>
      `${line.method} ${line.r}`
    );
    return `## ${shown[data]}

${markdownTable(lines, 3)}
- On the front of MACs and accuracy: ${front("macs")}.
- On the front of measured time and accuracy: ${front("timeShare")}.
- No faster than the whole model, although they count fewer MACs: ${slower.join(", ") || "none"}.
`;
  });
  return `# What token reduction costs, and what it loses

**${experiment.question}** Both vit-nano models without any training under reduction, ${experiment.seeds.length} seeds, each with
up to 800 test images of its own. \`r\` patches go in each of four blocks. Time is that of the compiled model at batch 200, each
row measured in turn with the unreduced model, as a share of it; a model of 49 patches is so small that choosing tokens can take
longer than computing them. Methods that read values back cannot be compiled and have no time. What ATS has left is a
limit: it samples a patch again and again where attention is sharp, and keeps half as many or fewer, which is why it stands
below chance at the same \`r\`; with as many patches as it really keeps, chance does no better
(\`tests/reduction/methods_test.ts\`). Written from \`rows.csv\` by
\`task reproduce pareto\`; \`task experiment run pareto\` computes what is missing.

${parts.join("\n")}`;
}

/** The Pareto figure of a data set. */
export function figureOf(
  rows: readonly Row[],
  data: Data,
  cost: "macs" | "timeShare" = "macs",
): ReturnType<typeof pareto> {
  return pareto(paretoRows(rows, data, cost), {
    title: `${shown[data]}: what each method costs and keeps`,
    x: cost === "macs" ? "million multiply-accumulates per image" : "time as a share of the unreduced model's",
    y: "test accuracy",
    height: 460,
  });
}
