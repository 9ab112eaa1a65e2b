/**
 * `deno task reproduce [NAME...]`: from committed rows to pages. Each experiment gets its table beside the paper's, and
 * `experiments/README.md` says of every table and figure of the papers what became of it.
 *
 * @module
 */
import { pathOf, readBytes, writeAtomically } from "../data/files.ts";
import { mean, meanInterval } from "../stats.ts";
import { fromCSV } from "./csv.ts";
import { cardsPage, type OpenClaim, type Placed } from "./claim.ts";
import {
  cardsOf,
  type Declared,
  experimentAt,
  experimentNames,
  experimentsFolder,
  folderOf,
  moduleOf,
  ownPageOf,
  placeOf,
} from "./declared.ts";
import { cellsOf, fastOf, RECORDED, type Row, type Value } from "./experiment.ts";
import { planOf } from "./run.ts";
import { Store } from "./store.ts";
import { markdownTable, reproduction } from "./table.ts";

/** Stands on each page that is made here; a page without it was written by somebody. */
const WRITTEN_BY = "Written by `task reproduce`";

/** A page of an experiment, and the words that its lines came to. */
export interface Page {
  readonly name: string;
  readonly text: string;
  readonly words: readonly string[];
  /** Rows that are there, of all that the grid has. */
  readonly rows: number;
  readonly of: number;
}

/**
 * The page of an experiment: paper, ours, difference, interval over seeds, agreement, from its rows alone.
 *
 * @throws {Error} Where it has no committed rows.
 */
export async function pageOf({ experiment, module }: Declared): Promise<Page> {
  const { name, question, paper } = experiment;
  const isCurrent = keysOf({ experiment, module });
  const rows = new Store(folderOf(module, experiment)).collected().filter(({ key }) => isCurrent.has(String(key)));
  const fast = fastOf(experiment);
  const isFast = keysOf({ experiment: fast, module });
  const fastRows = new Store(folderOf(module, fast)).collected().filter(({ key }) => isFast.has(String(key)));
  if (!rows.length && !fastRows.length) {
    throw new Error(
      `experiment ${name} has no committed rows of its version ${experiment.version}; ` +
        `run \`task experiment run ${name}\` and commit its rows.csv`,
    );
  }
  const shown = rows.length ? rows : fastRows;
  const lines = paper ? await reproduction(shown, paper) : [];
  const all = cellsOf(experiment).length;
  const there = new Set(rows.map(({ key }) => key)).size;
  const rowSeconds = experiment.rowSeconds ?? secondsOf(rows);
  const hours = rowSeconds === undefined ? "" : `, ${((all - there) * rowSeconds / 3600).toFixed(1)} h estimated`;
  const state = rows.length
    ? there < all ? `${there} of ${all} rows; the rest is not run${hours}.` : `All ${all} rows.`
    : `Only the small run (\`--fast\`), ${fastRows.length} rows; at full size not run${hours}.`;
  const text = `# ${name}

**${question}**

${state}${paper ? ` Published: ${paper.cite}.` : ""} ${WRITTEN_BY} from the rows.

${paper ? markdownTable(lines, 4) : markdownTable(overSeeds(shown, Object.keys(experiment.grid)), 4)}`;
  return { name, text, words: lines.map(({ agreement }) => String(agreement)), rows: there, of: all };
}

function keysOf({ experiment }: Declared): Set<string> {
  return new Set(planOf(experiment).map(({ key }) => key));
}

function secondsOf(rows: readonly Row[]): number | undefined {
  const seconds = rows.map(({ seconds }) => seconds).filter((value) => typeof value === "number");
  return seconds.length ? mean(seconds) : undefined;
}

/** One line per cell: means over its seeds, with the 95 % interval of the first number. */
function overSeeds(rows: readonly Row[], settings: readonly string[]): Row[] {
  const recorded: readonly string[] = RECORDED;
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))].filter((name) => !recorded.includes(name));
  const numbers = columns.filter((name) =>
    !settings.includes(name) && rows.some((row) => typeof row[name] === "number")
  );
  const names = columns.filter((name) => !numbers.includes(name));
  return [...Map.groupBy(rows, (row) => JSON.stringify(names.map((name) => row[name]))).values()].map((group): Row => {
    const of = (name: string) => group.map((row) => row[name]).filter((value) => typeof value === "number");
    const values = numbers.map((name, i): readonly [string, Value][] => {
      const own = of(name);
      const { low, high } = own.length > 1 ? meanInterval(own) : { low: null, high: null };
      return [[name, own.length ? mean(own) : null], ...(i ? [] : [["low", low], ["high", high]] as [string, Value][])];
    });
    return {
      ...Object.fromEntries(names.map((name) => [name, group[0][name]])),
      ...Object.fromEntries(values.flat()),
      seeds: group.length,
    };
  });
}

/** Columns of `experiments/tables.csv`. */
const TABLE_COLUMNS = ["paper", "table", "what", "experiment", "reason", "seeds", "hours"] as const;

/**
 * The matrix: every table and figure of the papers, its experiment with what came of it, or the reason why there is none.
 *
 * @param words The words that an experiment's lines came to, by its name.
 * @throws {RangeError} Where a line names no experiment and no reason, both, or an experiment that does not exist.
 */
export function matrixOf(lines: readonly Row[], words: ReadonlyMap<string, readonly string[]>): string {
  const missing = TABLE_COLUMNS.find((column) => !(column in (lines[0] ?? {})));
  if (missing) throw new RangeError(`tables.csv has no column ${missing}; it needs ${TABLE_COLUMNS.join(", ")}`);
  const shown = lines.map((line): Row => {
    const { paper, table, what, experiment, reason, seeds, hours } = line;
    const name = `${paper}, ${table}`;
    if ((experiment === null) === (reason === null)) {
      throw new RangeError(
        `${name} in tables.csv needs an experiment or the reason why there is none; give one of them`,
      );
    }
    if (experiment === null) return { paper, table, what, experiment: null, "what came of it": reason, seeds, hours };
    const said = words.get(String(experiment));
    if (!said) throw new RangeError(`${name} in tables.csv names the experiment ${experiment}, which there is not`);
    return {
      paper,
      table,
      what,
      experiment: `[${experiment}](${placeOf(String(experiment))}/README.md)`,
      "what came of it": counted(said),
      seeds,
      hours,
    };
  });
  const run = shown.filter(({ experiment }) => experiment !== null).length;
  return `# Every table and figure of the three papers

${run} of ${shown.length} have an experiment here; of the others the reason is given. ${WRITTEN_BY} from
\`tables.csv\` and the committed rows. *Agreement* is computed: \`within interval\` (the published number lies in our
interval over seeds), \`same order\`, \`differs\`, \`not comparable\`. Hours are for two cores.

${markdownTable(shown)}`;
}

function counted(words: readonly string[]): string {
  if (!words.length) return "no published number to lay beside it";
  const groups = [...Map.groupBy(words, (word) => word)].map(([word, all]) => ({ word, count: all.length }));
  return groups.sort((a, b) => b.count - a.count).map(({ word, count }) => `${word} (${count})`).join(", ");
}

/** Every page that `reproduce` writes, by its path below the folder of experiments, and what could not be reproduced. */
export interface Reproduction {
  readonly pages: ReadonlyMap<string, string>;
  /** A line about each experiment. */
  readonly summary: readonly string[];
  /** One sentence each. */
  readonly complaints: readonly string[];
}

/**
 * Makes the pages of the named experiments, and the matrix. An experiment with a page of its own kind keeps it: one that a
 * `report.ts` makes of the rows (`readmeOf`), or one written by hand.
 *
 * @param names Default: all.
 */
export async function reproduce(names: readonly string[] = experimentNames()): Promise<Reproduction> {
  const pages = new Map<string, string>(), words = new Map<string, readonly string[]>();
  const summary: string[] = [], complaints: string[] = [];
  const cards: Placed[] = [];
  for (const name of experimentNames()) {
    try {
      const declared = await experimentAt(moduleOf(name), false);
      const page = await pageOf(declared);
      words.set(name, page.words);
      const seeds = declared.experiment.seeds.length, place = placeOf(name);
      const link = `${place.startsWith("claims/") ? place.slice("claims/".length) : `../${place}`}/README.md`;
      cards.push(...(await cardsOf(declared)).map((card) => ({ ...card, seeds, page: link })));
      if (!names.includes(name)) continue;
      const text = await ownPageOf(declared) ?? page.text;
      if (!await isByHand(name)) pages.set(`${place}/README.md`, text);
      summary.push(`${name}: ${page.rows} of ${page.of} rows; ${counted(page.words)}`);
    } catch (error) {
      words.set(name, []);
      complaints.push(`${name}: ${error instanceof Error ? error.message : error}`);
    }
  }
  const table = new URL("tables.csv", experimentsFolder());
  const lines = fromCSV(new TextDecoder().decode(await readBytes(table)), pathOf(table));
  pages.set("README.md", matrixOf(lines, words));
  if (cards.length) {
    const byId = cards.toSorted((a, b) => a.claim.id < b.claim.id ? -1 : 1);
    const twice = byId.find(({ claim }, i) => claim.id === byId[i + 1]?.claim.id)?.claim.id;
    if (twice !== undefined) complaints.push(`two claims are called ${twice}; give each an id of its own`);
    pages.set("claims/README.md", cardsPage(byId, stillOpen(await openClaims(), byId)));
  }
  return { pages, summary, complaints };
}

/** The designs that no card has come of: one of D9 is of `D9`, `D9a` and `D9-b`. */
function stillOpen(designs: readonly OpenClaim[], cards: readonly Placed[]): OpenClaim[] {
  const plain = (id: string) => id.replaceAll("-", "");
  return designs.filter(({ id }) => !cards.some(({ claim }) => plain(claim.id).startsWith(plain(id))));
}

/** Designs of experiments, run or not: `claims/open.csv`. */
async function openClaims(): Promise<OpenClaim[]> {
  const file = new URL("claims/open.csv", experimentsFolder());
  const text = await Deno.readTextFile(file).catch(() => "");
  if (!text) return [];
  return fromCSV(text, pathOf(file)).map(({ id, claim, design }) => (
    { id: String(id), claim: String(claim), design: String(design) }
  ));
}

/** Whether somebody wrote the page of an experiment that has no `report.ts`. */
async function isByHand(name: string): Promise<boolean> {
  const there = (file: string) =>
    Deno.stat(new URL(`${placeOf(name)}/${file}`, experimentsFolder())).then(() => true, () => false);
  if (!await there("README.md") || await there("report.ts")) return false;
  return !(await Deno.readTextFile(new URL(`${placeOf(name)}/README.md`, experimentsFolder()))).includes(WRITTEN_BY);
}

if (import.meta.main) {
  if (Deno.args.includes("--help")) {
    console.log(
      "deno task reproduce [NAME...]: writes the pages of experiments, and experiments/README.md, from committed rows",
    );
    Deno.exit(0);
  }
  try {
    for (const name of Deno.args) moduleOf(name);
    const { pages, summary, complaints } = await reproduce(Deno.args.length ? Deno.args : undefined);
    for (const [path, text] of pages) {
      await writeAtomically(new URL(path, experimentsFolder()), new TextEncoder().encode(text));
    }
    for (const line of summary) console.log(line);
    for (const complaint of complaints) console.error(complaint);
    if (complaints.length) Deno.exit(1);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(2);
  }
}
