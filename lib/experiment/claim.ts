/**
 * Claims as cards: one sentence that can fail, what is published for and against it, an experiment with controls, and a
 * verdict that is computed from the experiment's rows.
 *
 * @module
 */
import { type Evidence, type Verdict, verdictOn, type VerdictWord } from "./agreement.ts";
import type { Row } from "./experiment.ts";

/** Something that is published, and where. */
export interface Published {
  readonly says: string;
  readonly source: string;
}

/** A claim, as it stands before any run; `claims.ts` beside an experiment exports a list of them. */
export interface Claim {
  /** As in the index of cards: `C1a`. */
  readonly id: string;
  /** One falsifiable sentence. */
  readonly claim: string;
  readonly mechanism: string;
  readonly publishedFor: readonly Published[];
  readonly publishedAgainst: readonly Published[];
  /** Data, model and training, in a sentence or two. */
  readonly data: string;
  /** Which controls there are: none, random, pooling, same cost, oracle; and why one is missing. */
  readonly controls: string;
  /** What was expected before the run. */
  readonly expected: string;
  /** What would change the verdict. */
  readonly change: string;
  /** The notebook that shows it: its name without folder and ending. */
  readonly notebook?: string;
  /** What the verdict is computed from. */
  evidence(rows: readonly Row[]): Evidence;
}

/** A claim and what became of it. */
export interface Card {
  readonly claim: Claim;
  readonly verdict: Verdict;
}

/**
 * Judges a claim by the rows of its experiment, by the rule of {@link verdictOn}.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const claim: Claim = {
 *   id: "X1",
 *   claim: "Merging keeps more than pruning",
 *   mechanism: "a mean holds a part of each",
 *   publishedFor: [],
 *   publishedAgainst: [],
 *   data: "made up",
 *   controls: "pruning",
 *   expected: "higher",
 *   change: "other rows",
 *   evidence: (rows) => ({
 *     treatment: rows.map(({ merged }) => Number(merged)),
 *     against: { pruning: rows.map(({ pruned }) => Number(pruned)) },
 *     expect: "higher",
 *   }),
 * };
 * const rows = [{ merged: 0.8, pruned: 0.5 }, { merged: 0.9, pruned: 0.6 }, { merged: 0.7, pruned: 0.41 }];
 * assert.equal(judge(claim, rows).verdict.verdict, "supported");
 * assert.equal(judge(claim, rows.slice(1)).verdict.verdict, "not interpretable");
 * ```
 */
export function judge(claim: Claim, rows: readonly Row[]): Card {
  return { claim, verdict: verdictOn(claim.evidence(rows)) };
}

/**
 * The values of a column in the rows that match, in the order of their seeds: what evidence is made of.
 *
 * @throws {RangeError} Where no row matches, or one holds no number.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const rows = [{ arm: "tome", seed: 2, accuracy: 0.8 }, { arm: "tome", seed: 1, accuracy: 0.9 }];
 * assert.deepEqual(bySeed(rows, { arm: "tome" }, "accuracy"), [0.9, 0.8]);
 * ```
 */
export function bySeed(rows: readonly Row[], where: Row, column: string): number[] {
  const own = rows.filter((row) => Object.entries(where).every(([name, value]) => row[name] === value))
    .toSorted((a, b) => Number(a.seed) - Number(b.seed)).map((row) => row[column]);
  if (!own.length || own.some((value) => typeof value !== "number")) {
    throw new RangeError(
      `column ${column} has ${own.length ? "no number" : "no row"} where ${JSON.stringify(where)}; run the experiment`,
    );
  }
  return own as number[];
}

/**
 * A card as Markdown, for a notebook or a page: the claim, the verdict with its differences, and all that belongs to it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const text = { id: "X1", claim: "Less is more", mechanism: "m", data: "d", controls: "c", expected: "e", change: "x" };
 * const claim: Claim = {
 *   ...text,
 *   publishedFor: [{ says: "so it was", source: "A. Author 2023" }],
 *   publishedAgainst: [],
 *   evidence: () => ({ treatment: [1, 2, 3], against: { none: [0, 1, 2.1] }, expect: "higher" }),
 * };
 * assert.match(cardMarkdown(judge(claim, [])), /\*\*X1. Less is more\*\*[^]*\*\*supported\*\*[^]*so it was \(A. Author 2023\)/);
 * ```
 */
export function cardMarkdown({ claim, verdict }: Card): string {
  const published = (list: readonly Published[]) =>
    list.map(({ says, source }) => `${says} (${source})`).join("; ") || "nothing that we know of";
  return `**${claim.id}. ${claim.claim}**

| | |
| --- | --- |
| Verdict | **${verdict.verdict}**: ${verdict.reason} |
| Mechanism | ${claim.mechanism} |
| Published for it | ${published(claim.publishedFor)} |
| Published against it | ${published(claim.publishedAgainst)} |
| Data and model | ${claim.data} |
| Controls | ${claim.controls} |
| Expected | ${claim.expected} |
| What would change it | ${claim.change} |
`;
}

/** A claim that nobody has tested here yet, and how it would be. */
export interface OpenClaim {
  readonly id: string;
  readonly claim: string;
  readonly design: string;
}

/** Where a card's experiment lies, for the index: its folder below that of the cards' page. */
export interface Placed extends Card {
  /** Relative link to the experiment's page. */
  readonly page: string;
  /** Seeds of the rows. */
  readonly seeds: number;
}

const WORDS: readonly VerdictWord[] = ["supported", "refuted", "undecided", "not interpretable"];

/**
 * The page of all cards: verdicts, intervals, links, each card in full, and what is open.
 *
 * @param toNotebooks How the folder of notebooks is reached from the page.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const page = cardsPage([], [{ id: "D4", claim: "Fewer bits and fewer tokens add up", design: "a grid of both" }]);
 * assert.match(page, /0 cards[^]*D4/);
 * ```
 */
export function cardsPage(
  cards: readonly Placed[],
  open: readonly OpenClaim[],
  toNotebooks = "../../notebooks/",
): string {
  const count = (word: VerdictWord) => cards.filter(({ verdict }) => verdict.verdict === word).length;
  const cell = (text: string) => text.replaceAll("|", "\\|");
  const lines = cards.map(({ claim, verdict, page, seeds }) => {
    const notebook = claim.notebook ? `[${claim.notebook.split("_")[0]}](${toNotebooks}${claim.notebook}.ipynb)` : "-";
    return `| ${claim.id} | ${cell(claim.claim)} | **${verdict.verdict}** | ${
      cell(verdict.reason)
    } | ${seeds} | [rows](${page}) | ${notebook} |`;
  });
  return `# Claims that can fail

"Token Reduction Should Go Beyond Efficiency in Generative Models" (Kong et al. 2025, arXiv:2505.18227) has no experiment of its
own. Here its claims are cards. Each is judged by one rule: *supported* where the 95 % t interval of the paired difference to
every control excludes 0 in the expected direction, *refuted* where it does so in the other direction for one of them, else
*undecided*; *not interpretable* where there are too few seeds, or the toy has not learned its task. Toys are small: a verdict
is about them, and says what to look for elsewhere. Written by \`task reproduce\` from the committed rows.

${cards.length} ${cards.length === 1 ? "card" : "cards"}: ${WORDS.map((word) => `${count(word)} ${word}`).join(", ")}.

| card | claim | verdict | difference [95 % interval] | seeds | evidence | notebook |
| --- | --- | --- | --- | ---: | --- | --- |
${lines.join("\n")}

## The cards

${cards.map(cardMarkdown).join("\n")}
## Open: designed, not run

| card | claim | design |
| --- | --- | --- |
${open.map(({ id, claim, design }) => `| ${id} | ${cell(claim)} | ${cell(design)} |`).join("\n")}
`;
}
