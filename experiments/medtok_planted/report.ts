/**
 * The experiment's page, written from its rows by `task reproduce medtok_planted`.
 *
 * @module
 */
import { besidePaper, markdownTable, type Row } from "../../lib/experiment/mod.ts";
import { mean } from "../../lib/stats.ts";
import experiment from "./experiment.ts";

const factors = { module: 24, category: 30 } as const;

/** Rows of a setting, of a slot where one is named, one per seed. */
function rowsOf(rows: readonly Row[], setting: string, slot?: string): Row[] {
  const own = rows.filter((row) => row.setting === setting && (slot === undefined || row.slot === slot));
  return slot === undefined ? [...new Map(own.map((row) => [row.seed, row])).values()] : own;
}

const meanOf = (rows: readonly Row[], column: string) => mean(rows.map((row) => row[column] as number));
const shown = (value: number) => Number.isInteger(value) ? String(value) : value.toFixed(3);

/** A claim, whether every seed of it holds, and what the seeds say. */
function claim(text: string, rows: readonly Row[], holds: (row: Row) => boolean, value: (row: Row) => number): Row {
  const yes = rows.filter(holds).length;
  const values = rows.map(value).sort((a, b) => a - b);
  return {
    claim: text,
    verdict: !rows.length ? "not run" : yes === rows.length ? "supported" : yes === 0 ? "refuted" : "undecided",
    "seeds that agree": `${yes} of ${rows.length}`,
    measured: values.map(shown).join(", "),
  };
}

/** What the specification asks of a trained tokenizer (its T20 to T22), and whether the rows say so. */
export function claims(rows: readonly Row[]): Row[] {
  const [full, alone] = ["full", "codebook alone"].map((setting) => rowsOf(rows, setting));
  const slot = (name: string) => rowsOf(rows, "full", name);
  const number = (row: Row, column: string) => row[column] as number;
  const above = (column: string, least: number) => (row: Row) => number(row, column) >= least;
  const is = (column: string) => (row: Row) => number(row, column);
  return [
    claim(
      "full: more than 60 % of the 360 rows are used",
      full,
      (row) => number(row, "rowsUsed") > 216,
      is("rowsUsed"),
    ),
    claim(
      "full: no region with fewer than 30 % of its 120 rows",
      rowsOf(rows, "full", "textSpecific").concat(slot("graphSpecific"), slot("textShared")),
      (row) => number(row, "regionUsed") >= 36,
      is("regionUsed"),
    ),
    claim("codebook alone: fewer than 40 %", alone, (row) => number(row, "rowsUsed") < 144, is("rowsUsed")),
    claim("full: pair AUC above .85", full, (row) => number(row, "pairAUC") > 0.85, is("pairAUC")),
    claim(
      "module from graph-specific: three times chance or more",
      slot("graphSpecific"),
      above("module", 3 / factors.module),
      is("module"),
    ),
    claim(
      "module from text-specific: at chance (below twice of it)",
      slot("textSpecific"),
      (row) => number(row, "module") < 2 / factors.module,
      is("module"),
    ),
    claim(
      "category from text-specific: five times chance or more",
      slot("textSpecific"),
      above("category", 5 / factors.category),
      is("category"),
    ),
    claim(
      "category from text-shared: five times chance or more",
      slot("textShared"),
      above("category", 5 / factors.category),
      is("category"),
    ),
    claim(
      "category from graph-specific: at chance (below twice of it)",
      slot("graphSpecific"),
      (row) => number(row, "category") < 2 / factors.category,
      is("category"),
    ),
    claim(
      "severity from text-shared: above the majority class",
      slot("textShared"),
      (row) => number(row, "severity") > number(row, "severityMajority"),
      (row) => number(row, "severity") - number(row, "severityMajority"),
    ),
    claim(
      "module from the shared slots: at chance, as in the reference",
      [...slot("textShared"), ...slot("graphShared")],
      (row) => number(row, "module") < 2 / factors.module,
      is("module"),
    ),
  ];
}

/** The text of README.md. */
export async function readmeOf(rows: readonly Row[]): Promise<string> {
  const settings = experiment.grid.setting.filter((setting) => rowsOf(rows, setting).length);
  const missing = experiment.grid.setting.flatMap((setting) => {
    const count = rowsOf(rows, setting).length;
    return count < experiment.seeds.length ? [`${setting} (${count} of ${experiment.seeds.length})`] : [];
  });
  const whole = settings.map((setting): Row => {
    const own = rowsOf(rows, setting);
    const optional = (column: string) => own[0][column] === null ? null : meanOf(own, column);
    return {
      setting,
      "rows used of 360": meanOf(own, "rowsUsed"),
      "pair AUC": meanOf(own, "pairAUC"),
      "A finds C": meanOf(own, "hitsAtoC"),
      "cosine of a code's shared vectors": optional("matched"),
      "of two codes'": optional("unmatched"),
      "shared tokens in common": optional("overlap"),
      seeds: own.length,
    };
  });
  const slots = settings.flatMap((setting) =>
    [...new Set(rows.filter((row) => row.setting === setting).map(({ slot }) => slot as string))].map((slot): Row => {
      const own = rowsOf(rows, setting, slot);
      return {
        setting,
        slot,
        ...Object.fromEntries(["module", "category", "severity"].map((factor) => [factor, meanOf(own, factor)])),
        "severity, majority": meanOf(own, "severityMajority"),
        "region's rows used": meanOf(own, "regionUsed"),
        perplexity: meanOf(own, "regionPerplexity"),
        "‖z − q‖²": meanOf(own, "reconstruction"),
      };
    })
  );
  const beside = (await besidePaper(rows, experiment.paper!)).filter((line) => line.ours !== null).map((line): Row => ({
    setting: line.setting,
    slot: line.slot,
    "module, ours": line.ours,
    lowest: line.lowest,
    highest: line.highest,
    "module, reference": line.paper,
    agreement: (line.lowest as number) <= (line.paper as number) && (line.paper as number) <= (line.highest as number)
      ? "within our seeds"
      : "differs",
  }));
  const known = (setting: string) => {
    const own = [...rowsOf(rows, setting, "textShared"), ...rowsOf(rows, setting, "graphShared")];
    if (!own.length) return undefined;
    return { shared: meanOf(own, "module"), specific: meanOf(rowsOf(rows, setting, "graphSpecific"), "module") };
  };
  const lines: readonly (readonly [setting: string, what: string])[] = [
    ["full, 200 steps", "after 200 steps"],
    ["full, 400 steps", "after 400 steps"],
    ["full", "after 900 steps"],
    ["full, equal subgraphs as negatives", "after 900 steps, with codes of equal subgraphs as each other's negatives"],
    ["full, no cross-attention", "after 900 steps, each side reading itself only"],
  ];
  const why = lines.flatMap(([setting, what]) => {
    const found = known(setting);
    return found
      ? [`- ${what}: ${shown(found.shared)} from the shared slots, ${shown(found.specific)} from the graph's own.`]
      : [];
  });
  const [early, late, against] = ["full, 200 steps", "full", "full, equal subgraphs as negatives"].map(known);
  const change = (from: number, to: number) => `${from < to ? "gain" : "lose"} ${shown(Math.abs(to - from))}`;
  if (early && late) {
    why.push(
      `\nFrom 200 to 900 steps the shared slots ${change(early.shared, late.shared)}, the graph's own ${
        change(early.specific, late.specific)
      }.` +
        (against
          ? ` Where equal subgraphs are negatives the shared slots ${
            change(late.shared, against.shared)
          }, the graph's own ${change(late.specific, against.specific)}.`
          : ""),
    );
  }
  return `# What MedTok's tokens know, on a planted world

**${experiment.question}** 360 concepts, about 3,200 codes of three systems (hard world: 1,600), the preset \`lite\`: 900 steps of 256
codes. A seed is a world and a tokenizer. Category and severity are in the words, module is in the genes of the graph; a probe
is tested on concepts that it has not seen. Chance is ${shown(1 / factors.module)} for module, ${
    shown(1 / factors.category)
  } for category, the majority class for
severity, 0.5 for the pair AUC. Means over seeds. Written from \`rows.csv\` by \`task reproduce medtok_planted\`;
\`task experiment run medtok_planted\` computes what is missing${
    missing.length ? `. Seeds that are there of what is not complete: ${missing.join("; ")}` : ""
  }.

## What must hold

${markdownTable(claims(rows), 3)}
## By setting

${markdownTable(whole, 3)}
## By slot

${markdownTable(slots, 3)}
## Beside the reference

${experiment.paper!.cite}.

${markdownTable(beside, 3)}
## Why the shared slots know the module here

In the reference they do not. How well the module is read, chance ${shown(1 / factors.module)}:

${why.join("\n")}

How we read it: the shared loss asks the two shared vectors of a code to find each other among those of other codes. First they agree
on words, which say most; what words leave open the graph can say, and with longer training it does. The preset leaves out
negatives with the same subgraph (codes of one concept); with them in, only words tell such codes apart. Nothing in the method
keeps "shared" from being a copy of one side, nor from being a mixture of both. What is left of the difference from the reference
is not explained.
`;
}
